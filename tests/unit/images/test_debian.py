"""images/debian.py: the lock is what is taken, byte by byte, from the mirror or from the cache folder."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from images import agent_image, debian


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve the folder `mirror`."""
    (tmp_path / "mirror").mkdir()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "mirror"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def package(mirror: str, tmp_path: Path) -> debian.Package:
    """One that the mirror has."""
    (tmp_path / "mirror/tool_1+2_all.deb").write_bytes(b"a package")
    return debian.Package("arm64", f"{mirror}/tool_1%2b2_all.deb", hashlib.sha256(b"a package").hexdigest())


def test_what_is_fetched_once_is_taken_from_the_folder(package: debian.Package, tmp_path: Path) -> None:
    (file,) = debian.fetch([package], tmp_path / "cache")
    assert file.read_bytes() == b"a package"
    assert file.name == "tool_1+2_all.deb"
    (tmp_path / "mirror" / file.name).unlink()
    assert debian.fetch([package], tmp_path / "cache") == [file]
    assert list(file.parent.iterdir()) == [file]


def test_other_bytes_than_those_of_the_lock_are_refused(package: debian.Package, tmp_path: Path) -> None:
    with pytest.raises(debian.PackageError, match="Hash Sum mismatch"):
        debian.fetch([replace(package, sha256="0" * 64)], tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_damaged_file_in_the_folder_is_fetched_again(package: debian.Package, tmp_path: Path) -> None:
    (file,) = debian.fetch([package], tmp_path / "cache")
    file.write_bytes(b"half a p")
    debian.fetch([package], tmp_path / "cache")
    assert file.read_bytes() == b"a package"


@pytest.mark.parametrize("architecture", debian.ARCHITECTURES)
def test_the_lock_has_whatever_is_listed_for_each_architecture(architecture: str) -> None:
    files = [package.file for package in debian.locked(architecture)]
    assert set(debian.wanted()) <= {file.partition("_")[0] for file in files}
    assert {re.split(r"[_.]", file)[-2] for file in files} == {architecture, "all"}
    assert any(file.startswith("libpython3.11-minimal_") for file in files)


def test_a_release_keeps_to_the_lock_and_a_test_may_take_todays(
    package: debian.Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = replace(package, url=package.url.replace("tool", "gone"), sha256="0" * 64)
    monkeypatch.setattr(agent_image, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(debian, "locked", lambda _architecture: [gone])
    monkeypatch.setattr(debian, "resolve", lambda _names, _architecture: [package])
    with pytest.raises(debian.PackageError, match="404"):
        agent_image.fetched("arm64", newer=False)
    (file,) = agent_image.fetched("arm64", newer=True)
    assert file.read_bytes() == b"a package"
    assert "Taking what Debian has now" in capsys.readouterr().err
