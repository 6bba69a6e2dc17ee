"""A datapath that is broken in eight ways, and which claims say so. Every other claim of the step holds meanwhile."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from labs.engine.model import load
from tests.labs import breaking
from tests.labs.command import cases, lab
from tests.support.cluster import Cluster

Way = Callable[[Cluster], AbstractContextManager[None]]
NEVER = "w2:32000 (172.18.0.4:32000) never appears"
FIRST, ANSWERS = "the first SYN goes to a pod of the Service", "it is the pod that answers"
HANDSHAKE, PEERS = "the whole handshake is with it", "getpeername() of a connection to "
THIRD, WIRE = (
    "at cp the SYN comes in with its pod's address already",
    "nothing but these two pods' addresses is on that wire",
)
PASSING, FLOW = "w2 sees nothing of the connection", "no node has a flow that translates it"
SOCKET = {"it is the same socket: its own address and port", "to the application its peer is the Service"}
FALSE: list[tuple[Way, str, int, set[str]]] = [
    (breaking.hook_detached, "01", 3, {FIRST, ANSWERS, NEVER}),
    (breaking.hook_detached, "01", 6, {THIRD, WIRE, PASSING, FLOW}),
    (breaking.wrong_backend, "01", 3, {FIRST, ANSWERS, HANDSHAKE}),
    (breaking.no_reverse_translation, "01", 5, {"an unconnected UDP socket has its reply from the Service"}),
    (breaking.no_reverse_translation, "04", 2, {"recvfrom() names the Service, five times"}),
    (breaking.dnat_instead, "01", 3, {FIRST, ANSWERS, NEVER}),
    (breaking.dnat_instead, "01", 6, set()),  # not before the client's node has translated
    (breaking.conntrack_on, "08", 3, {"w1 tracks none of them"}),
    (breaking.peer_name_wrong, "01", 5, {f"{PEERS}10.96.0.10:80", f"{PEERS}172.18.0.4:32000"}),
    (breaking.encapsulated, "01", 6, {THIRD, WIRE}),
    (breaking.stale_udp_backend, "04", 5, {"another pod answers", "on the wire the question goes there", *SOCKET}),
]


@pytest.fixture(scope="module")
def controls(cluster: Cluster) -> Iterator[Cluster]:
    """What the steps lean on is recorded while all is whole."""
    for number, step in ("01", "2"), ("04", "1"):
        lab("reset", number)
        assert lab("run", number, "--step", step).returncode == 0
    yield cluster
    for number in "01", "04", "08":
        lab("reset", number)


@pytest.mark.parametrize(
    ("way", "number", "step", "false"), FALSE, ids=[f"{way.__name__}-{lab}.{step}" for way, lab, step, _ in FALSE]
)
def test_these_claims_and_no_others_are_false(
    controls: Cluster, tmp_path: Path, way: Way, number: str, step: int, false: set[str]
) -> None:
    with way(controls):
        done = lab("run", number, "--step", str(step), "--junit", str(tmp_path / "junit.xml"))
    assert done.returncode == bool(false), done.stdout + done.stderr
    name = load(number)
    judged = [case for case in cases(tmp_path / "junit.xml") if case[0] == f"{name.name}.{name.steps[step - 1].key}"]
    assert {claim for _, claim, outcome in judged if outcome == "failure"} == false
    assert len(judged) > len(false), "the others hold"
