"""The agent's image: by the archive and by the Containerfile the same, small, and never written to.

It is made twice here for this machine, in the two ways, and for another one by tests/unit/setup/test_release.py.
Packages come from Debian's mirror once, then from the cache folder.
"""

import gzip
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import socklb
from images.agent_image import HERE
from images.archive import PATH
from images.tree import Tree, entries

ROOT = Path(__file__).parents[3]
MADE_FROM = tomllib.loads((ROOT / "images/images.toml").read_text())["agent"]
MIB = 1 << 20


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is packed for a node of this architecture, in a checkout of its own."""
    checkout = tmp_path_factory.mktemp("checkout")
    for name in ("setup", "socklb", "images"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__", "programs"))
    (checkout / "bpf").mkdir()
    for name in ("README.md", "LICENSE", "bpf/LICENSE", "pyproject.toml", "uv.lock"):
        shutil.copy(ROOT / name, checkout / name)
    for name in (".venv", ".tools"):
        if (ROOT / name).exists():
            (checkout / name).symlink_to(ROOT / name)
    subprocess.run(["sh", "setup/build-agent.sh", "3.11", HERE], cwd=checkout, check=True)
    return checkout / f"build/agent-3.11-{HERE}.tar"


@pytest.fixture(scope="module")
def image(agent: Path) -> Path:
    """The archive, as images/build.sh makes it."""
    made = agent.with_name("image.tar")
    words = ("--newer-packages", "--agent", agent, "--out", made)
    subprocess.run([sys.executable, "-m", "images.agent_image", *words], cwd=ROOT, check=True)
    return made


@pytest.fixture(scope="module")
def root(agent: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the Containerfile's last stage copies: its own commands, run on what it copies before."""
    context = tmp_path_factory.mktemp("context")
    for source, target in (line.split() for line in instructions("COPY") if not line.startswith("--from")):
        for file in agent.parents[1].glob(source):
            place = context / target / (file.name if target.endswith("/") else "")
            place.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if file.is_dir() else shutil.copy)(file, place)
    (makes,) = [line for line in instructions("RUN") if line.startswith("python3")]
    made = tmp_path_factory.mktemp("image") / "root"
    command = makes.replace(" /image", f" {made}").replace("python3", sys.executable) + " --newer-packages"
    subprocess.run(["sh", "-c", command], cwd=context, env=os.environ | {"TARGETARCH": HERE}, check=True)
    return made


def instructions(name: str, folder: str = "images") -> list[str]:
    """Return what stands behind each of them in a Containerfile."""
    said = re.sub(r"\\\n", "", (ROOT / folder / "Containerfile").read_text())
    return re.findall(rf"^{name} (.*)", said, re.MULTILINE)


def blob(image: Path, digest: str) -> bytes:
    return member(image, "blobs/" + digest.replace(":", "/"))


def member(image: Path, name: str) -> bytes:
    with tarfile.open(image) as tar:
        file = tar.extractfile(name)
        assert file is not None
        return file.read()


def manifest(image: Path) -> dict[str, Any]:
    (one,) = json.loads(member(image, "index.json"))["manifests"]
    return json.loads(blob(image, one["digest"]))


def configuration(image: Path) -> dict[str, Any]:
    return json.loads(blob(image, manifest(image)["config"]["digest"]))


@cache
def content(image: Path) -> Tree:
    tree: Tree = {}
    for layer in manifest(image)["layers"]:
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(blob(image, layer["digest"])))) as tar:
            assert {(each.uid, each.gid, each.mtime) for each in tar} == {(0, 0, 0)}
            tree |= dict(entries(tar))
    return tree


def found(root: Path) -> dict[str, tuple[int, bytes]]:
    """Return mode and content of everything below it; of a link, where it leads."""
    return {
        str(path.relative_to(root)): (
            path.lstat().st_mode & 0o7777,
            bytes(path.readlink()) if path.is_symlink() else b"" if path.is_dir() else path.read_bytes(),
        )
        for path in root.rglob("*")
    }


def test_the_containerfile_makes_what_the_archive_holds(image: Path, root: Path) -> None:
    packed = {place: (entry.mode, entry.target.encode() or entry.content) for place, entry in content(image).items()}
    made = found(root)
    assert made.keys() == packed.keys()
    assert [place for place in made if made[place] != packed[place]] == []


