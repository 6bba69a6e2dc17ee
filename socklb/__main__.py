"""`python -m socklb`: the `socklb` command where no script was installed."""

from socklb.cli import main

raise SystemExit(main())
