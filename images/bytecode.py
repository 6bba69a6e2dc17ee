"""Compiles the Python of an image: in a container that may not write, each start would compile it again.

The Python of this machine's root does it, for bytecode is the same on every architecture.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from images.tree import Tree, add, file, unpack

NEEDED = ("usr/bin/python3", "usr/lib/", "usr/lib64/", "lib", "bin/")  # for Python to run


def compiled(trees: list[Tree], runnable: Tree, folders: tuple[str, ...]) -> None:
    """Add to each tree what Python makes of the modules in these folders; `runnable` has a Python that runs here."""
    with tempfile.TemporaryDirectory() as scratch:
        home, target = Path(scratch, "home"), Path(scratch, "target")
        unpack({place: entry for place, entry in runnable.items() if f"{place}/".startswith(NEEDED)}, home)
        for tree in trees:
            unpack({place: entry for place, entry in tree.items() if is_in(place, folders)}, target)
        (loader,) = home.glob("usr/lib/*/ld-linux-*.so.*")
        python = [loader, "--library-path", loader.parent, home / "usr/bin/python3"]
        # What is in an image never changes: no start need look at the source.
        words = ("-PsSm", "compileall", "-qf", "--invalidation-mode", "unchecked-hash", "-s", target, "-p", "/")
        command = [*python, *words, *(target / folder for folder in folders)]
        environment = {"PYTHONHOME": str(home / "usr"), "PYTHONHASHSEED": "0"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"images/bytecode.py: these modules of the image are not Python:\n{done.stdout}{done.stderr}")
        for made in sorted(target.rglob("*.pyc")):
            place = str(made.relative_to(target))
            owner = next(tree for tree in trees if str(made.parent.parent.relative_to(target)) in tree)
            add(owner, place, file(made.read_bytes()))


def is_in(place: str, folders: tuple[str, ...]) -> bool:
    """Return whether it is a module in one of these folders."""
    return place.endswith(".py") and any(place.startswith(f"{folder}/") for folder in folders)
