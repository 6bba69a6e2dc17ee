"""What an application sees of a Service, with real sockets."""

from __future__ import annotations

import errno
import socket

import pytest

from rig.sandbox import BACKENDS4, BACKENDS6, NODE4, NODE6, PORT, Sandbox, ask_tcp, ask_udp, udp_client
from socklb.datapath.node_datapath import OBJECT_FILES
from socklb.datapath.writer import MapWriter
from socklb.model import ANY4, ANY6, Addresses, Difference, Frontend, pack_address
from tests.datapath.services import SERVICE4, SERVICE6, frontend, serving, web

pytestmark = pytest.mark.parametrize("object_file", OBJECT_FILES, ids=["6.1", "5.12", "5.10"])

MAPPED = f"::ffff:{SERVICE4}"
WAYS = [
    pytest.param(SERVICE4, BACKENDS4[:2], id="IPv4"),
    pytest.param(SERVICE6, BACKENDS6[:2], id="IPv6"),
    pytest.param(MAPPED, BACKENDS4[:2], id="IPv4-mapped IPv6"),
]


@pytest.mark.parametrize(("service", "served_by"), WAYS)
class TestAServiceAddress:
    def test_reaches_every_backend_by_tcp_and_getpeername_shows_the_service(
        self, sandbox: Sandbox, tables: MapWriter, service: str, served_by: tuple[str, ...]
    ) -> None:
        tables.apply(web())
        answers = sandbox.run(lambda: [ask_tcp(service, 80) for _ in range(40)])
        assert {answer for answer, _ in answers} == set(served_by)
        assert {peer for _, peer in answers} == {f"{service} 80"}

    def test_answers_unconnected_udp_from_the_service_address(
        self, sandbox: Sandbox, tables: MapWriter, service: str, served_by: tuple[str, ...]
    ) -> None:
        tables.apply(web())

        def ask() -> tuple[str, str]:
            with udp_client(service) as client:
                return ask_udp(client, service, 80)

        answers = sandbox.run(lambda: [ask() for _ in range(40)])
        assert {answer for answer, _ in answers} == set(served_by)
        assert {source for _, source in answers} == {f"{service} 80"}

    def test_answers_connected_udp_with_the_service_as_peer(
        self, sandbox: Sandbox, tables: MapWriter, service: str, served_by: tuple[str, ...]
    ) -> None:
        tables.apply(web())

        def ask() -> tuple[str, str, str]:
            with udp_client(service) as client:
                client.connect((service, 80))
                peer = client.getpeername()
                client.send(b"?")
                data, source = client.recvfrom(100)
                return data.decode(), f"{peer[0]} {peer[1]}", f"{source[0]} {source[1]}"

        answer, peer, source = sandbox.run(ask)
        assert answer in served_by
        assert (peer, source) == (f"{service} 80", f"{service} 80")

    def test_is_not_translated_outside_the_cgroup(
        self, sandbox: Sandbox, tables: MapWriter, service: str, served_by: tuple[str, ...]
    ) -> None:
        tables.apply(web())
        assert sandbox.run(lambda: ask_tcp(service, 80))[0] in served_by
        with pytest.raises(AssertionError, match="Network is unreachable"):
            sandbox.run(lambda: ask_tcp(service, 80), hooked=False)

    @pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["TCP", "UDP"])
    @pytest.mark.parametrize("port", [80, 81], ids=["without endpoints", "at a port that it does not have"])
    def test_refuses_the_connection(
        self,
        sandbox: Sandbox,
        tables: MapWriter,
        service: str,
        served_by: tuple[str, ...],
        kind: int,
        port: int,
        refusal: int,
    ) -> None:
        tables.apply(web((), ()))
        assert sandbox.run(lambda: connect_error(service, port, kind)) == refusal

    @pytest.mark.parametrize("port", [80, 81], ids=["without endpoints", "at a port that it does not have"])
    def test_refuses_a_datagram(
        self, sandbox: Sandbox, tables: MapWriter, service: str, served_by: tuple[str, ...], port: int, refusal: int
    ) -> None:
        tables.apply(web((), ()))

        def send() -> int | None:
            with udp_client(service) as client:
                try:
                    client.sendto(b"?", (service, port))
                except OSError as error:
                    return error.errno
            return None

        assert sandbox.run(send) == refusal


def connect_error(address: str, port: int, kind: int) -> int | None:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind) as client:
        try:
            client.connect((address, port))
        except OSError as error:
            return error.errno
    return None


