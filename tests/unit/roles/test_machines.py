"""The deploys for machines over SSH as pyinfra plans and orders them, on hosts of its own connector for plans: @fake.

Each command succeeds there and says nothing, except what preflight asks. What the commands do: tests/e2e_ssh.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from inventory.place import Text
from roles.container_runtime.offline import TOOLS
from roles.kubectl import UPGRADING
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
    answers = {{"VERSION_CODENAME": "bookworm", "/proc/1/comm": "systemd", "kubeadm version": "v1.34.4"}} | {answers}
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
    """A folder for machines without internet, of files that are empty but for the images' names."""
    files = [f"programs/{name}" for name in ("kubelet", "kubeadm", "kubectl")]
    files += ["images/node.tar", "packages/bookworm/Packages"]
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    archive(tmp_path / "images/control-plane.tar", "registry.k8s.io/etcd:3.6.5-0", "mirror/kube-apiserver:v1.34.4")
    files += ["images/control-plane.tar"]
    digests = {file: hashlib.sha256((tmp_path / file).read_bytes()).hexdigest() for file in files}
    (tmp_path / "SHA256SUMS").write_text("".join(f"{digest}  {file}\n" for file, digest in digests.items()))
    return tmp_path


def archive(file: Path, *names: str) -> None:
    """Images without layers, as an archive of docker's has them."""
    text = json.dumps([{"RepoTags": [name]} for name in names]).encode()
    with tarfile.open(file, "w") as tar:
        entry = tarfile.TarInfo("manifest.json")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))


PLANES = ", ".join(f'machine("cp{number}", "192.0.2.2{number}", "2001:db8::2{number}")' for number in (2, 3))


def deployed(
    source: Path, deploy: str, changed: dict[str, str] | None = None, **more: Any
) -> tuple[list[dict[str, Any]], str]:
    done = run(source, deploy, changed, **more)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)["results"]["operations"], done.stderr


def run(
    source: Path,
    deploy: str,
    changed: dict[str, str] | None = None,
    *,
    planes: str = "",
    answers: dict[str, str] | None = None,
    options: Sequence[str] = (),
    takes: str = "",
) -> Text:
    """Run a deploy; `takes` is another source than the folder."""
    inventory = source / "fakes.py"
    settings = {"planes": planes, "virtual": "192.0.2.9" if planes else None, "answers": answers or {}}
    inventory.write_text(INVENTORY.format(changed=changed or {}, source=takes or str(source), **settings))
    return pyinfra("-y", "--json", *options, str(inventory), f"deploys/{deploy}.py", **QUICK)


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


def cluster_of(**kubelets: str) -> dict[str, str]:
    """What a cluster answers whose API server is v1.33.5, and whose Nodes have these kubelets."""
    ready = [{"type": "Ready", "status": "True"}]
    nodes = [
        {
            "metadata": {"name": name, "annotations": {UPGRADING: "true"} if "!" in version else {}},
            "spec": {"unschedulable": "!" in version},
            "status": {"nodeInfo": {"kubeletVersion": version.strip("!")}, "conditions": ready},
        }
        for name, version in kubelets.items()
    ]
    api = kubelets["cp"].strip("!")
    return {
        "get nodes --output json": json.dumps({"items": nodes}),
        "get --raw /version": json.dumps({"gitVersion": api}),
        "get --raw /readyz": "yes",
        "pgrep -x kubeadm": "yes",
    }


OLD = dict.fromkeys(("cp", "w1", "w2"), "v1.33.5")
NEW = dict.fromkeys(("cp", "w1", "w2"), "v1.34.4")
OF_ONE = [
    "node | Drained",
    "node | The old kubelet ends",
    "node | kubernetes packages | kubelet",
    "node | The new kubelet",
    "node | The API has heard of it",
    "node | The node is Ready",
    "node | Pods may come back",
    "node | It serves",
    "node | It is done",
]


def test_kubernetes_is_upgraded_machine_by_machine_and_a_kubelet_never_before_the_api_servers(source: Path) -> None:
    versions = OLD | dict.fromkeys(("cp2", "cp3"), "v1.33.5")
    operations, _ = deployed(source, "upgrade", planes=PLANES, answers=cluster_of(**versions))
    names = [operation["name"] for operation in operations]
    first = ["control plane | kubernetes packages | kubeadm", "control plane | kubeadm upgrade"]
    order = ["What etcd has", "images | Images: node", "images | Images: control-plane", "Every machine has the images"]
    for plane in ("cp", "cp2", "cp3"):
        order += [*first, "control plane | Its API server answers", f"{plane} has the new API server"]
    for node in ("cp", "cp2", "cp3"):
        order += [*OF_ONE, f"{node} has the new kubelet"]
    for node in ("w1", "w2"):
        order += ["node | kubernetes packages | kubeadm", "node | kubeadm upgrade", *OF_ONE]
        order += [f"{node} has the new kubelet"]
    assert [name for name in names if name in order] == order


def test_what_is_upgraded_is_not_touched_again(source: Path) -> None:
    operations, _ = deployed(source, "upgrade", answers=cluster_of(**NEW))
    assert operations == []


