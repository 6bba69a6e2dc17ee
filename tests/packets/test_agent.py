"""One real agent with hooks and packet path on a node in namespaces: what `make kernels` asks of every kernel."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig.agents import AgentUnderTest, endpoint_slice, node, service
from rig.sandbox import mounted_bpffs, remove_cgroup
from socklb.datapath import features, mounts
from socklb.datapath.pins import Pins
from socklb.tc import links
from tests.packets.network import NODE, NODE6, POD_CIDRS, PODS, PODS6, Network, with_servers
from tests.packets.programs import SERVER, asking

SERVICE, SERVICE6, EMPTY, OWN = "10.96.0.10", "fd00:10:96::a", "10.96.0.11", "10.96.0.12"
NODE_PORT = 32000
SPREAD = {"a", "b", "far"}
FEW = 5  # asks, each with its own choice of a backend
MANIFESTS = (
    node("w1", NODE, NODE6),
    service("web", SERVICE, SERVICE6, node_port=NODE_PORT),
    endpoint_slice("web-4", *PODS.values()),
    endpoint_slice("web-6", *PODS6.values()),
    service("empty", EMPTY),
    service("own", OWN),
    endpoint_slice("own-4", NODE),
)


class Served:
    """The node, its agent, and clients in its pods and outside."""

    def __init__(self, network: Network, agent: AgentUnderTest, cgroup: Path) -> None:
        self.network, self.agent, self.cgroup = network, agent, cgroup
        agent.around = self.of_node("node")

    def of_node(self, place: str) -> list[str]:
        """Return the words before a command in this namespace whose sockets meet the node's hooks."""
        script = f'echo 0 >{self.cgroup}/cgroup.procs && exec nsenter --net=/run/netns/{self.network.of(place)} "$@"'
        return ["sh", "-c", script, "sh"]

    def asked(
        self, place: str, address: str, port: int = 80, kind: str = "tcp", *, hooked: bool = False, times: int = FEW
    ) -> set[str]:
        """Ask a few times; give who answered, or the errors."""
        argv = asking(address, port, kind, times)
        lines = self.output(place, *argv) if hooked else self.network.output(place, *argv)
        return {line.split()[0] for line in lines.splitlines()}

    def output(self, place: str, *argv: str) -> str:
        """Run a command to its end in this namespace, with hooks."""
        return subprocess.run([*self.of_node(place), *argv], check=True, capture_output=True, text=True).stdout

    def flows_begun(self) -> int:
        status = self.agent.status()
        assert status is not None
        return int(status["packet_path"]["counters"]["flows_begun"])


@pytest.fixture(scope="module")
def cgroup() -> Iterator[Path]:
    root = mounts.cgroup2_root(mounts.read_mounts())
    assert root is not None
    place = root / "socklb-test-kernels"
    place.mkdir()
    yield place
    remove_cgroup(place)


@pytest.fixture(scope="module")
def served(cgroup: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("agent")
    with mounted_bpffs(home / "bpffs") as bpffs, with_servers() as network:
        agent = AgentUnderTest(home, cgroup, bpffs)
        cidrs = ", ".join(f'"{cidr}"' for cidr in POD_CIDRS)
        config = agent.config.read_text().replace("packet_path = false", f"packet_path = true\npod_cidrs = [{cidrs}]")
        agent.config.write_text(config)
        agent.write("manifests.yaml", *MANIFESTS)
        found = Served(network, agent, cgroup)
        try:
            agent.start()
            agent.until(lambda status: status["synced"] and status["packet_path"]["whole"])
            yield found
        finally:
            agent.stop()
            Pins(bpffs).remove()
            with network.inside("node"):
                links.remove(Pins(bpffs).tc_links)


@pytest.mark.parametrize(("address", "kind"), [(SERVICE, "udp"), (SERVICE6, "tcp")])
def test_sockets_with_hooks_and_without_reach_a_service(served: Served, address: str, kind: str) -> None:
    """Those with hooks make no flow of the packet path; the others do."""
    before = served.flows_begun()
    assert SPREAD >= served.asked("a", address, kind=kind, hooked=True) > set()
    assert served.flows_begun() == before
    assert SPREAD >= served.asked("a", address, kind=kind) > set()
    assert served.flows_begun() >= before + FEW


@pytest.mark.parametrize(("address", "kind"), [(NODE, "tcp"), (NODE6, "udp")])
def test_a_node_port_is_reached_from_outside(served: Served, address: str, kind: str) -> None:
    assert SPREAD >= served.asked("client", address, NODE_PORT, kind) > set()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_node_port_is_reached_on_localhost(served: Served, address: str) -> None:
    assert SPREAD >= served.asked("node", address, NODE_PORT, hooked=True) > set()


@pytest.mark.parametrize("hooked", [True, False], ids=["hooked", "unhooked"])
@pytest.mark.parametrize(("address", "port"), [(EMPTY, 80), (SERVICE6, 81)])
def test_what_nobody_serves_is_refused(served: Served, address: str, port: int, *, hooked: bool) -> None:
    assert served.asked("a", address, port, hooked=hooked) == {"ECONNREFUSED"}


@pytest.mark.parametrize(("address", "kind"), [(NODE, "tcp"), (NODE6, "udp")])
def test_a_process_of_the_node_that_no_hook_sees_is_served_at_the_nodes_own_address(
    served: Served, address: str, kind: str
) -> None:
    """The first packet to a pod of this node waits for programs at its device."""
    before = served.flows_begun()
    assert SPREAD >= served.asked("node", address, NODE_PORT, kind) - {"TIMEOUT"} > set()
    assert served.flows_begun() > before


def test_a_hooked_server_of_the_node_answers_a_process_that_no_hook_sees(served: Served) -> None:
    argv = [*served.of_node("node"), sys.executable, "-c", SERVER, "node", NODE]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            assert b"ready" in server.stdout.readline()
            for kind in ("udp", "tcp"):
                assert served.network.output("node", *asking(OWN, 80, kind)) == f"node {NODE}"
        finally:
            server.kill()


def test_what_the_kernel_lacks_is_said(served: Served) -> None:
    status = served.agent.status()
    assert status is not None
    lacking = {name for name, there in status["agent"]["features"].items() if not there}
    assert lacking == {feature.name for feature in features.missing()}


def test_a_killed_agents_node_goes_on_and_is_taken_over(served: Served) -> None:
    served.agent.kill()
    assert SPREAD >= served.asked("a", SERVICE, hooked=True) > set()
    assert SPREAD >= served.asked("client", NODE, NODE_PORT) > set()
    served.agent.start()
    served.agent.until(lambda status: status["synced"] and status["packet_path"]["whole"])
    assert SPREAD >= served.asked("a", SERVICE) > set()


def test_cleanup_leaves_nothing(served: Served) -> None:
    served.agent.stop()
    served.output("node", *served.agent.command("cleanup"))
    assert not Pins(served.agent.bpffs).root.exists()
    assert served.network.output("node", "sysctl", "-n", "net.ipv4.conf.lo.accept_local") == "0"
    assert "clsact" not in served.network.output("node", "tc", "qdisc", "show")
    assert SPREAD.isdisjoint(served.asked("a", SERVICE, hooked=True, times=1))
    assert SPREAD.isdisjoint(served.asked("client", NODE, NODE_PORT, times=1))