@pytest.mark.parametrize(
    ("node", "any_address", "served_by"),
    [(NODE4, ANY4, BACKENDS4[:2]), (NODE6, ANY6, BACKENDS6[:2]), (f"::ffff:{NODE4}", ANY4, BACKENDS4[:2])],
    ids=["IPv4", "IPv6", "IPv4-mapped IPv6"],
)
def test_a_node_port_is_served_on_node_addresses_alone(
    sandbox: Sandbox, tables: MapWriter, node: str, any_address: bytes, served_by: tuple[str, ...]
) -> None:
    node_port = Frontend(any_address, 32000, socket.IPPROTO_TCP)
    tables.apply(
        Difference(
            put={node_port: serving(*served_by)},
            add=Addresses(nodes=frozenset({pack_address(NODE4), pack_address(NODE6)})),
        )
    )
    answer, peer = sandbox.run(lambda: ask_tcp(node, 32000))
    assert answer in served_by
    assert peer == f"{node} 32000"
    assert sandbox.run(lambda: connect_error(served_by[0], 32000, socket.SOCK_STREAM)) == errno.ECONNREFUSED
    assert sandbox.run(lambda: ask_tcp(served_by[0], PORT))[0] == served_by[0]


def test_the_protocol_is_part_of_the_key(sandbox: Sandbox, tables: MapWriter) -> None:
    tables.apply(
        Difference(
            put={
                frontend(SERVICE4, socket.IPPROTO_TCP): serving(BACKENDS4[0]),
                frontend(SERVICE4, socket.IPPROTO_UDP): serving(BACKENDS4[1]),
            }
        )
    )

    def ask() -> str:
        with udp_client(SERVICE4) as client:
            return ask_udp(client, SERVICE4, 80)[0]

    assert sandbox.run(lambda: ask_tcp(SERVICE4, 80))[0] == BACKENDS4[0]
    assert sandbox.run(ask) == BACKENDS4[1]


def test_a_udp_socket_stays_with_its_backend_while_the_set_stands(sandbox: Sandbox, tables: MapWriter) -> None:
    tables.apply(web(BACKENDS4))

    def ask() -> set[str]:
        with udp_client(SERVICE4) as client:
            return {ask_udp(client, SERVICE4, 80)[0] for _ in range(30)}

    assert len(sandbox.run(ask)) == 1


def test_one_udp_socket_talks_to_several_services_at_once(sandbox: Sandbox, tables: MapWriter) -> None:
    services = {f"10.96.1.{n}": address for n, address in enumerate(BACKENDS4)}
    udp = socket.IPPROTO_UDP
    tables.apply(Difference(put={frontend(vip, udp): serving(address) for vip, address in services.items()}))

    def ask_all() -> set[tuple[str, str]]:
        with udp_client(SERVICE4) as client:
            for vip in services:
                client.sendto(b"?", (vip, 80))
            replies = [client.recvfrom(100) for _ in services]
            return {(source[0], data.decode()) for data, source in replies}

    assert sandbox.run(ask_all) == set(services.items())


def test_of_two_services_on_one_backend_the_reply_comes_from_the_one_asked_last(
    sandbox: Sandbox, tables: MapWriter
) -> None:
    first, second = "10.96.1.1", "10.96.1.2"
    udp = socket.IPPROTO_UDP
    tables.apply(Difference(put={frontend(vip, udp): serving(BACKENDS4[0]) for vip in (first, second)}))

    def ask_in_turn() -> list[str]:
        with udp_client(first) as client:
            return [ask_udp(client, vip, 80)[1] for vip in (first, second, first, second)]

    assert sandbox.run(ask_in_turn) == [f"{vip} 80" for vip in (first, second, first, second)]


def test_a_socket_that_turns_to_the_backend_itself_sees_the_backend(sandbox: Sandbox, tables: MapWriter) -> None:
    tables.apply(web(BACKENDS4[:1]))

    def turn() -> list[str]:
        peers = []
        with udp_client(SERVICE4) as client:
            for address, port in ((SERVICE4, 80), (BACKENDS4[0], PORT)):
                client.connect((address, port))
                peers.append(client.getpeername()[0])
        return peers

    assert sandbox.run(turn) == [SERVICE4, BACKENDS4[0]]


def test_getpeername_keeps_the_service_after_the_service_is_gone(sandbox: Sandbox, tables: MapWriter) -> None:
    tables.apply(web())

    def hold() -> str:
        with socket.create_connection((SERVICE4, 80), 5) as client:
            tables.apply(Difference(delete=frozenset(web().put), remove=web().add))
            return client.getpeername()[0]

    assert sandbox.run(hold) == SERVICE4


def test_other_protocols_and_addresses_pass_untouched(sandbox: Sandbox, tables: MapWriter) -> None:
    tables.apply(web())
    assert sandbox.run(lambda: ask_tcp(BACKENDS4[0], PORT)) == (BACKENDS4[0], f"{BACKENDS4[0]} {PORT}")
