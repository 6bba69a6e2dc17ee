"""images/runc-without-sys-resource beside a runc that prints what it is given."""

import json
import os
import subprocess
from pathlib import Path

import pytest

SHIM = Path(__file__).parents[3] / "images/runc-without-sys-resource"


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / "path").mkdir()
    runc = tmp_path / "path/runc"
    runc.write_text('#!/bin/sh\necho "$@"\nexit 7\n')
    runc.chmod(0o755)
    return f"{tmp_path}/path:{os.environ['PATH']}"


def run(path: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SHIM, *arguments], env={"PATH": path}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("option", ["--bundle", "-b"])
@pytest.mark.parametrize(
    "others", [[[], []], [["CAP_CHOWN"], []], [[], ["CAP_CHOWN"]], [["CAP_CHOWN"], ["CAP_BPF"]]], ids=str
)
def test_a_container_is_made_without_the_capability(
    path: str, tmp_path: Path, option: str, others: list[list[str]]
) -> None:
    before, after = others
    wanted = [*before, "CAP_SYS_RESOURCE", *after]
    config = {"process": {"capabilities": {"bounding": wanted, "effective": wanted}}, "args": ["--bundle"]}
    (tmp_path / "config.json").write_text(json.dumps(config, separators=(",", ":")))
    done = run(path, "--root", "/run/x", "create", option, str(tmp_path), "name")
    assert (done.returncode, done.stdout) == (7, f"--root /run/x create {option} {tmp_path} name\n")
    left = json.loads((tmp_path / "config.json").read_text())["process"]["capabilities"]
    assert left == {"bounding": before + after, "effective": before + after}


def test_a_process_in_a_container_starts_without_it_too(path: str, tmp_path: Path) -> None:
    process = tmp_path / "process"
    process.write_text('{"capabilities":{"bounding":["CAP_SYS_ADMIN","CAP_SYS_RESOURCE"]}}')
    run(path, "exec", "--process", str(process), "name")
    assert json.loads(process.read_text()) == {"capabilities": {"bounding": ["CAP_SYS_ADMIN"]}}


def test_what_names_no_file_passes_as_it_is(path: str) -> None:
    assert run(path, "state", "name").stdout == "state name\n"
