"""The wheel that is published: installed alone, every command that it brings can start."""

import shutil
import subprocess
import zipfile
from configparser import ConfigParser
from importlib.metadata import EntryPoint, entry_points, version
from pathlib import Path

import pytest

import socklb

ROOT = Path(__file__).parents[3]


def uv(*words: object) -> None:
    """What it needs is in uv's cache since `make build`, which installs by the lock alone: no index was asked."""
    argv = [ROOT / "setup/python.sh", "uv", *words, "--quiet", "--offline"]
    done = subprocess.run(list(map(str, argv)), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    uv("build", "--wheel", "--out-dir", folder)
    (built,) = folder.glob("*.whl")
    return built


def test_it_names_no_entry_point_that_leads_out_of_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
        (said,) = (name for name in names if name.endswith("entry_points.txt"))
        parsed = ConfigParser()
        parsed.read_string(opened.read(said).decode())
    points = [EntryPoint(name, value, group) for group in parsed.sections() for name, value in parsed[group].items()]
    assert [point.name for point in points] == ["socklb"]
    for point in points:
        path = point.module.replace(".", "/")
        assert {f"{path}.py", f"{path}/__init__.py"} & names


def test_installed_alone_its_command_starts(wheel: Path, tmp_path: Path) -> None:
    for name in ("pyproject.toml", "uv.lock", "setup/kit/pyproject.toml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    uv("sync", "--directory", tmp_path, "--locked", "--no-default-groups", "--no-install-workspace")
    programs = tmp_path / ".venv/bin"
    uv("pip", "install", "--python", programs / "python", "--no-deps", wheel)
    done = subprocess.run([programs / "socklb", "--version"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == f"socklb {socklb.__version__}\n"
    assert [file.name for file in programs.glob("lab*")] == []


def test_the_checkout_has_the_kits_commands_too() -> None:
    assert {point.name for point in entry_points(group="pyinfra.connectors")} >= {"netns", "kind"}
    assert (ROOT / ".venv/bin/lab").exists()
    assert version("socklb") == socklb.__version__
