"""build/agent.tar and its launcher: what `make build` hands to the nodes."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from socklb.cli.manual import page
from socklb.datapath.node_datapath import OBJECT_FILES
from tests.unit.agent.api_server import ApiServer, Reply

ROOT = Path(__file__).parents[3]
OBJECTS = [f"socklb/datapath/{name}" for name in OBJECT_FILES]
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What is packed, as `make build` finds it, in a folder of its own."""
    return copy_to(tmp_path)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which `make build` has packed it; tests change nothing there."""
    checkout = copy_to(tmp_path_factory.mktemp("packed"))
    build(checkout)
    return checkout


def copy_to(folder: Path) -> Path:
    for name in ("setup", "socklb"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "bpf").mkdir()
    for name in ("README.md", "LICENSE", "bpf/LICENSE", "pyproject.toml", "uv.lock"):
        shutil.copy(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    if (ROOT / ".tools").exists():
        (folder / ".tools").symlink_to(ROOT / ".tools")
    return folder


def build(checkout: Path, *arguments: str) -> bytes:
    command = ["/bin/sh", str(checkout / "setup/build-agent.sh"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return checkout.joinpath("build", "-".join(["agent", *arguments]) + ".tar").read_bytes()


def test_it_is_packed_again_only_when_something_changed_and_from_the_same_files_come_the_same_bytes(
    packed: Path, checkout: Path
) -> None:
    first = (packed / "build/agent.tar").read_bytes()
    (checkout / "build").mkdir()
    shutil.copy(packed / "build/agent.key", checkout / "build")
    (checkout / "build/agent.tar").write_bytes(b"not packed again")
    assert build(checkout) == b"not packed again"
    (checkout / "socklb/extra.py").write_text("")
    assert b"lib/socklb/extra.py" in build(checkout)
    (checkout / "socklb/extra.py").unlink()
    for file in checkout.joinpath("socklb").rglob("*"):
        os.utime(file, (0, 0))
    assert build(checkout) == first


def test_another_python_gets_an_archive_of_its_own_and_a_command_of_its_name_that_does_not_run_is_as_none(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shim = checkout / "shims/python3.14"  # as pyenv has it for versions that are not in use
    shim.parent.mkdir()
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{shim.parent}:{os.environ['PATH']}")
    build(checkout, "3.14")
    assert list(checkout.glob("build/agent-3.14/lib/msgspec/*cpython-314*.so"))
    assert "python3.14" in (checkout / "build/agent-3.14/bin/socklb").read_text()
    assert not (checkout / "build/agent.tar").exists()
    assert not list(checkout.glob("build/agent-3.14/lib/socklb/__pycache__"))


def test_without_the_objects_it_says_what_to_run(checkout: Path) -> None:
    (checkout / "socklb/datapath/socklb.bpf.o").unlink()
    done = subprocess.run(
        ["/bin/sh", str(checkout / "setup/build-agent.sh")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "socklb.bpf.o is missing. Run: make build" in done.stderr


def test_every_dependency_and_every_object_is_in_it(packed: Path) -> None:
    lib = packed / "build/agent/lib"
    for name in ("msgspec", "prometheus_client", "yaml", "watchfiles", "shtab", *OBJECTS):
        assert (lib / name).exists(), name
    assert not (lib / "pyinfra").exists()


IMPORT_ALL = """
import importlib, pkgutil, socklb
for module in pkgutil.walk_packages(socklb.__path__, "socklb."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""
ASK = """
import sys
from contextlib import closing
from socklb.api.connection import Connection
for kubeconfig in sys.argv[1:]:
    with closing(Connection(kubeconfig).get("/version", {}, 5).response) as answer:
        print(answer.data.decode())
"""


def test_what_is_left_out_of_the_official_client_is_missed_by_nothing(packed: Path, tmp_path: Path) -> None:
    lib = packed / "build/agent/lib"
    assert not (lib / "aiohttp").exists()
    assert size(packed / "build/agent.tar") < 30

    with ApiServer(lambda _: Reply(b"{}")) as server:
        plain = server.kubeconfig(tmp_path)
        alone(lib, IMPORT_ALL)
        assert alone(lib, ASK, str(plain), str(with_a_plugin(plain))).split() == ["{}", "{}"]
    assert [request.headers["authorization"] for request in server.asked] == ["Bearer a token", "Bearer from-a-plugin"]


def alone(lib: Path, script: str, *arguments: str) -> str:
    """Run it with the modules of the package and of Python itself, and no other."""
    argv = [sys.executable, "-P", "-S", "-s", "-c", script, *arguments]
    done = subprocess.run(argv, env={"PYTHONPATH": str(lib)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def with_a_plugin(kubeconfig: Path) -> Path:
    """Return the same file with a user whose token a program tells."""
    status = {"token": "from-a-plugin", "expirationTimestamp": "2999-01-01T00:00:00Z"}
    said = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    plugin = {"apiVersion": said["apiVersion"], "command": "echo", "args": [json.dumps(said)]}
    content = yaml.safe_load(kubeconfig.read_text())
    content["users"][0]["user"] = {"exec": plugin | {"interactiveMode": "Never"}}
    other = kubeconfig.with_name("with-a-plugin")
    other.write_text(yaml.safe_dump(content))
    return other


def size(file: Path) -> float:
    """Return it in MiB."""
    return file.stat().st_size / (1 << 20)


def test_the_manual_page_in_it_is_of_this_version(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    made = packed / "build/agent/share/man/man8/socklb.8"
    assert made.read_text() == page()
    with tarfile.open(packed / "build/agent.tar") as archive:
        assert "share/man/man8/socklb.8" in archive.getnames()


def launcher(folder: Path, python: str, version: str = VERSION) -> Path:
    """The launcher as packed, beside a package that says how it was started."""
    (folder / "opt/bin").mkdir(parents=True)
    (folder / "opt/lib/bin").mkdir(parents=True)
    (folder / "opt/lib/socklb").mkdir()
    (folder / "opt/lib/socklb/__init__.py").touch()
    (folder / "opt/lib/bin/socklb").write_text("import socklb, sys; print(socklb.__file__, *sys.argv[1:])")
    text = (ROOT / "setup/launcher.sh").read_text().replace("@PYTHON@", python).replace("@VERSION@", version)
    script = folder / "opt/bin/socklb"
    script.write_text(text)
    script.chmod(0o755)
    return script


def run(script: Path, *arguments: str, cwd: Path, path: str = "/usr/bin:/bin") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(script), *arguments], cwd=cwd, env={"PATH": path}, capture_output=True, text=True, check=False
    )


def test_the_launcher_starts_its_own_package_through_a_link_and_from_any_folder(tmp_path: Path) -> None:
    link = tmp_path / "socklb-link"
    link.symlink_to(launcher(tmp_path, sys.executable))
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "socklb").mkdir(parents=True)
    (elsewhere / "socklb/__init__.py").write_text("raise SystemExit('imported from the working directory')")
    done = run(link, "status", "--json", cwd=elsewhere)
    assert done.stdout == f"{tmp_path}/opt/lib/socklb/__init__.py status --json\n", done.stderr


def test_the_launcher_falls_back_to_a_python_of_the_same_version(tmp_path: Path) -> None:
    script = launcher(tmp_path, "/no/such/python")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python3").symlink_to(sys.executable)
    assert "status" in run(script, "status", cwd=tmp_path, path=f"{tmp_path}/bin:/usr/bin:/bin").stdout


def test_the_launcher_refuses_a_python_of_another_version(tmp_path: Path) -> None:
    done = run(launcher(tmp_path, sys.executable, version="3.99"), "status", cwd=tmp_path)
    assert done.returncode == 1
    assert "no Python 3.99 on this node" in done.stderr


def test_a_nodes_first_start_has_nothing_to_compile(packed: Path, tmp_path: Path) -> None:
    lib = shutil.copytree(packed / "build/agent/lib", tmp_path / "lib")
    start = [sys.executable, "-P", "-s", "-c", "import socklb.cli, socklb.agent, socklb.api.cluster"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = compiled(lib)
    subprocess.run(start, env=environment | {"PYTHONPATH": str(lib)}, check=True)
    assert compiled(lib) == before
    next(iter(before)).unlink()
    subprocess.run(start, env=environment | {"PYTHONPATH": str(lib)}, check=True)
    assert compiled(lib) != before, "the control: what is missing is compiled"


def compiled(lib: Path) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for file in lib.rglob("*.pyc")}
