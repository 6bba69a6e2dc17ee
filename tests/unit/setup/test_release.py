"""`make release`: what is published, the same bytes each time, and complete."""

import gzip
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import pytest

from images.agent_image import HERE, OPT
from images.tree import Tree, entries, unpack
from socklb import __version__
from socklb.datapath.node_datapath import OBJECT_FILES

ROOT = Path(__file__).parents[3]
PACKED = (
    "setup",
    "socklb",
    "images",
    "bpf",
    "README.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "LICENSE",
    "pyproject.toml",
    "uv.lock",
)
OTHER = "arm64" if HERE == "amd64" else "amd64"  # tests/unit/images/test_agent_image.py has this machine's image, twice
EMULATORS = {"amd64": "qemu-x86_64", "arm64": "qemu-aarch64"}
MACHINES = {"amd64": 62, "arm64": 183}  # EM_X86_64 and EM_AARCH64 of elf.h


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout without git in which a release was made, and the checksums of another one from another folder.

    Both are made at once: each waits a third of its time.
    """
    checkouts = [tmp_path_factory.mktemp(name) for name in ("checkout", "somewhere-else")]
    for checkout in checkouts:
        copy_to(checkout)
    for file in checkouts[1].joinpath("socklb").rglob("*.py"):
        file.touch()
    with ThreadPoolExecutor() as both:
        list(both.map(make, checkouts, [[OTHER], []]))
    shutil.copy(checkouts[1] / "build/release/SHA256SUMS", checkouts[0] / "other")
    return checkouts[0]


def copy_to(checkout: Path) -> None:
    for name in PACKED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, checkout / name)
    for name in (".venv", ".tools"):
        if (ROOT / name).exists():
            (checkout / name).symlink_to(ROOT / name)


def make(checkout: Path, images: list[str]) -> None:
    argv = [sys.executable, checkout / "setup/release.py", "--newer-packages", "--images", *images]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_has_the_same_bytes_each_time_and_says_which(release: Path) -> None:
    folder = release / "build/release"
    text = (folder / "SHA256SUMS").read_text()
    lines = [line for line in text.splitlines() if "image" not in line]
    assert lines == (release / "other").read_text().splitlines()
    said = {name: digest for digest, name in map(str.split, text.splitlines())}
    assert said == {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.iterdir()
        if file.name != "SHA256SUMS"
    }
    assert len(said) == 11


def test_wheel_and_source_have_the_programs_for_the_kernel(release: Path) -> None:
    objects = {f"socklb/datapath/{name}" for name in OBJECT_FILES}
    folder = release / "build/release"
    with zipfile.ZipFile(folder / f"socklb-{__version__}-py3-none-any.whl") as wheel:
        assert objects <= set(wheel.namelist())
    with tarfile.open(folder / f"socklb-{__version__}.tar.gz") as source:
        names = {name.partition("/")[2] for name in source.getnames()}
    assert objects | {"bpf/types.h", "bpf/LICENSE", "LICENSE"} <= names
    assert not {name for name in names if re.match(r"build|tests|\\.", name)}


@pytest.mark.parametrize("architecture", MACHINES)
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_what_nodes_unpack_is_for_their_python_and_architecture(release: Path, python: str, architecture: str) -> None:
    packed = release / f"build/release/socklb-agent-{__version__}-python{python}-{architecture}.tar.gz"
    with tarfile.open(packed) as agent:
        native = [name for name in agent.getnames() if name.endswith(".so")]
        machines = {machine_of(agent, name) for name in native}
        launcher = agent.extractfile("bin/socklb")
        assert launcher is not None
        assert f"python{python}" in launcher.read().decode()
    assert machines == {MACHINES[architecture]}
    version = python.replace(".", "")
    assert {re.search(r"cpython-(\d+)", name)[1] for name in native if "cpython" in name} == {version}  # type: ignore[index]


def test_the_image_for_another_architecture_starts(release: Path, tmp_path: Path) -> None:
    unpack(content_of_the_image(release), tmp_path)
    machines = {file.read_bytes()[18] for file in (tmp_path / "usr/bin").glob("python3.*[0-9]")}
    assert machines == {MACHINES[OTHER]}
    emulator = shutil.which(EMULATORS[OTHER])
    if emulator is None:
        pytest.skip("no emulator. Run: setup/packages.sh setup/apt-arm64.txt")
    lib = tmp_path / OPT / "lib"
    # Without chroot and binfmt: the emulator looks below -L first.
    inside = {"PYTHONHOME": tmp_path / "usr", "PYTHONPATH": lib}
    settings = (word for name, value in inside.items() for word in ("-E", f"{name}={value}"))
    argv = [emulator, "-L", tmp_path, *settings, tmp_path / "usr/bin/python3", "-P", "-s", lib / "bin/socklb"]
    done = subprocess.run([*argv, "--version"], capture_output=True, text=True, check=False)
    assert done.stdout == f"socklb {__version__}\n", done.stderr


def content_of_the_image(release: Path) -> Tree:
    tree: Tree = {}
    with tarfile.open(release / f"build/release/socklb-image-{__version__}-{OTHER}.tar") as image:
        (docker,) = json.load(member(image, "manifest.json"))
        assert json.load(member(image, docker["Config"]))["architecture"] == OTHER
        for name in docker["Layers"]:
            with tarfile.open(fileobj=io.BytesIO(gzip.decompress(member(image, name).read()))) as layer:
                tree |= dict(entries(layer))
    return tree


def member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    file = archive.extractfile(name)
    assert file is not None
    return file


def machine_of(archive: tarfile.TarFile, name: str) -> int:
    """Return e_machine of an ELF file."""
    return int.from_bytes(member(archive, name).read(20)[18:], "little")


def test_the_bill_of_materials_names_what_is_in_it_with_its_licence(release: Path) -> None:
    bill = json.loads((release / f"build/release/socklb-{__version__}.cdx.json").read_text())
    named = {f"{one['name']} {one['version']}: {one['licenses'][0]['license']['name']}" for one in bill["components"]}
    lines = (release / "build/release/LICENSES.txt").read_text().splitlines()
    assert named == {line for line in lines if not line.startswith("socklb ")}
    assert not [line for line in lines if line.endswith("not said")]
    assert f"socklb {__version__}: Apache-2.0 AND GPL-2.0-only" in lines


def test_a_bundle_has_the_text_of_each_licence_and_none_that_the_documents_do_not_tell_of(release: Path) -> None:
    stated = dict(line.split(": ", 1) for line in (release / "build/release/LICENSES.txt").read_text().splitlines())
    told = licences_told()
    assert {name.split()[0] for name in stated} == {*told, "socklb"}
    with tarfile.open(release / f"build/release/socklb-agent-{__version__}-python3.11-amd64.tar.gz") as agent:
        texts = re.findall(r"lib/([\w.]+)-[\w.]+\.dist-info/(?:licenses/)?LICEN[CS]E", "\n".join(agent.getnames()))
        assert agent.extractfile("lib/socklb/datapath/socklb.bpf.o") is not None
        assert any(name.endswith("dist-info/licenses/bpf/LICENSE") for name in agent.getnames())
    assert {name.replace("_", "-").lower() for name in texts} == {name.split()[0] for name in stated}


def licences_told() -> set[str]:
    """Return the names of packages in the table of docs/licences.md."""
    table = (ROOT / "docs/licences.md").read_text().split("<!-- licences of the bundle -->")[1].split("<!-- end -->")[0]
    cells = (row.strip("|").split("|")[1] for row in table.strip().splitlines()[2:])
    return {name for cell in cells for name in re.findall(r"[a-z][a-z0-9-]+", re.sub(r"\(.*?\)", "", cell))}
