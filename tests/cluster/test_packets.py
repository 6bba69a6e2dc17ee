"""Services on the packet, for clients that no hook sees: the machine outside, and what is beside the node's cgroup."""

import json
from collections.abc import Iterator

import pytest

from inventory.place import Entry, Place
from tests.support.cluster import Cluster
from tests.support.netexec import Request, ask
from tests.support.outside import EMPTY, LOCAL, NODES, OUTSIDE, SHOWN, SHOWN_IPS, shown, way_out

KINDS = pytest.mark.parametrize("kind", ["http", "udp"])
FAMILIES = pytest.mark.parametrize("family", [pytest.param(0, id="v4"), pytest.param(1, id="v6")])
WEB = {"web-1", "web-2", "web-3"}
NESTED = ["192.168.77.2", "fd00:192:168:77::2"]


@pytest.fixture(scope="module", autouse=True)
def _shown(cluster: Cluster) -> Iterator[None]:
    with shown(cluster):
        yield


@pytest.fixture(scope="module")
def _way_out(cluster: Cluster) -> Iterator[None]:
    """A route for packets to ClusterIPs that nobody translated, as a default route is; nothing is to leave by it."""
    with way_out(cluster.node("w1")):
        yield


@pytest.fixture
def outside(cluster: Cluster) -> Place:
    return cluster.node("outside")


@FAMILIES
@KINDS
@pytest.mark.parametrize("node", NODES)
def test_outside_reaches_a_node_port_at_every_node(outside: Place, node: str, kind: str, family: int) -> None:
    """A pod of the node sees the client itself, one of another node sees the node."""
    (seen,) = ask(outside, Request(kind, NODES[node][family], SHOWN, "clientip"))
    assert seen == (OUTSIDE if node == "w2" else NODES[node])[family]


@FAMILIES
@KINDS
def test_policy_local_keeps_the_clients_address_at_a_node_with_endpoints(
    outside: Place, kind: str, family: int
) -> None:
    assert ask(outside, Request(kind, NODES["w2"][family], LOCAL, "clientip")) == [OUTSIDE[family]]


@FAMILIES
@KINDS
def test_policy_local_drops_at_a_node_without_endpoints(outside: Place, kind: str, family: int) -> None:
    local, control = (Request(kind, NODES["w1"][family], port, patience=2) for port in (LOCAL, SHOWN))
    assert ask(outside, local, control) == ["TIMEOUT", "client-2"]


@FAMILIES
@KINDS
def test_outside_is_refused_where_there_are_no_endpoints(outside: Place, kind: str, family: int) -> None:
    """Asked a few times: the kernel limits how many ICMP errors a second it sends to one address."""
    refused, served = (Request(kind, NODES["w1"][family], port) for port in (EMPTY, SHOWN))
    assert ask(outside, served) == ["client-2"]
    answers = {answer for _ in range(5) for answer in ask(outside, refused)}
    assert "ECONNREFUSED" in answers
    assert answers <= {"ECONNREFUSED", "TIMEOUT"}


@pytest.mark.parametrize("name", NODES)
def test_a_client_outside_is_played_by_check(cluster: Cluster, name: str) -> None:
    done = cluster.node(name).run("socklb", "check", "--json")
    found = [row for row in json.loads(done.stdout) if row["check"] in {"packet path", "from outside"}]
    assert {(row["check"], row["verdict"]) for row in found} == {("packet path", "passed"), ("from outside", "passed")}
    assert {row["subject"].rpartition(" at ")[2] for row in found[1:]} == {"eth0"}
    assert done.returncode == 0


@pytest.mark.parametrize("address", ["10.96.0.10", "[fd00:10:96::a]"])
def test_an_unhooked_process_of_a_pod_reaches_a_cluster_ip(cluster: Cluster, address: str) -> None:
    urls = [f"http://{address}/"] * 30
    assert set(cluster.pod("client").output("curl", "-gs", "--max-time", "20", *urls, hooked=False).split()) == WEB


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"], ids=["UDP", "TCP"])
@pytest.mark.parametrize("server", ["10.96.0.53", "fd00:10:96::35"])
def test_an_unhooked_dig_gets_its_answer_from_the_service_address(
    cluster: Cluster, server: str, transport: str
) -> None:
    asked = ["dig", "+tries=1", "+time=5", transport, f"@{server}", "txt", "whoami.example.test"]
    assert '"dns-' in cluster.pod("client").output(*asked, hooked=False)