def test_the_containerfile_says_of_it_what_the_recipe_says() -> None:
    assert dict(line.split("=", 1) for line in instructions("LABEL")) == {
        name: f'"{value}"' for name, value in MADE_FROM["labels"].items()
    }
    assert [json.loads(line) for line in instructions("ENTRYPOINT")] == [MADE_FROM["entrypoint"]]
    assert [json.loads(line) for line in instructions("CMD")] == [MADE_FROM["command"]]
    (health,) = instructions("HEALTHCHECK")
    assert shlex.split(health)[0] == "--interval=30s"
    assert json.loads(health.partition("CMD ")[2]) == MADE_FROM["healthcheck"]
    assert instructions("ENV") == [PATH]
    assert f"socklb/agent:{socklb.__version__}" in (ROOT / "images/Containerfile").read_text()


@pytest.mark.parametrize("folder", ["images", ".devcontainer"])
def test_what_a_containerfile_copies_is_in_its_context(folder: str) -> None:
    kept = {line[1:].partition("/")[0] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"}
    copied = [line.split()[:-1] for line in instructions("COPY", folder) if not line.startswith("--from")]
    assert copied
    assert {source.partition("/")[0] for sources in copied for source in sources} <= kept


def test_the_archive_is_for_docker_too_and_says_what_it_is(image: Path) -> None:
    said = configuration(image)
    assert (said["architecture"], said["os"]) == (HERE, "linux")
    assert said["config"]["Labels"]["org.opencontainers.image.version"] == socklb.__version__
    assert said["config"]["Healthcheck"]["Test"] == ["CMD", "socklb", "status"]
    (docker,) = json.loads(member(image, "manifest.json"))
    assert docker["RepoTags"] == MADE_FROM["names"]
    assert json.loads(member(image, docker["Config"])) == said
    assert json.loads(member(image, "oci-layout")) == {"imageLayoutVersion": "1.0.0"}


def test_it_is_small(image: Path) -> None:
    assert image.stat().st_size < 45 * MIB
    assert sum(len(entry.content) for entry in content(image).values()) < 120 * MIB


def test_nothing_in_it_makes_somebody_root_and_licences_and_packages_are_named(image: Path) -> None:
    tree = content(image)
    assert not [place for place, entry in tree.items() if entry.mode & 0o6000]
    names = re.findall(r"^Package: (.*)$", tree["var/lib/dpkg/status"].content.decode(), re.MULTILINE)
    assert {"python3", "libbpf1", "iproute2"} <= set(names)
    assert "apt" not in names
    assert "usr/share/doc/libbpf1/copyright" in tree


@pytest.mark.skipif(os.geteuid() != 0, reason="chroot and mounts need root")
def test_what_runs_in_it_writes_nothing_into_it(root: Path) -> None:
    before = written(root)
    assert run_in(root, "socklb", "--version") == f"socklb {socklb.__version__}\n"
    run_in(root, "socklb", "status", "--help")
    run_in(root, "/opt/socklb/bin/socklb", "agent", "--help")
    run_in(root, "ip", "-json", "-N", "route", "show")
    assert written(root) == before
    next(root.glob("opt/socklb/lib/socklb/__pycache__/__init__.*")).unlink()
    assert written(root).keys() != before.keys()
    run_in(root, "socklb", "--version")
    assert written(root).keys() == before.keys(), "the control: what is missing is written"


def written(root: Path) -> dict[str, int]:
    """Return when each file below it was written."""
    return {str(path): path.lstat().st_mtime_ns for path in root.rglob("*")}


@pytest.mark.skipif(os.geteuid() != 0, reason="chroot and mounts need root")
def test_it_runs_where_nothing_can_be_written(root: Path) -> None:
    assert run_in(root, "socklb", "--version", options="ro") == f"socklb {socklb.__version__}\n"
    assert run_in(root, "sh", "-c", "true >/root/file || echo refused", options="ro") == "refused\n", "the control"


def run_in(root: Path, *words: str, options: str = "rw") -> str:
    """Run it in the root, with the machine's /dev and a mount namespace of its own."""
    mounts = 'mount --bind "$1" "$1" && mount --bind /dev "$1/dev" && mount -o "remount,bind,$2" "$1"'
    script = f'{mounts} && shift 2 && exec "$@"'
    inside = ["chroot", str(root), "env", *words]
    argv = ["unshare", "--mount", "sh", "-c", script, "sh", str(root), options, *inside]
    environment = {"PATH": PATH.removeprefix("PATH=")}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
