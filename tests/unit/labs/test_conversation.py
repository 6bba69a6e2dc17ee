"""Exchanges put together from a capture."""

from labs.engine.claims import Verdict, answered
from labs.engine.conversation import conversations
from labs.engine.packet import Endpoint
from labs.engine.scenario import Scenario
from tests.unit.labs.clusters import local
from tests.unit.labs.frames import capture, packet

CLIENT, WEB_1, WEB_2 = "10.244.1.2:5000", "10.244.1.3:8080", "10.244.2.3:8080"
HTTP = b"HTTP/1.1 200 OK\r\nServer: nginx\r\n\r\n"


def exchange(client: str, server: str, reply: bytes, sequence: int = 1) -> tuple[object, ...]:
    return (
        packet(client, server, sequence=sequence),
        packet(server, client, "SYN,ACK"),
        packet(client, server, "ACK", payload=b"GET / HTTP/1.1\r\n\r\n"),
        packet(server, client, "PSH,ACK", payload=reply),
    )


def test_an_exchange_knows_who_asked_whom_and_the_body_of_the_answer() -> None:
    (one,) = conversations(exchange(CLIENT, WEB_2, HTTP + b"web-2\n"))
    assert (one.client, one.server) == (Endpoint("10.244.1.2", 5000), Endpoint("10.244.2.3", 8080))
    assert (one.protocol, one.reply) == ("tcp", "web-2")


def test_a_port_that_is_used_again_is_another_conversation_and_a_repeated_syn_is_not() -> None:
    first = exchange(CLIENT, WEB_2, HTTP + b"web-2\n")
    again = exchange(CLIENT, WEB_2, HTTP + b"web-2\n", sequence=9)
    assert len(conversations((first[0], *first, *again))) == 2


def test_other_protocols_are_no_conversation() -> None:
    assert conversations([packet(CLIENT, WEB_2, "echo request", protocol="icmp")]) == []


def test_answered_demands_that_who_is_asked_on_the_wire_is_who_answers() -> None:
    on, must = Scenario(local()), "who is asked answers"
    right, other = exchange(CLIENT, WEB_2, HTTP + b"web-2\n"), exchange(CLIENT, WEB_1, HTTP + b"web-2\n")
    assert answered(capture(*right), on, must).verdict is Verdict.TRUE
    assert answered(capture(*right, *other), on, must).seen == "a connection with web-1 is answered by web-2"
    assert answered(capture(*right[:2]), on, must).seen == "a connection with web-2 is answered by nobody"
    assert answered(capture(), on, must).verdict is Verdict.FALSE
    assert answered(capture(*right), on, must, at_least=2).verdict is Verdict.FALSE
    assert answered(capture(*right, dropped=1), on, must).verdict is Verdict.DOUBT


def test_a_probe_that_only_connects_is_silent_and_one_who_asks_or_is_not_answered_is_none() -> None:
    syn, accepted, asked, _ = exchange(CLIENT, WEB_2, HTTP)
    probe = (syn, accepted, packet(CLIENT, WEB_2, "ACK"))
    assert [one.silent for one in conversations(probe)] == [True]
    assert [one.silent for one in conversations((*probe, asked))] == [False]
    assert [one.silent for one in conversations((syn, syn))] == [False]
