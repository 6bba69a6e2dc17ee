"""The devcontainer: what it is made of, and that it can hold the local cluster."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / ".devcontainer"
CONTAINERFILE = (FOLDER / "Containerfile").read_text().replace("\\\n", " ")
LISTED = re.sub(r"[^\S\n]*#.*", "", (ROOT / "setup/apt-packages.txt").read_text()).strip().split("\n")
LISTED = [line for line in LISTED if line]


def described() -> dict[str, Any]:
    return json.loads((FOLDER / "devcontainer.json").read_text())


def copied() -> list[str]:
    (words,) = re.findall(r"^COPY (.*)$", CONTAINERFILE, re.MULTILINE)
    *files, _ = words.split()
    return files


def test_it_may_make_namespaces_and_load_programs_in_a_cgroup_of_its_own() -> None:
    container = described()
    assert container["privileged"] is True
    assert container["runArgs"] == ["--cgroupns=private"]
    assert container["remoteUser"] == "root"


def test_it_is_built_from_the_checkout_and_then_builds_what_nodes_run() -> None:
    container = described()
    build = container["build"]
    assert (FOLDER / build["dockerfile"]).is_file()
    assert (FOLDER / build["context"]).resolve() == ROOT
    assert [file for file in copied() if not (ROOT / file).is_file()] == []
    command, target = container["postCreateCommand"].split()
    assert command == "make"
    assert re.search(rf"^{target}:.*  ## ", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_it_is_the_oldest_debian_that_the_readme_names() -> None:
    assert CONTAINERFILE.count("FROM ") == 1
    assert "\nFROM debian:bookworm\n" in CONTAINERFILE
    assert "As root on Debian 12" in (ROOT / "README.md").read_text()


def test_it_names_no_package_but_those_that_the_readme_asks_for_and_one_of_the_list() -> None:
    (named,) = re.findall(r"apt-get install -y --no-install-recommends (.*?) +&&", CONTAINERFILE)
    assert set(named.split()) - set(LISTED) == {"git"}
    assert "only `git` and `make` installed" in (ROOT / "README.md").read_text()


def test_what_it_copies_is_enough_to_install_the_whole_list(tmp_path: Path) -> None:
    """By a user who is not root, so that the script names what is missing instead of installing it."""
    (tmp_path / "setup").mkdir()
    for file in copied():
        shutil.copy(ROOT / file, tmp_path / file)
    for name, script in {"dpkg-query": "exit 1", "id": "echo 1000"}.items():
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    done = subprocess.run(
        [tmp_path / "setup/packages.sh"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert [line for line in done.stderr.splitlines() if line in LISTED] == LISTED
    started = set(re.findall(r"setup/[\w-]+\.sh", (tmp_path / "setup/packages.sh").read_text()))
    assert started <= set(copied())
