"""Nobody but root is master of the hooks: who may write where pins and the lock are."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from rig.agents import AgentUnderTest
from rig.sandbox import Sandbox
from socklb.datapath import hooks, lock
from socklb.datapath.node_datapath import NodeDatapath
from socklb.datapath.pins import Pins
from socklb.errors import SocklbError

ROOT = Path(__file__).parents[2]
NOBODY = 65534


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A BPF file system as `mount -t bpf` makes it: everybody may write there."""
    directory = tmp_path / "open"
    directory.mkdir()
    subprocess.run(["mount", "-t", "bpf", "bpf", directory], check=True)
    yield directory
    subprocess.run(["umount", directory], check=True)


def test_a_file_system_where_others_may_write_is_refused_in_one_line(
    sandbox: Sandbox, tmp_path: Path, place: Path
) -> None:
    agent = AgentUnderTest(tmp_path, sandbox.cgroup, place)
    done = agent.run("agent")
    assert done.returncode == 1
    assert f"others than root may write to the BPF file system {place}" in done.stderr
    assert "uid 0, mode 1777" in done.stderr
    assert done.stderr.strip().splitlines()[-1].endswith(f"next: chown 0:0 {place} && chmod 0700 {place}")
    assert "Traceback" not in done.stderr
    assert not Pins(place).root.exists()
    place.chmod(0o700)
    agent.start()
    agent.stop()
    Pins(place).remove()


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o1700])
def test_a_file_system_that_is_roots_alone_to_write_serves(place: Path, mode: int) -> None:
    place.chmod(mode)
    Pins(place).make()
    Pins(place).remove()


@pytest.mark.parametrize(("uid", "mode"), [(NOBODY, 0o700), (0, 0o770), (0, 0o777), (0, 0o702)])
def test_another_owner_and_a_group_are_refused(place: Path, uid: int, mode: int) -> None:
    os.chown(place, uid, 0)
    place.chmod(mode)
    with pytest.raises(SocklbError, match=f"others than root may write .*uid {uid}, mode {mode:04o}"):
        Pins(place).make()


def test_directories_that_somebody_else_made_are_refused(place: Path) -> None:
    """He would take the hooks away whenever he likes."""
    root = place / "socklb"
    root.mkdir()
    os.chown(root, NOBODY, NOBODY)
    place.chmod(0o700)
    with pytest.raises(SocklbError, match=f"somebody else than root made {root} .*uid {NOBODY}"):
        Pins(place).make()
    root.rmdir()


def test_every_directory_is_roots_alone(bpffs: Path) -> None:
    pins = Pins(bpffs)
    pins.root.mkdir(0o755)  # as older versions made it
    pins.make()
    for directory in (pins.root, pins.maps.parent, pins.maps, pins.links):
        assert directory.stat().st_mode & 0o777 == 0o700
    pins.remove()


def test_nobody_else_can_hold_the_lock(bpffs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    file = run / lock.NAME
    pins = Pins(bpffs, run)
    pins.make()
    pins.lock()
    assert file.stat().st_mode & 0o777 == 0o600
    assert run.stat().st_mode & 0o777 == 0o700
    pins.unlock()
    for path in (file, pins.root):
        opening = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "test", "-r", str(path)]
        assert subprocess.run(opening, check=False).returncode != 0
    pins.remove()


@pytest.mark.parametrize("which", ["the lock in /run", "the lock of older versions"])
def test_one_agent_at_a_time_whichever_lock_it_holds(bpffs: Path, tmp_path: Path, which: str) -> None:
    pins = Pins(bpffs, tmp_path)
    pins.make()
    path = pins.root if "older" in which else tmp_path / lock.NAME
    flags = os.O_RDONLY | os.O_DIRECTORY if "older" in which else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, flags, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(SocklbError, match="another agent serves this node"):
        pins.lock()
    os.close(descriptor)
    pins.lock()
    pins.unlock()
    pins.remove()


def test_a_cgroup_that_is_mounted_read_only_gets_its_hooks(sandbox: Sandbox, bpffs: Path, tmp_path: Path) -> None:
    """As in the DaemonSet."""
    mounted = tmp_path / "cgroup"
    mounted.mkdir()
    subprocess.run(["mount", "--bind", sandbox.cgroup, mounted], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", mounted], check=True)
        with pytest.raises(OSError, match="Read-only file system"):
            (mounted / "below").mkdir()
        with NodeDatapath(bpffs, mounted) as node:
            node.attach()
            assert node.keeper.damage() == {}
            assert all(hook.effective for hook in hooks.inspect(mounted, node.pins.links))
        node.pins.remove()
    finally:
        subprocess.run(["umount", mounted], check=True)


def test_the_daemonset_opens_the_cgroup_read_only() -> None:
    (text,) = yaml.safe_load_all((ROOT / "deploys" / "kubernetes" / "daemonset.yaml").read_text())
    (container,) = text["spec"]["template"]["spec"]["containers"]
    (cgroup,) = [mount for mount in container["volumeMounts"] if mount["name"] == "cgroup"]
    assert cgroup["readOnly"] is True
    assert "memory" in container["resources"]["limits"]
