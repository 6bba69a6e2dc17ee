"""images/sealed-docker.sh: a docker of our own that reaches nothing and leaves nothing.

Under a name of its own, so that one which somebody uses on this machine is not disturbed.
"""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from images.archive import Image, write

SCRIPT = Path(__file__).parents[2] / "images/sealed-docker.sh"
NAME = "socklb-docker-test"
RUN = Path("/run") / NAME


class SealedDocker:
    """The script, with a cache folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "SOCKLB_DOCKER": NAME, "SOCKLB_CACHE": str(folder / "cache")}

    def __call__(self, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        command = [str(SCRIPT), *arguments]
        environment = self.environment | changes
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def do(self, *arguments: str) -> str:
        done = self(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run_container(self, *options: str) -> str:
        """A container that does nothing until it is stopped; its id."""
        self.do("run", "docker", "load", "--input", str(self.image()))
        return self.do("run", "docker", "run", "--detach", "--pull=never", *options, "test:1", "3600").strip()

    def image(self) -> Path:
        """The machine's `sleep`, and the libraries that it says it needs."""
        sleep = shutil.which("sleep")
        assert sleep
        listed = subprocess.run(["ldd", sleep], capture_output=True, text=True, check=True).stdout
        libraries = [word for word in listed.split() if word.startswith("/")]
        programs = {sleep.lstrip("/"): "/sleep", **{library.lstrip("/"): library for library in libraries}}
        archive = self.folder / "image.tar"
        with archive.open("wb") as out:
            write([Image(["test:1"], files=programs, entrypoint=["/sleep"])], {}, Path("/"), out, {})
        return archive


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[SealedDocker]:
    sealed = SealedDocker(tmp_path)
    sealed("stop")
    yield sealed
    sealed("stop")


def what_is_there() -> dict[str, set[str]]:
    """What a docker leaves on a machine: by kind of thing."""
    mounts = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    cgroups = subprocess.run(["find", "/sys/fs/cgroup", "-name", NAME], capture_output=True, text=True, check=False)
    folders = [
        RUN,
        "/run/docker",
        "/etc/docker",
        "/opt/containerd",
        "/var/lib/docker",
        "/lib/modules",
        "/run/containerd",
    ]
    return {
        "processes": {str(pid) for pid in ours()},
        "mounts": {mount for mount in mounts if NAME in mount or "/docker/" in mount},
        "cgroups": set(cgroups.stdout.split()),
        "folders": {str(folder) for folder in folders if Path(folder).exists()},
        "namespaces": {file.name for file in Path("/run/netns").glob(NAME)},
        "links": {file.name for file in Path("/sys/class/net").glob("docker*")},
    }


def ours() -> list[int]:
    """Every process that names the run folder or lives in one of the container cgroups."""
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            told = (folder / "cmdline").read_bytes() + (folder / "cgroup").read_bytes()
        except OSError:
            continue
        if NAME.encode() in told:
            found.append(int(folder.name))
    return found


def test_it_leaves_nothing_behind(docker: SealedDocker) -> None:
    before = what_is_there()
    docker.do("start")
    docker.run_container()
    during = what_is_there()
    docker.do("stop")
    assert what_is_there() == before
    assert during["cgroups"]
    assert len(during["processes"]) >= 3  # dockerd, containerd's shim, the container
    assert during["namespaces"] == {NAME}
    assert during["mounts"] == {f"/run/netns/{NAME}"}  # the containers' are in a mount namespace of their own


def test_killed_it_takes_its_containers_with_it_and_can_be_started_again(docker: SealedDocker) -> None:
    before = what_is_there()
    docker.do("start")
    docker.run_container()
    os.kill(int((RUN / "pid").read_text()), 9)
    docker.do("start")
    assert docker.do("run", "docker", "ps", "--all", "--quiet") == ""
    docker.run_container()
    docker.do("stop")
    assert what_is_there() == before


def test_a_container_that_is_paused_ends_with_it(docker: SealedDocker) -> None:
    before = what_is_there()
    docker.do("start")
    container = docker.run_container()
    docker.do("run", "docker", "pause", container)
    os.kill(int((RUN / "pid").read_text()), 9)  # so that no dockerd can thaw it
    docker.do("stop")
    assert what_is_there() == before


def test_images_stay_in_the_cache_and_containers_do_not(docker: SealedDocker) -> None:
    docker.do("start")
    docker.run_container("--volume", "/data")
    docker.do("stop")
    docker.do("start")
    assert docker.do("run", "docker", "images", "--format", "{{.Repository}}") == "test\n"
    assert docker.do("run", "docker", "ps", "--all", "--quiet") == ""
    assert docker.do("run", "docker", "volume", "ls", "--quiet") == ""


def test_nothing_beyond_its_own_networks_can_be_reached(docker: SealedDocker) -> None:
    docker.do("start")
    bridge = docker("run", "ip", "route", "get", "172.17.0.2")
    assert "dev docker0" in bridge.stdout  # the control: the same question about a container's address
    beyond = docker("run", "ip", "route", "get", "192.0.2.1")
    assert (beyond.returncode, beyond.stdout) == (2, "")
    assert "unreachable" in beyond.stderr


def test_a_privileged_container_runs_with_whatever_capabilities_the_machine_has(docker: SealedDocker) -> None:
    docker.do("start")
    container = docker.run_container("--privileged")
    docker.do("run", "docker", "exec", "--privileged", "--detach", container, "/sleep", "1")
    assert docker.do("run", "docker", "inspect", "--format", "{{.State.Running}}", container) == "true\n"


def test_one_that_runs_is_not_started_again(docker: SealedDocker) -> None:
    docker.do("start")
    first = (RUN / "pid").read_text()
    docker.do("start")
    assert (RUN / "pid").read_text() == first


def test_two_stand_side_by_side_and_the_last_one_removes_what_both_used(docker: SealedDocker) -> None:
    before = what_is_there()
    beside = {"SOCKLB_DOCKER": f"{NAME}-2"}
    docker.do("start")
    assert docker("start", **beside).returncode == 0
    docker.do("stop")
    try:
        assert docker("run", "docker", "load", "--input", str(docker.image()), **beside).returncode == 0
        started = docker("run", "docker", "run", "--detach", "--pull=never", "test:1", "3600", **beside)
        assert started.returncode == 0, started.stderr
    finally:
        docker("stop", **beside)
    assert what_is_there() == before


def test_a_lock_of_the_caller_is_not_held_as_long_as_it_runs(docker: SealedDocker, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    started = ["flock", str(lock), str(SCRIPT), "start"]
    subprocess.run(started, env=docker.environment, stdin=subprocess.DEVNULL, check=True)
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_dockerd_that_fails_has_its_words_shown_and_leaves_nothing(docker: SealedDocker, tmp_path: Path) -> None:
    before = what_is_there()
    failing = tmp_path / "dockerd"
    failing.write_text("#!/bin/sh\necho no room for images >&2\nexit 1\n")
    failing.chmod(0o755)
    done = docker("start", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == 1
    assert "no room for images" in done.stderr
    assert "dockerd does not answer" in done.stderr
    assert what_is_there() == before


def test_what_needs_it_says_how_to_start_it(docker: SealedDocker) -> None:
    done = docker("run", "docker", "ps")
    assert done.returncode == 1
    assert "images/sealed-docker.sh start" in done.stderr
