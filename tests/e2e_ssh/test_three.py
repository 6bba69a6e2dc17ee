"""A control plane of three machines, each also a node: one is lost, and the API goes on at its virtual address.

Then all three are upgraded, one after the other.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from inventory.place import Place
from tests.e2e_ssh.conftest import KEEP
from tests.e2e_ssh.test_life import node_ready
from tests.e2e_ssh.test_upgrade import AFTER, BEFORE, WEB, api_version, kubelets, older_folder
from tests.support import sealed
from tests.support.bare_metal import BareMetal
from tests.support.cluster import changes
from tests.support.hammer import hammering
from tests.support.kubernetes import KUBECTL, Kubernetes
from tests.support.machines import Machines
from tests.support.sealed import run
from tests.support.waiting import until

PLANES = ["one", "two", "three"]
VIRTUAL = "172.31.7.5"


@pytest.fixture(scope="module")
def metal(machines: Machines, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareMetal]:
    with sealed.at_home():
        older = older_folder()
    if PLANES[0] not in machines:
        machines.start(one="12", two="12", three="13")
    metal = BareMetal(machines, tmp_path_factory.mktemp("three"), source)
    yield metal.write(PLANES, virtual_address=VIRTUAL, source=str(older), kubernetes_version="1.33")
    if not KEEP:
        machines.remove(*PLANES)


@pytest.fixture(scope="module")
def cluster(metal: BareMetal) -> Kubernetes:
    metal.deploy("cluster")
    return metal.kubernetes()


def holders(cluster: Kubernetes) -> list[str]:
    shown = {name: place.run("ip", "address", "show", "to", VIRTUAL).stdout for name, place in cluster.nodes.items()}
    return [name for name, said in shown.items() if said]


def api_answers() -> bool:
    """As whoever has a kubeconfig asks it, from outside of the cluster."""
    return run("curl", "-sSk", "--max-time", "2", f"https://{VIRTUAL}:6443/readyz").stdout == "ok"


def members(place: Place, name: str) -> list[str]:
    pki = "/etc/kubernetes/pki/etcd"
    pair = ["--cert", f"{pki}/healthcheck-client.crt", "--key", f"{pki}/healthcheck-client.key"]
    ask = ["etcdctl", "--endpoints", "https://127.0.0.1:2379", "--cacert", f"{pki}/ca.crt", *pair, "member", "list"]
    said = place.output(*KUBECTL, "--namespace", "kube-system", "exec", f"etcd-{name}", "--", *ask)
    return sorted(line.split(", ")[2] for line in said.splitlines())


def test_all_three_have_the_api_and_etcd_and_one_of_them_the_address(metal: BareMetal, cluster: Kubernetes) -> None:
    assert {name: node_ready(cluster, name) for name in PLANES} == dict.fromkeys(PLANES, "True")
    assert members(cluster.nodes["one"], "one") == sorted(PLANES)
    assert len(holders(cluster)) == 1
    assert api_answers()
    for place in cluster.nodes.values():
        assert VIRTUAL in place.output("cat", "/etc/socklb/kubeconfig")
        assert place.run("socklb", "check").returncode == 0
    assert changes(metal.deploy("cluster")) == []


def test_the_machine_with_the_address_is_lost_and_the_api_goes_on(metal: BareMetal, cluster: Kubernetes) -> None:
    (lost,) = holders(cluster)
    survivor = cluster.nodes[next(name for name in PLANES if name != lost)]
    metal.machines[lost].power_off()
    try:
        gone = f"https://{metal.machines[lost].addresses[0]}:6443/readyz"
        assert run("curl", "-sSk", "--max-time", "2", gone).returncode != 0  # the control
        until(api_answers, 30, pause=0.5)
        write = ("annotate", "--overwrite", "namespace", "default", f"lost={lost}")
        until(lambda: survivor.run(*KUBECTL, *write).returncode == 0, 60, pause=1)
        # Its pods are backends until Kubernetes has noticed.
        until(lambda: survivor.run("socklb", "check").returncode == 0, 180, pause=2)
        done = metal.run("cluster")
        assert done.returncode != 0
        assert lost in done.stderr
        assert "Traceback" not in done.stderr
    finally:
        metal.machines[lost].power_on()
    until(lambda: node_ready(cluster, lost) == "True", 180, pause=1)
    assert holders(cluster) != [lost]  # it stays where it went
    metal.deploy("cluster")
    assert changes(metal.deploy("cluster")) == []
    assert members(cluster.nodes[lost], lost) == sorted(PLANES)


def test_one_is_removed_and_joins_again(metal: BareMetal, cluster: Kubernetes) -> None:
    metal.deploy("teardown", "--limit", "three")
    assert members(cluster.nodes["one"], "one") == ["one", "two"]
    assert cluster.kubectl("get", "nodes", "--output", "name").split() == ["node/one", "node/two"]
    metal.deploy("cluster")
    assert members(cluster.nodes["one"], "one") == sorted(PLANES)


def test_all_are_upgraded_one_after_the_other_and_connects_are_served(metal: BareMetal, cluster: Kubernetes) -> None:
    assert [api_version(cluster), *kubelets(cluster)] == [BEFORE] * 4
    metal.write(PLANES, virtual_address=VIRTUAL)
    with hammering(cluster.control_plane, WEB, 80) as load:
        metal.deploy("upgrade")
    assert load.failures == {}
    assert sum(load.served.values()) > 1000
    assert [api_version(cluster), *kubelets(cluster)] == [AFTER] * 4
    assert members(cluster.nodes["one"], "one") == sorted(PLANES)
    assert len(holders(cluster)) == 1
    assert api_answers()
    for place in cluster.nodes.values():
        assert place.run("socklb", "check").returncode == 0
    assert changes(metal.deploy("upgrade")) == []
    assert changes(metal.deploy("cluster")) == []
