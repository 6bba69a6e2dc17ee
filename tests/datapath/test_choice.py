"""Which backend a socket gets: UDP keeps its own, a pod with affinity too, TCP goes where there is less to do."""

from __future__ import annotations

import contextlib
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig.sandbox import BACKENDS4, BACKENDS6, Sandbox, ask_tcp, ask_udp, enter_network, running, serve, sh, udp_client
from socklb.datapath import layout
from socklb.datapath.features import COMPARE_AND_SWAP
from socklb.datapath.maps import RowTable
from socklb.datapath.node_datapath import NodeDatapath
from socklb.datapath.writer import MapWriter
from socklb.model import Difference
from tests.datapath.services import SERVICE4, SERVICE6, frontend, serving

UDP = socket.IPPROTO_UDP
FLOWS = 200


def put(
    tables: MapWriter, *backends: str, service: str = SERVICE4, affinity: int = 0, least_loaded: bool = False
) -> None:
    served = serving(*backends, affinity=affinity, least_loaded=least_loaded)
    tables.apply(Difference(put={frontend(service, protocol): served for protocol in (socket.IPPROTO_TCP, UDP)}))


class TestUDPFlows:
    """One socket is one flow."""

    @pytest.mark.parametrize(("service", "servers"), [(SERVICE4, BACKENDS4), (SERVICE6, BACKENDS6)], ids=["v4", "v6"])
    @pytest.mark.parametrize("connected", [False, True], ids=["unconnected", "connected again"])
    def test_move_only_when_their_own_endpoint_goes(
        self, sandbox: Sandbox, tables: MapWriter, service: str, servers: tuple[str, ...], connected: bool
    ) -> None:
        put(tables, *servers[:6], service=service)

        def ask_again_and_again() -> list[list[str]]:
            clients = [udp_client(service) for _ in range(FLOWS)]
            answers = [[ask(client, service, connected) for client in clients]]
            for now in (servers[:5], servers[:4], servers[1:4], servers[1:8], (servers[7],)):
                put(tables, *now, service=service)
                answers.append([ask(client, service, connected) for client in clients])
            return answers

        first, *others, last = sandbox.run(ask_again_and_again)
        assert len(set(first)) == 6
        before, present = first, (servers[:5], servers[:4], servers[1:4], servers[1:8])
        for after, now in zip(others, present, strict=True):
            moved = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
            assert all(old not in now and new in now for old, new in moved)
            assert len(moved) == sum(old not in now for old in before)
            before = after
        assert set(last) == {servers[7]}

    def test_of_one_socket_to_two_services_keep_an_endpoint_each(self, sandbox: Sandbox, tables: MapWriter) -> None:
        other = "10.96.0.11"

        def ask_both() -> set[tuple[str, str]]:
            found = set()
            with udp_client(SERVICE4) as client:
                for now in (BACKENDS4[4:], BACKENDS4[:6], BACKENDS4[2:], BACKENDS4):
                    put(tables, *(BACKENDS4[5:6] if not found else now))
                    put(tables, *(BACKENDS4[4:5] if not found else now), service=other)
                    found.add((ask_udp(client, SERVICE4, 80)[0], ask_udp(client, other, 80)[0]))
            return found

        assert len(sandbox.run(ask_both)) == 1


def ask(client: socket.socket, service: str, connected: bool) -> str:
    if not connected:
        return ask_udp(client, service, 80)[0]
    client.connect((service, 80))
    client.send(b"?")
    return client.recv(100).decode()


@contextlib.contextmanager
def another_pod(place: Sandbox) -> Iterator[str]:
    """A second network namespace with servers of its own at the backends' addresses."""
    name = f"{place.name}-2"
    sh("ip", "netns", "add", name)
    sh("ip", "-n", name, "link", "set", "lo", "up")
    for address in BACKENDS4:
        sh("ip", "-n", name, "address", "add", f"{address}/32", "dev", "lo")
    try:
        with running(place, lambda: serve_in(name)):
            yield name
    finally:
        sh("ip", "netns", "delete", name)


def serve_in(network: str) -> None:
    enter_network(network)
    serve([(address, 8080) for address in BACKENDS4])


def answers(service: str = SERVICE4, times: int = 30, network: str | None = None) -> list[str]:
    if network:
        enter_network(network)
    return [ask_tcp(service, 80)[0] for _ in range(times)]


