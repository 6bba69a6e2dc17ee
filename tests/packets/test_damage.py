"""Whatever somebody else does to the table is noticed, named and mended; what nftables refuses holds up nobody else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

import pytest

from socklb.config import Config
from socklb.packets import path as packet_path
from socklb.packets.commands import Change
from socklb.packets.nft import Nft, RefusedError
from socklb.packets.path import PacketPath
from socklb.packets.table import Table
from socklb.serving import ANY4, Difference, Frontend
from tests.packets.conftest import ADDRESSES, Node, frontend, serving
from tests.packets.network import CLIENT, NODE, POD_CIDRS, Network

Ask = Callable[..., list[str]]
SERVICE, OTHER, THIRD, EXTERNAL, EXTERNAL6 = "10.96.0.10", "10.96.0.11", "10.96.0.12", "192.0.2.1", "2001:db8::1"
WANTED = {
    frontend(SERVICE): serving("b"),
    frontend(OTHER): serving(),
    Frontend(ANY4, 32000, 6): serving("a"),
    frontend(EXTERNAL): serving("b", sources=(f"{CLIENT}/32", "198.51.100.0/25", "198.51.100.128/26")),
    frontend(EXTERNAL6): serving("b", "far", six=True, affinity=100),
}
DAMAGES = {
    "flush ruleset": "the table is gone",
    "delete table inet socklb": "the table is gone",
    "flush table inet socklb": "has 0 of",
    "flush chain inet socklb nat_prerouting": "chain nat_prerouting has 0 of 6 rules",
    "flush chain inet socklb choose4-1": "chain choose4-1 has 0 of 2 rules",
    "add rule inet socklb filter_forward drop": "chain filter_forward has 4 of 3 rules",
    "flush map inet socklb frontends4": "frontends4 has 0 of",
    "flush set inet socklb cluster_ips4": "cluster_ips4 has 0 of 1 elements",
    "flush set inet socklb pods4": "pods4 has 0 of 1 elements",
    "delete element inet socklb refused4 { 10.96.0.11 . 6 . 80 }": "refused4 has 0 of 1 elements",
    "delete element inet socklb backends4 { 10.96.0.10 . 6 . 80 . none }": "backends4 has",
    "add element inet socklb nodes4 { 203.0.113.9 }": "nodes4 has 3 of 2 elements",
    "add table inet socklb { flags dormant; }": "the table is dormant",
    "add chain inet socklb filter_forward { policy drop; }": "the policy of chain filter_forward is drop",
    "flush map inet socklb frontends4; delete chain inet socklb choose4-1": "choose4-1 is gone",
    "flush table inet socklb; delete set inet socklb translated4": "translated4 is gone",
    "flush table inet socklb; delete chain inet socklb nat_output": "nat_output is gone",
}


def served(ask: Ask) -> list[list[str]]:
    asked = (("a", SERVICE, 80), ("a", OTHER, 80), ("client", NODE, 32000), ("client", EXTERNAL, 80))
    return [ask(*one) for one in asked]


ALL = [["b 10.244.1.2"], ["ECONNREFUSED"], ["a 10.244.1.1"], ["b 10.244.1.1"]]


@pytest.mark.parametrize("command", DAMAGES)
def test_damage_is_noticed_named_and_mended(node: Node, ask: Ask, network: Network, command: str) -> None:
    node.sync(WANTED)
    with network.inside("node"):
        assert not node.packets.repair()
        network.run("node", "nft", command)
        assert node.packets.repair()
        assert not node.packets.repair()
    assert len(node.damages) == 1
    assert DAMAGES[command] in node.damages[0]
    assert served(ask) == ALL


def test_a_rule_that_was_replaced_by_another_is_put_back(node: Node, ask: Ask, network: Network) -> None:
    node.sync(WANTED)
    listed = network.output("node", "nft", "--handle", "list", "chain", "inet", "socklb", "refuse")
    handle = listed.split("reset # handle ")[1].split()[0]
    with network.inside("node"):
        assert not node.packets.repair()
        network.run("node", "nft", f"replace rule inet socklb refuse handle {handle} drop")
        assert node.packets.repair()
    assert node.damages == ["chain refuse has other rules"]
    assert served(ask) == ALL


@pytest.mark.parametrize("command", DAMAGES)
def test_damage_that_was_done_while_no_agent_ran_is_mended_by_the_next(
    node: Node, network: Network, command: str
) -> None:
    node.sync(WANTED)
    node.close()
    before = listed(network)
    network.run("node", "nft", command)
    node.open()
    node.sync(WANTED)
    assert listed(network) == before


def listed(network: Network) -> set[str]:
    """Give the table's lines; the token of an endpoint for session affinity is another one in a new table."""
    lines = network.output("node", "nft", "--numeric-protocol", "list", "table", "inet", "socklb").splitlines()
    return {part for line in lines for part in line.strip().split(", ") if "affin" not in line}


