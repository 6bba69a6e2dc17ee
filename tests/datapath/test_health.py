"""The agent as probes, load balancers and Prometheus see it: real HTTP to a real agent."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from rig.agents import AgentUnderTest, endpoint_slice, node, service
from rig.ports import free_ports
from rig.sandbox import BACKENDS4, NODE4
from socklb.datapath.pins import Pins
from socklb.health.server import MAX_CONNECTIONS
from tests.datapath.services import SERVICE4

WAIT = 20.0
ON_NODE, TWO_ON_NODE = ["w1", "w2"], ["w1", "w1"]
TAINTED = {"spec": {"taints": [{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}]}}


@pytest.fixture
def port() -> int:
    """A port that nobody has."""
    return free_ports(1)[0]


class Reply:
    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def get(address: str, path: str = "/", **headers: str) -> Reply:
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return Reply(response.status, dict(response.headers), response.read())
    finally:
        connection.close()


def until(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError(f"not within {WAIT} s")


def server_of(agent: AgentUnderTest, name: str) -> str:
    return agent.until(lambda status: name in status["listening"])["listening"][name]


def load_balancer(port: int, policy: str = "Local", name: str = "web") -> dict[str, Any]:
    """A Service of type LoadBalancer."""
    plain = service(name, SERVICE4, node_port=32000)
    more = {"type": "LoadBalancer", "externalTrafficPolicy": policy, "healthCheckNodePort": port}
    return {**plain, "spec": {**plain["spec"], **more}}


def endpoints(generation: int, nodes: list[str], **conditions: bool) -> dict[str, Any]:
    """Endpoints on nodes, all in one condition."""
    found = endpoint_slice("web-4", *BACKENDS4[: len(nodes)], generation=generation)
    for endpoint, name in zip(found["endpoints"], nodes, strict=True):
        endpoint["nodeName"] = name
        endpoint["conditions"] = conditions or {"ready": True}
    return found


def put(agent: AgentUnderTest, slice_: dict[str, Any], *others: dict[str, Any]) -> None:
    agent.write("web.yaml", node("w1", NODE4), *others, slice_)
    agent.applied("EndpointSlice/default/web-4", slice_["metadata"]["generation"])


def refused(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 5).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_health_check_node_port_counts_this_nodes_ready_endpoints_as_kube_proxy_does(
    agent: AgentUnderTest, port: int, host: str
) -> None:
    agent.start()
    put(agent, endpoints(1, TWO_ON_NODE), load_balancer(port))
    found = get(f"{host}:{port}")
    assert found.status == 200
    assert found.headers["Content-Type"] == "application/json"
    assert found.headers["X-Content-Type-Options"] == "nosniff"
    assert found.headers["X-Load-Balancing-Endpoint-Weight"] == "2"
    assert found.json == {
        "service": {"namespace": "default", "name": "web"},
        "localEndpoints": 2,
        "serviceProxyHealthy": True,
    }


@pytest.mark.parametrize(
    ("nodes", "conditions", "status", "count"),
    [
        (["w1", "w2"], {"ready": True}, 200, 1),
        (["w2", "w2"], {"ready": True}, 503, 0),
        (["w1", "w1"], {"ready": False, "serving": True, "terminating": True}, 503, 0),
        (["w1", "w1"], {"ready": False}, 503, 0),
        ([], {}, 503, 0),
    ],
    ids=["one here", "all on another node", "only terminating ones here", "none is ready", "no endpoints"],
)
def test_a_health_check_node_port_follows_the_endpoints(
    agent: AgentUnderTest, port: int, nodes: list[str], conditions: dict[str, bool], status: int, count: int
) -> None:
    agent.start()
    put(agent, endpoints(1, TWO_ON_NODE), load_balancer(port))
    assert get(f"127.0.0.1:{port}").status == 200
    put(agent, endpoints(2, nodes, **conditions), load_balancer(port))
    found = get(f"127.0.0.1:{port}")
    assert (found.status, found.json["localEndpoints"]) == (status, count)


@pytest.mark.parametrize("gone", ["the policy is Cluster", "the Service is gone", "the port is another"])
def test_a_health_check_node_port_closes_and_can_be_had_again_at_once(
    agent: AgentUnderTest, port: int, gone: str
) -> None:
    agent.start()
    put(agent, endpoints(1, ON_NODE), load_balancer(port))
    assert get(f"127.0.0.1:{port}").status == 200
    (another,) = free_ports(1)
    left = {
        "the policy is Cluster": [load_balancer(port, "Cluster")],
        "the Service is gone": [],
        "the port is another": [load_balancer(another)],
    }[gone]
    put(agent, endpoints(2, ON_NODE), *left)
    assert refused("127.0.0.1", port)
    assert refused("::1", port)
    with socket.create_server(("", port)):
        pass
    put(agent, endpoints(3, ON_NODE), load_balancer(port, name="web"))
    assert get(f"127.0.0.1:{port}").status == 200


def test_a_port_goes_over_to_another_service_in_one_change(agent: AgentUnderTest, port: int) -> None:
    agent.start()
    put(agent, endpoints(1, ON_NODE), load_balancer(port))
    other = load_balancer(port, name="another")
    other["spec"] |= {"clusterIP": "10.96.0.77", "clusterIPs": ["10.96.0.77"]}
    put(agent, endpoints(2, ON_NODE), load_balancer(port, "Cluster"), other)
    assert get(f"127.0.0.1:{port}").json["service"] == {"namespace": "default", "name": "another"}


def test_a_port_that_is_taken_is_a_problem_and_opens_when_it_is_free(agent: AgentUnderTest, port: int) -> None:
    agent.start()
    with socket.create_server(("", port)):
        put(agent, endpoints(1, ON_NODE), load_balancer(port))
        found = agent.until(lambda status: status["problems"])["problems"]
        (problem,) = [problem for problem in found if problem["field"] == "spec.healthCheckNodePort"]
        assert f"{port} cannot be listened at: Address already in use" in problem["message"]
        assert problem["object"] == "Service/default/web"
    agent.until(lambda status: not any("listened" in problem["message"] for problem in status["problems"]))
    assert get(f"127.0.0.1:{port}").status == 200


def test_two_services_with_one_port_the_first_has_it_and_the_other_is_named(agent: AgentUnderTest, port: int) -> None:
    agent.start()
    put(agent, endpoints(1, ON_NODE), load_balancer(port))
    other = load_balancer(port, name="another")
    other["spec"] |= {"clusterIP": "10.96.0.77", "clusterIPs": ["10.96.0.77"]}
    del other["spec"]["ports"][0]["nodePort"]
    put(agent, endpoints(2, ON_NODE), load_balancer(port), other)
    problems = agent.until(lambda status: status["problems"])["problems"]
    assert [(p["object"], p["message"]) for p in problems if "healthCheck" in p["field"]] == [
        ("Service/default/another", f"{port} belongs to Service default/web")
    ]
    assert get(f"127.0.0.1:{port}").json["service"]["name"] == "web"


def test_a_health_check_node_port_is_back_after_a_restart(agent: AgentUnderTest, port: int) -> None:
    agent.start()
    put(agent, endpoints(1, ON_NODE), load_balancer(port))
    agent.kill(signal.SIGKILL)
    assert refused("127.0.0.1", port)
    agent.start()
    assert get(f"127.0.0.1:{port}").status == 200
    assert agent.kill(signal.SIGTERM) == 0
    assert refused("127.0.0.1", port)


@pytest.mark.parametrize("server", ["health", "metrics"])
@pytest.mark.parametrize("path", ["/healthz", "/livez"])
def test_an_agent_in_sync_is_healthy_and_says_since_when(agent: AgentUnderTest, server: str, path: str) -> None:
    agent.start()
    found = get(server_of(agent, server), path)
    assert (found.status, found.headers["Content-Type"]) == (200, "application/json")
    assert found.json["lastUpdated"] == found.json["currentTime"]
    assert found.json.get("nodeEligible") == (True if path == "/healthz" else None)


def test_an_agent_that_could_not_read_everything_is_not_healthy_until_it_can(agent: AgentUnderTest) -> None:
    agent.write("broken.yaml", "kind: [")
    agent.start()
    address = server_of(agent, "health")
    assert [get(address, path).status for path in ("/healthz", "/livez")] == [503, 503]
    agent.write("broken.yaml", node("w1", NODE4))
    agent.until(lambda status: status["synced"])
    assert [get(address, path).status for path in ("/healthz", "/livez")] == [200, 200]


@pytest.mark.parametrize(
    "going",
    [TAINTED, {"metadata": {"name": "w1", "deletionTimestamp": "2025-01-01T00:00:00Z"}}],
    ids=["tainted by the autoscaler", "deleted"],
)
def test_a_node_that_is_about_to_go_is_not_eligible_but_its_agent_lives(
    agent: AgentUnderTest, going: dict[str, Any]
) -> None:
    agent.start()
    put(agent, endpoints(1, ON_NODE))
    address = server_of(agent, "health")
    assert get(address, "/healthz").status == 200
    agent.write("web.yaml", {**node("w1", NODE4), **going}, endpoints(2, ON_NODE))
    agent.applied("EndpointSlice/default/web-4", 2)
    found = get(address, "/healthz")
    assert (found.status, found.json["nodeEligible"]) == (503, False)
    assert get(address, "/livez").status == 200
    put(agent, endpoints(3, ON_NODE))
    assert get(address, "/healthz").status == 200


def test_another_nodes_taint_is_not_ours(agent: AgentUnderTest) -> None:
    agent.start()
    put(agent, endpoints(1, ON_NODE), {**node("w2", "172.18.0.3"), **TAINTED})
    assert get(server_of(agent, "health"), "/healthz").status == 200


def test_proxy_mode_is_told_and_an_unknown_path_says_what_there_is(agent: AgentUnderTest) -> None:
    agent.start()
    address = server_of(agent, "metrics")
    assert get(address, "/proxyMode").body == b"socklb"
    unknown = get(address, "/configz")
    assert unknown.status == 404
    assert b"/metrics" in unknown.body


def scrape(agent: AgentUnderTest) -> dict[tuple[str, ...], float]:
    """Every sample, by its name and the values of its labels."""
    text = get(server_of(agent, "metrics"), "/metrics").body.decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_say_what_status_says(agent: AgentUnderTest) -> None:
    agent.start()
    empty = service("empty", "10.96.0.11")
    put(agent, endpoints(1, ON_NODE), service("web", SERVICE4, node_port=32000), empty)
    agent.until(lambda status: status["connect"]["at"])  # the first one has rows of its own while it lasts
    told = json.loads(agent.run("status", "--json").stdout)
    found = scrape(agent)
    assert found["socklb_services",] == told["services"]["services"] == 2
    assert found["socklb_frontends",] == told["services"]["frontends"] == 6
    assert found["socklb_frontends_without_backends",] == told["services"]["without_backends"] == 2
    assert found["socklb_problems",] == len(told["problems"]) == 0
    assert found["socklb_synced",] == 1
    assert [name for name, *_ in found if name.endswith("_created")] == []  # prometheus-client's own, of no use here
    for table in told["maps"]:
        assert found["socklb_table_entries", table["name"]] == table["used"], table
        assert found["socklb_table_capacity", table["name"]] == table["capacity"], table
    for table, count in told["writes"].items():
        assert found["socklb_table_writes_total", table] == count
    for hook in told["hooks"]:
        assert found["socklb_hook_attached", hook["name"]] == hook["attached"] == 1
    assert found["socklb_sync_duration_seconds_count",] == told["applied"]["revision"]
    assert found["socklb_last_sync_timestamp_seconds",] > told["agent"]["started"]
    assert found["socklb_agent_info", told["agent"]["version"]] == 1
    assert found["process_open_fds",] > 0
    assert {value for (name, *_), value in found.items() if name == "socklb_alarm"} == {0}


def test_full_tables_raise_alarms_in_status_and_metrics_until_there_is_room(agent: AgentUnderTest) -> None:
    with agent.config.open("a") as config:
        config.write("max_frontends = 4\n")
    agent.start()
    put(agent, endpoints(1, ON_NODE), *(service(f"s{n}", f"10.96.1.{n}") for n in range(6)))
    messages = [problem["message"] for problem in agent.until(lambda _: True)["problems"]]
    assert any(text.startswith("the table frontends holds 4 of 4 entries; next: ") for text in messages)
    assert any(text.startswith("no room in the tables for 8 frontends: ") for text in messages)
    assert any(text.startswith("no room in the tables for 2 addresses: ") for text in messages)
    found = scrape(agent)
    raised = {labels[0] for (name, *labels), value in found.items() if name == "socklb_alarm" and value}
    assert raised == {"table_nearly_full", "no_room_for_frontends", "no_room_for_addresses"}
    assert found["socklb_frontends_waiting",] == 8
    put(agent, endpoints(2, ON_NODE), service("web", "10.96.1.5"))  # whose address had found no room
    assert agent.until(lambda _: True)["problems"] == []
    assert {value for (name, *_), value in scrape(agent).items() if name == "socklb_alarm"} == {0}
    assert scrape(agent)["socklb_table_entries", "service_addrs"] == 1


def test_a_hook_that_was_detached_shows_in_the_metrics(agent: AgentUnderTest) -> None:
    agent.start()
    assert scrape(agent)["socklb_hook_attached", "connect4"] == 1
    (Pins(agent.bpffs).links / "connect4").unlink()
    assert scrape(agent)["socklb_hook_attached", "connect4"] == 0
    assert scrape(agent)["socklb_hook_attached", "connect6"] == 1


def test_openmetrics_is_spoken_to_who_asks_for_it(agent: AgentUnderTest) -> None:
    agent.start()
    found = get(server_of(agent, "metrics"), "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert found.headers["Content-Type"].startswith("application/openmetrics-text")
    assert "socklb_services" in {family.name for family in openmetrics(found.body.decode())}


def test_the_time_from_a_pods_change_to_the_kernel_is_measured_where_the_slice_tells_it(agent: AgentUnderTest) -> None:
    agent.start()
    name = "socklb_network_programming_duration_seconds"
    for generation, trigger, count in (
        (1, None, 0),
        (2, "2020-01-01T00:00:00Z", 0),  # long before this agent: not its time
        (3, "no time at all", 0),
        (4, time.strftime("%Y-%m-%dT%H:%M:%S.999999999Z", time.gmtime(time.time() + 1)), 1),
    ):
        slice_ = endpoints(generation, ON_NODE)
        slice_["metadata"]["annotations"] = {"endpoints.kubernetes.io/last-change-trigger-time": trigger}
        put(agent, slice_)
        assert scrape(agent)[f"{name}_count",] == count, trigger
    assert 0 <= scrape(agent)[f"{name}_sum",] < WAIT


def test_slow_and_silent_clients_keep_nobody_out(agent: AgentUnderTest) -> None:
    agent.start()
    address = server_of(agent, "health")
    host, _, port = address.rpartition(":")
    with ExitStack() as clients:
        for n in range(3 * MAX_CONNECTIONS):
            client = clients.enter_context(socket.create_connection((host, int(port)), 5))
            client.sendall(b"GET /healthz HT" if n % 2 else b"")
        assert get(address, "/healthz").status == 200
        agent.write("web.yaml", endpoints(1, ON_NODE))
        agent.applied("EndpointSlice/default/web-4", 1)


def test_a_client_that_sends_a_byte_now_and_then_is_cut_off(agent: AgentUnderTest) -> None:
    agent.start()
    host, _, port = server_of(agent, "health").rpartition(":")
    with socket.create_connection((host, int(port)), 0.2) as client:

        def cut_off() -> bool:
            try:
                client.sendall(b"G")
                return client.recv(1) == b""
            except TimeoutError:
                return False
            except (ConnectionResetError, BrokenPipeError):
                return True

        until(cut_off)


@pytest.mark.parametrize(
    "sent", [b"\0\xff\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 500 + b"\r\n"]
)
def test_nonsense_gets_an_error_and_the_next_client_its_answer(agent: AgentUnderTest, sent: bytes) -> None:
    agent.start()
    address = server_of(agent, "health")
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), 10) as client:
        client.sendall(sent)
        assert client.recv(1000)[:1] in {b"H", b"<"}
    assert get(address, "/healthz").status == 200


def test_an_address_that_is_taken_is_a_problem_and_is_had_when_it_is_free(agent: AgentUnderTest, port: int) -> None:
    agent.configure(health_address=f"127.0.0.1:{port}")
    with socket.create_server(("127.0.0.1", port)):
        agent.start()
        (problem,) = agent.until(lambda status: status["problems"])["problems"]
        assert (problem["field"], problem["message"]) == (
            "health_address",
            f"127.0.0.1:{port} cannot be listened at: Address already in use",
        )
        put(agent, endpoints(1, ON_NODE), service("web", SERVICE4))
    agent.until(lambda status: not status["problems"])
    assert get(f"127.0.0.1:{port}", "/healthz").status == 200


def test_an_empty_address_is_no_server(agent: AgentUnderTest) -> None:
    agent.configure(health_address="", metrics_address="")
    agent.start()
    status = agent.until(lambda status: status["synced"])
    assert (status["listening"], status["problems"]) == ({}, [])


def test_an_address_that_is_none_is_refused_before_anything_is_changed(agent: AgentUnderTest) -> None:
    agent.configure(metrics_address="localhost:10249")
    done = agent.run("agent")
    assert done.returncode == 1
    assert "metrics_address cannot be listened at ('localhost:10249'); valid: an IP address and a port" in done.stderr
    assert not Pins(agent.bpffs).exist()
