"""The deploys for machines over SSH as pyinfra plans and orders them, on hosts of its own connector for plans: @fake.

Each command succeeds there and says nothing, except what preflight asks. What the commands do: tests/e2e_ssh.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import pyinfra

QUICK = {"PYINFRA_FAKE_DELAY": "0", "PYINFRA_FAKE_DELAY_JITTER": "0"}
INVENTORY = """
from inventory.machines import groups, machine

_SAID = {{
    "os": "debian 12", "kernel": "6.1.0-30-amd64", "init": "systemd", "btf": "yes", "cgroup2": "yes", "bpffs": "yes",
    "memory_kib": "2000000", "disk_kib": "9000000", "nameserver": "192.0.2.1",
}}

def _said(name, addresses):
    own = {{"hostname": name, "machine_id": name}} | (_SAID | {changed} if name == "w1" else _SAID)
    lines = [*own.items(), *(("address", address) for address in addresses)]
    return "\\n".join(f"{{key}}\\t{{value}}" for key, value in lines)

def _fake(hosts):
    answers = {{"VERSION_CODENAME": "bookworm", "/proc/1/comm": "systemd", "kubeadm version": "v1.34.4"}}
    for name, data in hosts:
        short = name.removeprefix("@machine/")
        said = {{"say hostname": _said(short, data["addresses"])}}
        yield f"@fake/{{short}}", data | {{"fake_responses": said | answers}}

_groups = groups([machine("cp", "192.0.2.10", "2001:db8::10"), {planes}], [
    machine("w1", "192.0.2.11", "2001:db8::11"), machine("w2", "192.0.2.12", "2001:db8::12")
], source={source!r}, virtual_address={virtual!r})
control_plane, workers, nodes, kubernetes, machines = ([*_fake(hosts)] for hosts in _groups)
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder for machines without internet, of empty files."""
    files = [f"programs/{name}" for name in ("kubelet", "kubeadm", "kubectl")]
    files += ["images/node.tar", "images/control-plane.tar", "packages/bookworm/Packages"]
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    digest = hashlib.sha256(b"").hexdigest()
    (tmp_path / "SHA256SUMS").write_text("".join(f"{digest}  {file}\n" for file in files))
    return tmp_path


PLANES = ", ".join(f'machine("cp{number}", "192.0.2.2{number}", "2001:db8::2{number}")' for number in (2, 3))


def deployed(
    source: Path, deploy: str, changed: dict[str, str] | None = None, *, planes: str = ""
) -> tuple[list[dict[str, Any]], str]:
    inventory = source / "fakes.py"
    settings = {"planes": planes, "virtual": "192.0.2.9" if planes else None}
    inventory.write_text(INVENTORY.format(changed=changed or {}, source=str(source), **settings))
    done = pyinfra("-y", "--json", str(inventory), f"deploys/{deploy}.py", **QUICK)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)["results"]["operations"], done.stderr


def test_a_control_plane_is_made_before_anybody_joins_and_preflight_comes_before_all(source: Path) -> None:
    operations, said = deployed(source, "cluster")
    names = [operation["name"] for operation in operations]
    order = [
        "preflight | Nothing stands in the way",
        "machine | What the machine is like",
        "container runtime | containerd and what kubelet calls",
        "kubernetes packages | kubelet",
        "control plane | kubeadm init",
        "worker | kubeadm join",
        "node | The machines by name",
        "pods | CNI configuration",
        "agent | Service",
        "ready | DNS and the workload are ready",
    ]
    assert [name for name in names if name in order] == order
    assert "what to do" not in said


def test_the_others_of_a_control_plane_join_it_one_after_the_other_before_any_worker(source: Path) -> None:
    operations, _ = deployed(source, "cluster", planes=PLANES)
    names = [operation["name"] for operation in operations]
    runs = "control plane | virtual address | keepalived runs"
    order = [runs, "control plane | kubeadm init", "The control plane serves"]
    for name in ("cp2", "cp3"):
        order += ["control plane | kubeadm join", runs, f"{name} is of the control plane"]
    order += ["worker | kubeadm join"]
    assert [name for name in names if name in order] == order


def test_what_stands_in_the_way_is_in_one_table(source: Path) -> None:
    _, said = deployed(source, "cluster", {"swap": "/dev/sda2", "kernel": "5.4.0-1-amd64"})
    assert said.count("what to do") == 1
    assert "w1       swap is on: /dev/sda2 " in said
    assert "w1       Linux 5.4.0-1-amd64: the agent needs 5.10 " in said


def test_agents_are_brought_up_to_date_one_host_after_the_other(source: Path) -> None:
    operations, _ = deployed(source, "agent")
    names = [operation["name"] for operation in operations]
    assert [name for name in names if name in ("cp serves", "w1 serves", "w2 serves")] == [
        "cp serves",
        "w1 serves",
        "w2 serves",
    ]
    one = names.index("cp serves") + 1
    assert names[one - 2] == "It serves"
    assert "agent | Service" in names[:one]
    assert "agent | Service" in names[one : 2 * one]


def test_an_inventory_that_cannot_be_is_one_line_and_no_traceback(source: Path) -> None:
    inventory = source / "mine.py"
    inventory.write_text('from inventory.machines import groups, machine\nnodes, *_ = groups([machine("cp")])\n')
    done = pyinfra("-y", str(inventory), "deploys/cluster.py")
    assert done.returncode
    assert f'{inventory}: cp has no address. Next: machine("cp", "192.0.2.10")' in done.stderr
    assert "Traceback" not in done.stderr