class TestSessionAffinity:
    def test_gives_a_pod_the_same_endpoint_for_tcp_and_another_pod_its_own(
        self, sandbox: Sandbox, tables: MapWriter
    ) -> None:
        put(tables, *BACKENDS4, affinity=100)
        one = set(sandbox.run(answers))
        assert len(one) == 1
        assert set(sandbox.run(answers)) == one  # another process of the same pod
        with another_pod(sandbox) as network:
            firsts: set[str] = set()
            for n in range(12):  # a new Service each time: were it shared, every first answer would be the same
                service = f"10.96.2.{n}"
                put(tables, *BACKENDS4, service=service, affinity=100)
                wait_until_served(sandbox, network, service)
                theirs = set(sandbox.run(lambda service=service: answers(service, 5, network)))
                assert len(theirs) == 1
                firsts |= {f"{sandbox.run(lambda service=service: answers(service, 5))[0]} {theirs.pop()}"}
            assert any(len(set(pair.split())) == 2 for pair in firsts)

    def test_holds_for_udp_whatever_the_socket(self, sandbox: Sandbox, tables: MapWriter) -> None:
        put(tables, *BACKENDS4, affinity=100)

        def ask_from_fresh_sockets() -> set[str]:
            found = set()
            for _ in range(30):
                with udp_client(SERVICE4) as client:
                    found.add(ask_udp(client, SERVICE4, 80)[0])
            return found

        assert len(sandbox.run(ask_from_fresh_sockets)) == 1

    def test_is_switched_on_and_off_while_clients_ask(self, sandbox: Sandbox, tables: MapWriter) -> None:
        for _ in range(2):
            put(tables, *BACKENDS4)
            assert len(set(sandbox.run(answers))) > 1
            put(tables, *BACKENDS4, affinity=100)
            assert len(set(sandbox.run(answers))) == 1

    def test_ends_when_the_client_was_silent_for_the_timeout(self, sandbox: Sandbox, tables: MapWriter) -> None:
        put(tables, *BACKENDS4, affinity=1)
        seen: set[str] = set()
        for _ in range(20):
            one = set(sandbox.run(lambda: answers(times=5)))
            assert len(one) == 1
            seen |= one
            if len(seen) > 1:
                return
            time.sleep(1.1)
        pytest.fail(f"20 times the same of 8 endpoints: {seen}")

    def test_lasts_while_the_client_asks_within_the_timeout(self, sandbox: Sandbox, tables: MapWriter) -> None:
        put(tables, *BACKENDS4, affinity=3)
        seen: set[str] = set()
        for _ in range(7):
            seen |= set(sandbox.run(lambda: answers(times=2)))
            time.sleep(1)
        assert len(seen) == 1

    def test_survives_the_change_of_other_endpoints_and_leaves_one_that_goes(
        self, sandbox: Sandbox, tables: MapWriter
    ) -> None:
        put(tables, *BACKENDS4[:6], affinity=100)
        (mine,) = set(sandbox.run(answers))
        others = [address for address in BACKENDS4 if address != mine]
        for now in ([mine, *others], [mine, others[3]], [others[0], mine, others[6]], [mine]):
            put(tables, *now, affinity=100)
            assert set(sandbox.run(answers)) == {mine}
        put(tables, *others[:3], affinity=100)
        (after,) = set(sandbox.run(answers))
        assert after in others[:3]
        put(tables, *BACKENDS4, affinity=100)
        assert set(sandbox.run(answers)) == {after}

    def test_of_a_service_says_nothing_of_the_next_one_in_its_row(self, sandbox: Sandbox, tables: MapWriter) -> None:
        put(tables, *BACKENDS4[:4], affinity=100)
        sandbox.run(answers)
        tables.apply(Difference(delete=frozenset({frontend(SERVICE4), frontend(SERVICE4, UDP)})))
        put(tables, *BACKENDS4[4:], service="10.96.0.11", affinity=100)
        assert set(sandbox.run(lambda: answers("10.96.0.11"))) <= set(BACKENDS4[4:])


def wait_until_served(place: Sandbox, network: str, service: str) -> None:
    def connect() -> None:
        enter_network(network)
        for _ in range(500):
            with contextlib.suppress(ConnectionRefusedError):
                return socket.create_connection((service, 80), 1).close()
            time.sleep(0.01)
        return None

    place.run(connect)


