"""`python -m bench`: measure everything, as root on a machine with the kit set up."""

from __future__ import annotations

from bench import hooks, sync

for part in (hooks, sync):
    part.main()
