"""images/archive.py: what an image archive says and holds. That engines take it is seen where images are run."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from images.archive import Image, write

ROOT = Path(__file__).parents[3]


class Files:
    """The members of a tar, by name."""

    def __init__(self, content: bytes) -> None:
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            self.members = tar.getmembers()
            self.content = {member.name: tar.extractfile(member) for member in self.members if member.isfile()}
            self.bytes = {name: file.read() for name, file in self.content.items() if file}

    def json(self, name: str) -> Any:
        return json.loads(self.bytes[name])


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("etcd", "agnhost"):
        (folder / name).write_text(f"the program {name}")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A layer as root.sh makes it."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("etc/hostname"))
    file = tmp_path / "root.tar.gz"
    file.write_bytes(gzip.compress(plain.getvalue()))
    return file


def archive(images: list[Image], programs: Path, labels: dict[str, str] | None = None, **roots: Path) -> Files:
    out = io.BytesIO()
    write(images, roots, programs, out, labels or {})
    return Files(out.getvalue())


def test_the_manifest_names_each_image_with_its_layers_in_order(programs: Path, root: Path) -> None:
    image = Image(["a/b:1", "c/d:2"], layers=["base"], files={"etcd": "/usr/local/bin/etcd"})
    files = archive([image], programs, base=root)
    (entry,) = files.json("manifest.json")
    assert entry["RepoTags"] == ["a/b:1", "c/d:2"]
    assert len(entry["Layers"]) == 2
    assert files.bytes[entry["Layers"][0]] == root.read_bytes()


def test_a_layer_is_named_by_the_digest_of_the_unpacked_tar(programs: Path, root: Path) -> None:
    files = archive([Image(["a:1"], layers=["base"], files={"etcd": "/etcd"})], programs, base=root)
    (entry,) = files.json("manifest.json")
    digests = [hashlib.sha256(gzip.decompress(files.bytes[name])).hexdigest() for name in entry["Layers"]]
    assert files.json(entry["Config"])["rootfs"]["diff_ids"] == [f"sha256:{digest}" for digest in digests]


def test_a_layer_may_be_a_plain_tar(programs: Path, root: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain.tar"
    plain.write_bytes(gzip.decompress(root.read_bytes()))
    packed = archive([Image(["a:1"], layers=["base"])], programs, base=root)
    unpacked = archive([Image(["a:1"], layers=["base"])], programs, base=plain)
    assert packed.json("manifest.json") == unpacked.json("manifest.json")


def test_a_layer_that_two_images_share_is_in_it_once(programs: Path, root: Path) -> None:
    images = [
        Image([name], layers=["base"], files={"agnhost": "/agnhost"}, command=[name]) for name in ("pause:1", "serve:1")
    ]
    files = archive(images, programs, base=root)
    first, second = files.json("manifest.json")
    assert first["Layers"] == second["Layers"]
    assert first["Config"] != second["Config"]
    names = [member.name for member in files.members]
    assert len(names) == len(set(names)) == 5  # two layers, two configurations, the manifest


def test_a_program_lies_in_its_place_for_everyone_to_run_and_belongs_to_root(programs: Path) -> None:
    files = archive([Image(["a:1"], files={"etcd": "/usr/local/bin/etcd"})], programs)
    (entry,) = files.json("manifest.json")
    layer = Files(files.bytes[entry["Layers"][0]])
    assert [member.name for member in layer.members] == ["usr", "usr/local", "usr/local/bin", "usr/local/bin/etcd"]
    assert {(member.uid, member.gid, member.mode) for member in layer.members} == {(0, 0, 0o755)}
    assert layer.bytes["usr/local/bin/etcd"] == b"the program etcd"


def test_the_configuration_says_how_it_is_started_and_stopped(programs: Path, root: Path) -> None:
    image = Image(
        ["a:1"],
        layers=["base"],
        entrypoint=["/init"],
        command=["--help"],
        environment=["container=docker"],
        stop_signal="SIGRTMIN+3",
    )
    files = archive([image], programs, {"socklb.recipe": "abc"}, base=root)
    (entry,) = files.json("manifest.json")
    config = files.json(entry["Config"])["config"]
    assert (config["Entrypoint"], config["Cmd"], config["StopSignal"]) == (["/init"], ["--help"], "SIGRTMIN+3")
    assert "container=docker" in config["Env"]
    assert config["Labels"] == {"socklb.recipe": "abc"}


def test_the_same_input_gives_the_same_bytes(programs: Path) -> None:
    images = [Image(["a:1"], files={"etcd": "/etcd", "agnhost": "/agnhost"})]
    first, second = io.BytesIO(), io.BytesIO()
    write(images, {}, programs, first, {})
    for file in programs.iterdir():
        os.utime(file, (0, 0))
    write(images, {}, programs, second, {})
    assert first.getvalue() == second.getvalue()


def test_a_reader_that_stops_gives_a_line_and_no_traceback(programs: Path) -> None:
    (programs / "kube-scheduler").write_bytes(os.urandom(1 << 20))
    command = [sys.executable, "images/archive.py", "images/images.toml", "kube-scheduler", "--programs", str(programs)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.stdout.close()
        assert process.stderr
        said = process.stderr.read()
    assert process.returncode == 1
    assert said == "images/archive.py: whoever reads the archive has stopped reading\n"
