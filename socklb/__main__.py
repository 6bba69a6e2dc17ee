"""`python -m socklb`: the `socklb` command if no script was installed."""

from socklb.cli import main

raise SystemExit(main())
