"""deploys/baseline.py on kind as pyinfra plans it, on hosts of its own connector for plans. On a cluster: tests/e2e.

It stands here because flanneld, which is copied to nodes, is built first where it is not there.
"""

import json
from pathlib import Path

from tests.support.cluster import pyinfra

INVENTORY = """
import json as _json
from inventory.group_data import kind as _data

_names = ["cp", "w1", "w2"]
_nodes = [
    {
        "metadata": {"name": name},
        "spec": {"podCIDRs": [f"10.244.{at}.0/24", f"fd00:10:244:{at}::/64"]},
        "status": {"addresses": [{"type": "InternalIP", "address": f"172.18.0.{at + 2}"}]},
    }
    for at, name in enumerate(_names)
]
_token = {"data": {"token": "YQ==", "ca.crt": "YQ=="}}
_answers = {
    "kubeadm version": "v1.34.4",
    "/proc/1/comm": "systemd",
    "get nodes --output json": _json.dumps({"items": _nodes}),
    "get --namespace kube-system secret/socklb-token": _json.dumps(_token),
}


def _fake(*names, **more):
    values = {key: value for key, value in vars(_data).items() if not key.startswith("_")}
    return [(f"@fake/{name}", values | more | {"fake_responses": _answers}) for name in names]


control_plane, workers = _fake("cp"), _fake("w1", "w2")
nodes = kubernetes = control_plane + workers
outside = _fake("outside", container="socklb-outside")
"""


def planned(tmp_path: Path, deploy: str) -> list[str]:
    inventory = tmp_path / "fakes.py"
    inventory.write_text(INVENTORY)
    quick = {"PYINFRA_FAKE_DELAY": "0", "PYINFRA_FAKE_DELAY_JITTER": "0"}
    done = pyinfra("-y", "--json", str(inventory), f"deploys/{deploy}.py", **quick)
    assert done.returncode == 0, done.stderr[-4000:]
    return [operation["name"] for operation in json.loads(done.stdout)["results"]["operations"]]


def test_flannel_and_kube_proxy_come_when_the_api_knows_all_and_the_agent_last(tmp_path: Path) -> None:
    names = planned(tmp_path, "baseline")
    order = [
        "kubernetes | Every Node has its pod CIDRs",
        "pods | CNI configuration",
        "objects | Rights",
        "flannel | The program flanneld",
        "flannel | Account",
        "flannel | flanneld",
        "kube-proxy | kube-proxy",
        "agent | Service",
        "ready | DNS and the workload are ready",
    ]
    assert [name for name in names if name in order] == order
    assert "node | No route but to the nodes" in names
    assert "control plane | etcd and kube-apiserver" not in names


def test_the_ordinary_cluster_takes_it_away_before_it_sets_up_its_own_network(tmp_path: Path) -> None:
    names = planned(tmp_path, "cluster")
    assert names.index("baseline gone | No kube-proxy and no flannel of ours") < names.index("pods | CNI configuration")