@pytest.mark.needs(COMPARE_AND_SWAP)
class TestLeastLoaded:
    def test_spreads_connections_that_stay_open_evenly(self, sandbox: Sandbox, tables: MapWriter) -> None:
        """Random choice of 400 over 8 has a spread of some 20; of two random ones the less loaded: of 3 or 4."""
        assert self.spread(sandbox, tables, least_loaded=True) <= 6 < self.spread(sandbox, tables, least_loaded=False)

    def spread(self, sandbox: Sandbox, tables: MapWriter, *, least_loaded: bool) -> int:
        put(tables, *BACKENDS4, least_loaded=least_loaded)

        def hold() -> list[str]:
            clients = [socket.create_connection((SERVICE4, 80), 5) for _ in range(400)]
            return [client.recv(100).decode() for client in clients]

        counts = Counter(sandbox.run(hold))
        return max(counts.values()) - min(counts[address] for address in BACKENDS4)

    def test_sends_new_connections_where_others_were_closed(self, sandbox: Sandbox, tables: MapWriter) -> None:
        put(tables, *BACKENDS4[:2], least_loaded=True)

        def close_those_of_one() -> tuple[set[str], str]:
            held = [named(socket.create_connection((SERVICE4, 80), 5)) for _ in range(40)]
            freed = held[0][1]
            for client, name in held:
                if name == freed:
                    client.close()
            new = [named(socket.create_connection((SERVICE4, 80), 5)) for _ in range(12)]
            return {name for _, name in new}, freed

        where, freed = sandbox.run(close_those_of_one)
        assert where == {freed}

    def test_counts_every_connection_out_again(self, sandbox: Sandbox, datapath: NodeDatapath) -> None:
        put(datapath.tables, *BACKENDS4[:2], least_loaded=True)

        def hold() -> int:
            clients = [socket.create_connection((SERVICE4, 80), 5) for _ in range(20)]
            for client in clients[:5]:
                client.close()
            return sum(loads(datapath.pins.maps))

        assert sandbox.run(hold) == 15
        assert sum(loads(datapath.pins.maps)) == 0

    def test_counts_a_failed_connection_no_longer_than_its_socket(
        self, sandbox: Sandbox, datapath: NodeDatapath
    ) -> None:
        nobody = serving("10.244.1.1", least_loaded=True)._replace(
            backends=(serving("10.244.1.1").backends[0]._replace(port=9),)
        )
        datapath.tables.apply(Difference(put={frontend(SERVICE4): nobody}))

        def fail() -> list[int]:
            seen = []
            with socket.socket() as client:
                for _ in range(3):
                    with contextlib.suppress(ConnectionRefusedError):
                        client.connect((SERVICE4, 80))
                    seen.append(sum(loads(datapath.pins.maps)))
            return seen

        assert sandbox.run(fail) == [1, 1, 1]
        assert sum(loads(datapath.pins.maps)) == 0

    def test_keeps_its_counts_when_endpoints_and_agents_change(
        self, sandbox: Sandbox, datapath: NodeDatapath, bpffs: Path
    ) -> None:
        put(datapath.tables, *BACKENDS4[:2], least_loaded=True)

        def hold() -> list[int]:
            clients = [socket.create_connection((SERVICE4, 80), 5) for _ in range(20)]
            again = MapWriter(datapath.pins.maps)  # as the next agent would
            put(again, *BACKENDS4[:3], least_loaded=True)
            held = sum(loads(datapath.pins.maps))
            clients += [socket.create_connection((SERVICE4, 80), 5) for _ in range(30)]
            for client in clients:
                client.recv(100)
            counted = sorted(loads(datapath.pins.maps))[-3:]
            again.close()
            return [held, *counted]

        held, *counted = sandbox.run(hold)
        assert held == 20
        assert sum(counted) == 50
        assert counted[0] >= 8  # the new one was preferred


def named(client: socket.socket) -> tuple[socket.socket, str]:
    return client, client.recv(100).decode()


def loads(maps: Path) -> list[int]:
    with contextlib.closing(RowTable(maps, "loads", layout.LOAD.size)) as table:
        return [number for (number,) in layout.LOAD.iter_unpack(table.read(0, 64))]
