"""Each claim can be true, can be false, and is in doubt where its evidence proves nothing."""

import pytest

from labs.engine.claims import SYN, Verdict, absent, control, equal, first, handshake, never, sees, true, within
from labs.engine.packet import Endpoint
from tests.unit.labs.frames import capture, endpoint, packet

SERVICE, WEB = endpoint("172.18.0.4:32000"), endpoint("10.244.2.3:8080")
ASKED = packet("10.244.1.2:5000", "172.18.0.4:32000")
REFUSED = packet("172.18.0.4:32000", "10.244.1.2:5000", "RST,ACK")
SHAKE = (
    packet("10.244.1.2:5000", "10.244.2.3:8080"),
    packet("10.244.2.3:8080", "10.244.1.2:5000", "SYN,ACK"),
    packet("10.244.1.2:5000", "10.244.2.3:8080", "ACK"),
)
OUTSIDE = capture(ASKED, REFUSED)


def test_never_is_true_where_only_the_control_saw_the_endpoint() -> None:
    claim = never(capture(*SHAKE), SERVICE, control=OUTSIDE)
    assert claim.verdict is Verdict.TRUE
    assert claim.must == "w2:32000 (172.18.0.4:32000) never appears"
    assert claim.seen == "0 of 3 packets (control: 2 of 2)"


@pytest.mark.parametrize("intruder", [ASKED, REFUSED], ids=["as target", "as source"])
def test_never_is_false_where_one_packet_has_the_endpoint(intruder: object) -> None:
    claim = never(capture(*SHAKE, intruder), SERVICE, control=OUTSIDE)
    assert claim.verdict is Verdict.FALSE
    assert claim.seen.startswith("1 of 4 packets")


def test_never_cannot_be_claimed_without_a_control() -> None:
    with pytest.raises(TypeError, match="control"):
        never(capture(*SHAKE), SERVICE)


@pytest.mark.parametrize(
    ("look", "beside", "why"),
    [
        pytest.param(capture(*SHAKE), capture(*SHAKE), "did not see", id="the control saw other traffic only"),
        pytest.param(capture(*SHAKE), capture(), "did not see", id="the control saw nothing"),
        pytest.param(capture(), OUTSIDE, "no packet at all", id="the capture saw nothing"),
        pytest.param(capture(*SHAKE, expression="udp"), OUTSIDE, "looked elsewhere", id="another filter"),
        pytest.param(capture(*SHAKE, place="w1"), OUTSIDE, "looked elsewhere", id="another place"),
        pytest.param(capture(*SHAKE, dropped=3), OUTSIDE, "dropped 3 packets", id="the capture lost packets"),
        pytest.param(capture(*SHAKE), capture(ASKED, dropped=1), "dropped 1 packets", id="the control lost packets"),
    ],
)
def test_never_is_in_doubt(look: object, beside: object, why: str) -> None:
    claim = never(look, SERVICE, control=beside)
    assert claim.verdict is Verdict.DOUBT
    assert why in claim.seen


def test_never_minds_the_port() -> None:
    other_port = packet("10.244.1.2:1", "172.18.0.4:10250")
    assert never(capture(*SHAKE, other_port), SERVICE, control=OUTSIDE).verdict is Verdict.TRUE
    assert never(capture(*SHAKE, other_port), Endpoint("172.18.0.4"), control=OUTSIDE).verdict is Verdict.FALSE


def test_sees_is_true_with_one_packet_and_false_without() -> None:
    assert sees(OUTSIDE, SERVICE).verdict is Verdict.TRUE
    assert sees(capture(*SHAKE), SERVICE).verdict is Verdict.FALSE
    assert sees(capture(ASKED, dropped=1), SERVICE).verdict is Verdict.DOUBT


def test_a_control_that_sees_nothing_is_doubt_and_not_falsehood() -> None:
    assert control(OUTSIDE, SERVICE).verdict is Verdict.TRUE
    assert control(capture(*SHAKE), SERVICE).verdict is Verdict.DOUBT


def test_first_looks_at_the_first_packet_with_these_flags() -> None:
    both = capture(*SHAKE, ASKED)
    assert first(SYN, both, to=[WEB], must="backend").verdict is Verdict.TRUE
    assert first(SYN, both, to=[SERVICE], must="backend").verdict is Verdict.FALSE
    assert first(SYN, both, to=[], must="backend").verdict is Verdict.FALSE
    assert first(SYN, capture(SHAKE[1]), to=[WEB], must="backend").verdict is Verdict.FALSE
    assert first(SYN, capture(dropped=1), to=[WEB], must="backend").verdict is Verdict.DOUBT


@pytest.mark.parametrize(
    ("packets", "verdict"),
    [
        pytest.param(SHAKE, Verdict.TRUE, id="whole"),
        pytest.param((packet("10.244.1.9:1", "10.244.2.3:8080"), *SHAKE[1:]), Verdict.FALSE, id="another client's SYN"),
        pytest.param(SHAKE[:2], Verdict.FALSE, id="no ACK"),
        pytest.param((SHAKE[0], REFUSED, SHAKE[2]), Verdict.FALSE, id="the answer comes from elsewhere"),
        pytest.param((ASKED, REFUSED), Verdict.FALSE, id="refused"),
        pytest.param((), Verdict.FALSE, id="no SYN"),
    ],
)
def test_a_handshake_is_syn_synack_ack_between_the_same_ends(packets: tuple[object, ...], verdict: Verdict) -> None:
    assert handshake(capture(*packets), "handshake").verdict is verdict


def test_absent_needs_a_control_that_found_some() -> None:
    assert absent("no rule", [], control=["dnat to x"]).verdict is Verdict.TRUE
    assert absent("no rule", ["dnat to y"], control=["dnat to x"]).verdict is Verdict.FALSE
    assert absent("no rule", [], control=[]).verdict is Verdict.DOUBT
    assert absent("no rule", ["dnat to y"], control=[]).verdict is Verdict.DOUBT


def test_within_wants_something_and_nothing_else() -> None:
    assert within("pods", ["web-1", "web-1"], {"web-1", "web-2"}).verdict is Verdict.TRUE
    assert within("pods", [], {"web-1"}).verdict is Verdict.FALSE
    assert within("pods", [""], {"web-1"}).verdict is Verdict.FALSE
    stray = within("pods", ["web-1", "10.9.9.9"], {"web-1"})
    assert stray.verdict is Verdict.FALSE
    assert stray.seen == "10.9.9.9, web-1; not allowed: 10.9.9.9"


def test_equal_and_true_say_what_was_observed() -> None:
    assert equal("answered", 41, 41).verdict is Verdict.TRUE
    assert equal("answered", 40, 41).seen == "40, where 41 was expected"
    assert true("refused", False, "exit 0").verdict is Verdict.FALSE