def test_rules_of_others_are_no_damage_and_cost_no_reading_back(
    node: Node, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.sync(WANTED)
    with network.inside("node"):
        node.packets.repair()
        network.run("node", "nft", "add table inet other; add chain inet other c; add rule inet other c accept")
        monkeypatch.setattr(Table, "take_over", None)
        assert not node.packets.repair()
    network.run("node", "nft", "delete table inet other")


def test_a_change_that_meets_damage_mends_it_at_once(node: Node, ask: Ask, network: Network) -> None:
    node.sync(WANTED)
    network.run("node", "nft", "delete element inet socklb backends4 { 10.96.0.10 . 6 . 80 . none }")
    node.apply({frontend(SERVICE): serving("far")})
    assert len(node.damages) == 1
    assert ask("a", SERVICE) == ["far 10.244.1.2"]


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses that nftables refuses."""
    addresses: list[str] = []
    take = Nft.run

    def run(self: Nft, commands: str) -> bytes:
        if any(f" {address} ." in commands for address in addresses):
            raise RefusedError("nftables refused a change: poisoned")
        return take(self, commands)

    monkeypatch.setattr(Nft, "run", run)
    return addresses


def test_a_refused_frontend_holds_up_no_other(
    node: Node, ask: Ask, network: Network, poison: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    poison.append(OTHER)
    many = {frontend(f"10.96.1.{n}"): serving("b") for n in range(50)}
    node.sync(many | {frontend(SERVICE): serving("b"), frontend(OTHER): serving("b")})
    node.apply({frontend(THIRD): serving("far")})
    assert (ask("a", SERVICE), ask("a", THIRD)) == (["b 10.244.1.2"], ["far 10.244.1.2"])
    assert ask("a", "10.96.1.49") == ["b 10.244.1.2"]
    problem = f"{OTHER}:80/TCP is not served: nftables refused a change: poisoned"
    assert node.packets.problems == [problem]
    assert sum(problem in line for line in caplog.messages) == 1
    with network.inside("node"):
        node.packets.repair()
        assert node.packets.problems == [problem]
        poison.clear()
        node.packets.repair()
    assert node.packets.problems == []
    assert ask("a", OTHER) == ["b 10.244.1.2"]


def test_a_refused_change_leaves_what_was_served_before(node: Node, ask: Ask, poison: list[str]) -> None:
    node.sync({frontend(SERVICE): serving("b")})
    poison.append(SERVICE)
    node.apply({frontend(SERVICE): serving("far")})
    assert ask("a", SERVICE) == ["b 10.244.1.2"]
    poison.clear()
    node.apply({frontend(SERVICE): serving("far")})
    assert ask("a", SERVICE) == ["far 10.244.1.2"]
    assert node.packets.problems == []


def test_a_table_of_another_version_is_replaced_without_what_is_refused(
    node: Node, ask: Ask, network: Network, poison: list[str]
) -> None:
    network.run("node", "nft", "add table inet socklb; add chain inet socklb skeleton-of-another")
    poison.append(OTHER)
    node.sync({frontend(SERVICE): serving("b"), frontend(OTHER): serving("b")})
    assert ask("a", SERVICE) == ["b 10.244.1.2"]
    assert len(node.packets.problems) == 1


def test_where_everything_is_refused_nobody_is_blamed(node: Node, network: Network, poison: list[str]) -> None:
    poison.extend(f"10.96.1.{n}" for n in range(200))
    with pytest.raises(RefusedError):
        node.sync({frontend(address): serving("b") for address in poison})
    poison.clear()
    with network.inside("node"):
        node.packets.repair()
    assert node.packets.problems == []
    assert node.packets.served


class TestInTheAgent:
    """The path as the agent has it: with a thread of its own."""

    @pytest.fixture
    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(packet_path, "EVERY", 0.2)
        monkeypatch.setattr(packet_path, "RETRY", 0.05)

    @pytest.fixture
    def path(self, node: Node, network: Network) -> Iterator[PacketPath]:
        with network.inside("node"):
            yield PacketPath(Config(node="node", pod_cidrs=tuple(POD_CIDRS)))

    def test_a_flushed_table_is_told_and_mended(
        self, path: PacketPath, ask: Ask, network: Network, quick: None, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def flush() -> None:
            async with path.kept_whole():
                path.sync(WANTED, ADDRESSES)
                await until(lambda: path.facts.whole)
                assert path.problems == []
                network.run("node", "nft", "flush table inet socklb")
                await until(lambda: path.facts.damages == 1 and path.facts.whole)
                assert "has 0 of" in path.facts.damage
                await until(lambda: path.problems == [])

        asyncio.run(flush())
        assert [line for line in caplog.messages if "somebody changed the rules" in line]
        assert served(ask) == ALL

    def test_whatever_goes_wrong_is_told_and_tried_again(
        self, path: PacketPath, quick: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Two attempts fail in two ways, neither of which anybody thought of."""
        failures: list[Exception] = [ValueError("a value"), OSError(105, "No buffer space available")]
        problems: list[str] = []
        write = Table.write

        def fail_first(self: Table, changes: list[Change]) -> int:
            problems.extend(problem.message for problem in path.problems)
            if failures:
                raise failures.pop(0)
            return write(self, changes)

        async def go_on() -> None:
            async with path.kept_whole():
                path.sync(WANTED, ADDRESSES)
                await until(lambda: path.facts.whole is True and not path.problems)

        monkeypatch.setattr(Table, "write", fail_first)
        asyncio.run(go_on())
        told = ["packet path: ValueError: a value", "packet path: OSError: [Errno 105] No buffer space available"]
        assert problems == told
        assert [line for line in caplog.messages if line in told] == told

    def test_it_holds_up_nothing_and_says_when_it_is_done(
        self, path: PacketPath, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write = Table.write

        def slowly(self: Table, changes: list[Change]) -> int:
            time.sleep(0.5)
            return write(self, changes)

        async def measure() -> tuple[float, list[int], float]:
            done: list[int] = []
            async with path.kept_whole():
                began = time.monotonic()
                path.sync(WANTED, ADDRESSES)
                path.after(lambda: done.append(1))
                for n in range(100):
                    path.apply(Difference(put={frontend(f"10.96.3.{n}"): serving("b")}))
                path.after(lambda: done.append(2))
                ordered = time.monotonic() - began
                await until(lambda: done == [1, 2])
                return ordered, done, time.monotonic() - began

        monkeypatch.setattr(Table, "write", slowly)
        ordered, _, took = asyncio.run(measure())
        assert ordered < 0.2
        assert 0.5 <= took < 5, "a hundred changes that waited were one"

    def test_the_end_writes_what_was_ordered(self, path: PacketPath, ask: Ask) -> None:
        async def order() -> None:
            async with path.kept_whole():
                path.sync(WANTED, ADDRESSES)
                path.apply(Difference(put={frontend(THIRD): serving("far")}))

        asyncio.run(order())
        assert ask("a", THIRD) == ["far 10.244.1.2"]


async def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)