@FAMILIES
@KINDS
@pytest.mark.usefixtures("_way_out")
def test_an_unhooked_process_is_refused_at_a_cluster_ips_unknown_port(cluster: Cluster, kind: str, family: int) -> None:
    address = SHOWN_IPS[family]
    unknown, control = Request(kind, address, 81), Request(kind, address, 80)
    assert ask(cluster.pod("client"), unknown, control, hooked=False) == ["ECONNREFUSED", "client-2"]


@pytest.fixture(scope="module")
def nested(cluster: Cluster) -> Iterator[Place]:
    """A machine behind pod `client`, whose packets the pod forwards, as those of a virtual machine in a pod."""
    node, pod = cluster.node("w1"), "ip netns exec client"
    steps = [
        "ip netns add nested",
        f"{pod} ip link add name inner type veth peer name eth0 netns nested",
        f"{pod} sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1",
        f"{pod} ip link set inner up",
        "ip -n nested link set eth0 up",
    ]
    for mine, theirs, via, bits in zip(
        ["192.168.77.1", "fd00:192:168:77::1"], NESTED, cluster.addresses("client"), [24, 64], strict=True
    ):
        steps += [
            f"{pod} ip address add {mine}/{bits} dev inner {'nodad' if ':' in mine else ''}",
            f"ip -n nested address add {theirs}/{bits} dev eth0 {'nodad' if ':' in mine else ''}",
            f"ip -n nested route add default via {mine}",
            f"ip route add {theirs} via {via}",
        ]
    try:
        for step in steps:
            node.output("sh", "-c", step)
        inside = Entry(node.entry.host, ("nsenter", "--net=/run/netns/nested", "--"), hooked=False)
        yield Place("nested", inside, inside)
    finally:
        node.run("ip", "netns", "delete", "nested")
        for address in NESTED:
            node.run("ip", "route", "delete", address)


@FAMILIES
@KINDS
def test_a_machine_behind_a_pod_reaches_a_cluster_ip(nested: Place, kind: str, family: int) -> None:
    assert ask(nested, Request(kind, SHOWN_IPS[family], 80), hooked=False) == ["client-2"]


@FAMILIES
@KINDS
def test_a_pod_goes_out_with_its_nodes_address_and_to_pods_with_its_own(
    cluster: Cluster, kind: str, family: int
) -> None:
    out = Request(kind, OUTSIDE[family], 8080, "clientip")
    to_pod = Request(kind, cluster.addresses("client-2")[family], 8080, "clientip")
    expected = [NODES["w1"][family], cluster.addresses("client")[family]]
    assert ask(cluster.pod("client"), out, to_pod) == expected


@FAMILIES
@KINDS
def test_what_a_hook_translates_works_beside_what_the_node_translates(cluster: Cluster, kind: str, family: int) -> None:
    client, request = cluster.pod("client"), Request(kind, SHOWN_IPS[family], 80)
    for hooked in (True, False, True, False):
        assert ask(client, *[request] * 5, hooked=hooked) == ["client-2"] * 5


@KINDS
def test_nothing_is_tracked_and_no_rule_is_ours(cluster: Cluster, outside: Place, kind: str) -> None:
    """The control: the node tracks as soon as a rule asks for it, and the packets that it sees are the pod's."""
    node, request = cluster.node("w1"), Request(kind, NODES["w1"][0], SHOWN)
    assert node.output("nft", "list", "tables") == ""
    node.output("conntrack", "-F")
    assert ask(outside, request) == ["client-2"]
    assert node.output("conntrack", "-L") == ""
    node.output("nft", "add table ip tracks; add chain ip tracks seen { type filter hook prerouting priority 0; }")
    node.output("nft", "add rule ip tracks seen ct state new accept")
    try:
        assert ask(outside, request) == ["client-2"]
        (tracked,) = [line for line in node.output("conntrack", "-L").splitlines() if f"src={OUTSIDE[0]} " in line]
        assert f"dst={cluster.addresses('client-2')[0]} " in tracked
    finally:
        node.output("nft", "delete", "table", "ip", "tracks")


def test_flows_are_listed(cluster: Cluster, outside: Place) -> None:
    own = 20123  # below the ports that the kernel chooses: no flow of another test has it
    asked = Request("http", NODES["w1"][0], SHOWN, own=own)

    def listed() -> list[tuple[str, str]]:
        said = cluster.node("w1").output("socklb", "flow", "list", "--client", OUTSIDE[0], "--json")
        flows = [flow for flow in json.loads(said) if flow["client"] == f"{OUTSIDE[0]}:{own}"]
        return [(flow["protocol"], flow["service"].rpartition("/")[2]) for flow in flows]

    assert listed() == []
    assert ask(outside, asked) == ["client-2"]
    assert listed() == [("TCP", "shown")]
