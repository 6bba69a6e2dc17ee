"""The agent's image: Debian's packages unpacked, the agent on top, and both compiled, for this machine or another.

    python -m images.agent_image --architecture arm64 --agent build/agent-3.11-arm64.tar --out image.tar
    python -m images.agent_image --architecture arm64 --agent build/agent-3.11-arm64.tar --folder root

The first is an archive for `docker load` and its like (`oci.py`), the second what the Containerfile copies: one recipe.
The lock decides the packages; the same lock and agent give the same bytes. It needs apt to fetch them, and no root.

Nothing in it is configured, there is no package manager, and a container never has to write into it.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

from images import archive, debian, oci
from images.bytecode import compiled
from images.tree import Tree, add, entries, file, link, unpack, write_layer

RECIPE = Path(__file__).parent / "images.toml"
CACHE = Path(os.environ.get("SOCKLB_CACHE") or Path.home() / ".cache/socklb") / "packages"
MERGED = ("bin", "sbin", "lib", "lib64")  # links into usr, as every Debian since 12 has them
# What nobody reads in a container, and what only a package's script has a use for. Copyrights stay.
LEFT_OUT = (
    "boot/",
    "etc/cron.daily/",
    "etc/init.d/",
    "usr/lib/systemd/",
    "usr/share/bash-completion/",
    "usr/share/debconf/",
    "usr/share/info/",
    "usr/share/lintian/",
    "usr/share/locale/",
    "usr/share/man/",
    "usr/share/perl5/",
    "usr/share/pixmaps/",
    "var/cache/",
    "var/lib/dpkg/",
)
DOCUMENTS = "usr/share/doc/"
GCONV = "/gconv/"  # character sets for iconv(); Python has its own
# What the packages' scripts would make of what they brought.
COPIED = {
    "etc/passwd": "usr/share/base-passwd/passwd.master",
    "etc/group": "usr/share/base-passwd/group.master",
    "etc/nsswitch.conf": "usr/share/libc-bin/nsswitch.conf",
}
STATUS = "var/lib/dpkg/status"  # scanners read there what is in an image
OPT, COMMAND = "opt/socklb", "usr/local/bin/socklb"
MODULES = ("usr/lib/python3", "usr/lib/python3.11", f"{OPT}/lib")
HERE = archive.ARCHITECTURES.get(platform.machine(), "amd64")


def main() -> None:
    """Make the image, or its root."""
    asked = arguments()
    try:
        root = debian_of(asked.architecture, newer=asked.newer_packages)
        runnable = root if asked.architecture == HERE else debian_of(HERE, newer=asked.newer_packages)
    except debian.PackageError as error:
        sys.exit(
            f"images/agent_image.py: {error}\nNext, if Debian has replaced them: .venv/bin/python -m images.debian"
        )
    agent = agent_of(asked.agent)
    compiled([root, agent], runnable, MODULES)
    if asked.folder:
        unpack(root | agent, asked.folder)
    if asked.out:
        write([root, agent], asked)


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description="Makes the agent's image.", allow_abbrev=False)
    parser.add_argument("--architecture", choices=debian.ARCHITECTURES, default=HERE, help=f"without it: {HERE}")
    parser.add_argument("--agent", type=Path, required=True, help="what setup/build-agent.sh made for it")
    parser.add_argument("--out", type=Path, help="the archive")
    parser.add_argument("--folder", type=Path, help="a new folder for the image's root")
    parser.add_argument(
        "--label", action="append", default=[], metavar="NAME=VALUE", help="beside those of images.toml"
    )
    parser.add_argument(
        "--newer-packages", action="store_true", help="if Debian has replaced those of the lock: today's"
    )
    return parser.parse_args()


def debian_of(architecture: str, *, newer: bool) -> Tree:
    """Return Debian's part of the image."""
    tree: Tree = {name: link(f"usr/{name}") for name in MERGED}
    said: list[str] = []
    for deb in sorted(fetched(architecture, newer=newer)):
        with debian.content(deb) as tar:
            for place, entry in entries(tar):
                merged = f"usr/{place}" if place.partition("/")[0] in MERGED else place
                if is_wanted(merged):
                    add(tree, merged, entry)
        said.append(debian.control(deb).replace("\n", "\nStatus: install ok installed\n", 1))
    for place, source in COPIED.items():
        tree[place] = tree[source]
    add(tree, STATUS, file("\n".join(said).encode()))
    return tree


def fetched(architecture: str, *, newer: bool) -> Sequence[Path]:
    """Return the packages of the lock; or, if Debian has replaced one since and that is wanted, today's."""
    try:
        return debian.fetch(debian.locked(architecture), CACHE)
    except debian.PackageError as error:
        if not newer:
            raise
        print(f"images/agent_image.py: {error}\nTaking what Debian has now.", file=sys.stderr)
        return debian.fetch(debian.resolve(debian.wanted(), architecture), CACHE)


def is_wanted(place: str) -> bool:
    """Return whether the image has a use for it."""
    if place.startswith(DOCUMENTS):
        return place.endswith("/copyright")
    return not f"{place}/".startswith(LEFT_OUT) and GCONV not in f"{place}/"


def agent_of(packed: Path) -> Tree:
    """Return the agent's part."""
    tree: Tree = {}
    with tarfile.open(packed) as tar:
        for place, entry in entries(tar):
            add(tree, f"{OPT}/{place}", entry)
    add(tree, COMMAND, link(f"/{OPT}/bin/socklb"))
    return tree


def write(trees: Sequence[Tree], asked: argparse.Namespace) -> None:
    """Write the archive, one layer a tree: Debian's stays the same from release to release."""
    image = archive.Image(**tomllib.loads(RECIPE.read_text())["agent"])
    created = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    with tempfile.TemporaryDirectory() as scratch:
        layers = [Path(scratch, f"{number}.tar.gz") for number in range(len(trees))]
        for tree, layer in zip(trees, layers, strict=True):
            write_layer(tree, layer)
        labels = dict(archive.pairs(asked.label))
        oci.write(image, layers, asked.out, architecture=asked.architecture, created=created, labels=labels)


if __name__ == "__main__":
    main()