def test_an_interrupted_upgrade_continues_at_the_machine_that_it_had_begun(source: Path) -> None:
    operations, _ = deployed(source, "upgrade", answers=cluster_of(**NEW | {"w1": "v1.34.4!", "w2": "v1.33.5"}))
    gates = [one["name"] for one in operations if one["name"].endswith(("new kubelet", "new API server"))]
    assert gates == [
        "node | The new kubelet",
        "w1 has the new kubelet",
        "node | The new kubelet",
        "w2 has the new kubelet",
    ]


@pytest.mark.parametrize(
    ("kubelets", "said"),
    [
        (OLD | {"w1": "v1.32.9"}, "the kubelet of w1 is v1.32.9, and the inventory says v1.34.4"),
        (OLD | {"cp": "v1.35.0"}, "the API server is v1.35.0"),
        ({"cp": "v1.33.5", "w1": "v1.33.5"}, "w2 is no Node"),
    ],
)
def test_an_upgrade_that_may_not_be_is_refused_once_before_anything_is_changed(
    source: Path, kubelets: dict[str, str], said: str
) -> None:
    done = run(source, "upgrade", answers=cluster_of(**kubelets))
    assert done.returncode
    assert done.stderr.count(f"nothing was changed: {said}") == 1, done.stderr
    assert "Next:" in done.stderr
    assert "Traceback" not in done.stderr
    assert "What etcd has" not in done.stderr


@pytest.mark.parametrize("deploy", ["cluster", "upgrade"])
def test_packages_do_not_take_the_place_of_a_folder(source: Path, deploy: str) -> None:
    """What came from the folder would be found first, and go on."""
    folders = {"/usr/local/bin/kubelet": "yes"}
    done = run(source, deploy, answers=cluster_of(**OLD) | folders, takes="distribution")
    assert 'its kubelet is of a folder, and source is "distribution"' in done.stderr
    assert "source as it was; or deploys/teardown.py" in done.stderr


def test_an_image_that_was_not_made_is_a_finding(source: Path) -> None:
    done = run(source, "cluster", takes="distribution")
    missed = "no registry has socklb/tools:1, which the workload's pods run" in done.stderr
    assert missed == (not TOOLS.is_file())  # images/tools.sh makes it
    assert "No such file" not in done.stderr


@pytest.mark.parametrize(("maker", "said"), [("k3s", "cp is of k3s"), ("", "cp has no /etc/kubernetes/admin.conf")])
def test_a_cluster_that_kubeadm_did_not_make_is_not_taken_over(source: Path, maker: str, said: str) -> None:
    done = run(source, "adopt", answers={"/etc/rancher/k3s": maker}, options=["--data", "adopt=yes"])
    assert done.returncode
    assert f"{said}, and this deploy is for kubeadm's clusters: nothing was changed. Next: Helm" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Manifests of the agent's account" not in done.stderr
    taken = run(source, "adopt", answers={"/etc/rancher/k3s": "kubeadm"}, options=["--data", "adopt=yes"])
    assert "Manifests of the agent's account" in taken.stderr  # the control


def test_an_upgrade_takes_every_machine(source: Path) -> None:
    done = run(source, "upgrade", answers=cluster_of(**OLD), options=["--limit", "@fake/w1"])
    assert done.returncode
    assert "cp, w2 not in reach, or left out by --limit" in done.stderr


def test_a_folder_of_another_version_than_the_inventory_says_is_not_taken(source: Path) -> None:
    archive(source / "images/control-plane.tar", "registry.k8s.io/kube-apiserver:v1.35.1")
    done = run(source, "upgrade", answers=cluster_of(**OLD))
    assert done.returncode
    assert f'{source} has v1.35.1, and kubernetes_version is "1.34". Next: make them agree' in done.stderr


def test_a_folder_without_an_api_server_is_named(source: Path) -> None:
    archive(source / "images/control-plane.tar", "registry.k8s.io/etcd:3.6.5-0")
    done = run(source, "upgrade", answers=cluster_of(**OLD))
    assert done.returncode
    assert "control-plane.tar has no image kube-apiserver, only registry.k8s.io/etcd:3.6.5-0. Next:" in done.stderr


def test_cluster_py_leaves_a_cluster_of_another_version_to_upgrade_py(source: Path) -> None:
    _, said = deployed(source, "cluster", {"kubelet": "v1.33.5"})
    assert "w1       its kubelet is v1.33.5, and the inventory says v1.34.4  pyinfra inventory/bare_metal.py " in said
    _, said = deployed(source, "cluster", {"kubelet": "v1.34.4"})
    assert "its kubelet" not in said


def test_an_inventory_that_cannot_be_is_one_line_and_no_traceback(source: Path) -> None:
    inventory = source / "mine.py"
    inventory.write_text('from inventory.machines import groups, machine\nnodes, *_ = groups([machine("cp")])\n')
    done = pyinfra("-y", str(inventory), "deploys/cluster.py")
    assert done.returncode
    assert f'{inventory}: cp has no address. Next: machine("cp", "192.0.2.10")' in done.stderr
    assert "Traceback" not in done.stderr
