"""Makes what a release consists of, into build/release/: `make release`, after `make build`.

| file | what |
|---|---|
| socklb-V-py3-none-any.whl, socklb-V.tar.gz | the Python package, and its source; both with the eBPF objects |
| socklb-agent-V-pythonP-A.tar.gz | what a node unpacks below /opt/socklb, for its Python and its architecture |
| socklb-V.cdx.json, LICENSES.txt | what is in them: CycloneDX, and the licence of each |
| socklb-image-V-A.tar | the agent's image: an OCI image layout, which `docker load` takes too |
| SHA256SUMS | of all of them |

One commit gives the same bytes each time. It signs and publishes nothing.

    python setup/release.py --images arm64      with this image only, or without any: --images
    python setup/release.py --newer-packages    where Debian has replaced packages of the images: what it has now
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from email.parser import HeaderParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "release"
PYTHONS = ("3.11", "3.12", "3.13")  # Debian 12's, which the images have too, Ubuntu 24.04's, and Debian 13's
ARCHITECTURES = ("amd64", "arm64")
LEVEL = 6  # of gzip: with 9, the time is four times as long, for one per cent of the bytes
NAMESPACE = uuid.UUID("6f1d64a8-5d4c-4f0e-9a39-8c1f0b8f3a10")  # of our bills of material; any constant will do


def main() -> None:
    asked = arguments()
    version = run(sys.executable, "-c", "import socklb; print(socklb.__version__)").strip()
    os.environ["SOURCE_DATE_EPOCH"] = str(date_of_the_commit())
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    say("Building the Python package")
    uv("build", "--sdist", "--wheel", "--out-dir", FOLDER)
    (FOLDER / ".gitignore").unlink(missing_ok=True)
    for python in PYTHONS:
        for architecture in ARCHITECTURES:
            pack(version, python, architecture)
    for architecture in asked.images:
        make_image(version, architecture, ["--newer-packages"] if asked.newer_packages else [])
    licences = dict(licences_of(ROOT / "build" / f"agent-{PYTHONS[0]}-{ARCHITECTURES[0]}" / "lib"))
    lines = (f"{name} {of}: {licence}\n" for (name, of), licence in sorted(licences.items()))
    (FOLDER / "LICENSES.txt").write_text("".join(lines))
    (FOLDER / f"socklb-{version}.cdx.json").write_text(bill_of_materials(version, licences))
    (FOLDER / "SHA256SUMS").write_text("".join(checksums()))
    say(f"{len(list(FOLDER.iterdir()))} files in {FOLDER.relative_to(ROOT)}")


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description="Makes what a release consists of.", allow_abbrev=False)
    parser.add_argument("--images", nargs="*", choices=ARCHITECTURES, default=ARCHITECTURES, metavar="ARCHITECTURE")
    parser.add_argument(
        "--newer-packages", action="store_true", help="if Debian has replaced those of the lock: today's"
    )
    return parser.parse_args()


def date_of_the_commit() -> int:
    """Return it in seconds since 1970; without git, that of the changelog's file."""
    said = of_the_commit("%ct")
    return int(said) if said else int((ROOT / "CHANGELOG.md").stat().st_mtime)


def of_the_commit(what: str) -> str:
    """Return what git says of it, in the words of its --format; nothing without git."""
    words = ["git", "log", "-1", f"--format={what}"]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def pack(version: str, python: str, architecture: str) -> None:
    """Make the archive for nodes with this Python and architecture."""
    run("sh", "setup/build-agent.sh", python, architecture)
    packed = ROOT / "build" / f"agent-{python}-{architecture}.tar"
    target = FOLDER / f"socklb-agent-{version}-python{python}-{architecture}.tar.gz"
    with packed.open("rb") as tar, target.open("wb") as out, gzip.GzipFile("", "wb", LEVEL, out, mtime=0) as zipped:
        shutil.copyfileobj(tar, zipped)


def make_image(version: str, architecture: str, options: list[str]) -> None:
    """Make the archive of the agent's image."""
    say(f"Building the image for {architecture}")
    agent = ROOT / "build" / f"agent-{PYTHONS[0]}-{architecture}.tar"
    label = f"org.opencontainers.image.revision={of_the_commit('%H') or 'unknown'}"
    words = ("-m", "images.agent_image", "--architecture", architecture, "--agent", agent, "--label", label, *options)
    run(sys.executable, *words, "--out", FOLDER / f"socklb-image-{version}-{architecture}.tar")


def licences_of(lib: Path) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield the licence of each package by its name and version, as the package says it."""

    def normal(name: str) -> str:
        return re.sub(r"[-_.]+", "-", name).lower()

    for metadata in sorted(lib.glob("*.dist-info/METADATA")):
        said = HeaderParser().parsestr(metadata.read_text())
        classified = (line.split(" :: ") for line in said.get_all("Classifier", ()))
        names = ", ".join(name for kind, *_, name in classified if kind == "License")
        licence = said["License-Expression"] or names or said["License"] or "not said"
        yield (normal(said["Name"]), said["Version"]), licence


def bill_of_materials(version: str, licences: dict[tuple[str, str], str]) -> str:
    """Return uv's CycloneDX document with licences, and with a time and number that the commit decides."""
    found = json.loads(run("setup/dependencies.sh", "--format", "cyclonedx1.5"))
    for component in found["components"]:
        licence = licences[component["name"], component["version"]]
        component["licenses"] = [{"license": {"name": licence}}]
    found["metadata"]["component"]["version"] = version
    found["metadata"]["timestamp"] = datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), UTC).isoformat()
    found["serialNumber"] = f"urn:uuid:{uuid.uuid5(NAMESPACE, json.dumps(found['components']) + version)}"
    return json.dumps(found, indent=1) + "\n"


def checksums() -> Iterator[str]:
    for file in sorted(FOLDER.iterdir()):
        yield f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n"


def uv(*words: object) -> str:
    return run("setup/python.sh", "uv", *words, "--quiet")


def run(*words: object) -> str:
    """Run a command of the checkout; end with what it said if it fails."""
    done = subprocess.run([str(word) for word in words], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"setup/release.py: this failed, with exit code {done.returncode}: {' '.join(map(str, words))}")
    return done.stdout


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
