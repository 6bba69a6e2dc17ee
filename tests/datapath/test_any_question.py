"""Whatever is sent to the agent's socket: it answers a sentence or closes, goes on serving, and logs no traceback."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rig.agents import AgentUnderTest, endpoint_slice, service
from rig.sandbox import BACKENDS4
from tests.datapath.services import SERVICE4
from tests.unit.fuzz.drawn import FUZZ, TEXTS
from tests.unit.fuzz.messages import judge

VERBS = ("status", "summary", "synced", "objects", "services", "endpoints", "desired", "monitor", "Status", "get")
WORDS = st.sampled_from(
    (*TEXTS, "verbose", "kept", f"{SERVICE4}:80/TCP", f"{SERVICE4}:99999999/TCP", "default web", "default/web")
)
QUESTIONS = st.builds(
    lambda verb, words, end: " ".join((verb, *words)).encode() + end,
    st.sampled_from(VERBS),
    st.lists(WORDS | st.text(max_size=8), max_size=3),
    st.sampled_from((b"\n", b"\n", b"\n", b"", b"\r\n", b"\nstatus\n", b" " * 70_000)),
)
NONSENSE = st.sampled_from(
    (b'{"status": ', b"[" * 60_000 + b"\n", b"\0\n", b"\xff\xfe\n", b"desired " + b"x" * 60_000 + b"\n")
)
FEW = settings(
    FUZZ, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@FEW
@given(st.lists(st.tuples(QUESTIONS | NONSENSE | st.binary(max_size=30), st.booleans()), min_size=1, max_size=4))
def asked(agent: AgentUnderTest, questions: Iterable[tuple[bytes, bool]]) -> None:
    for question, stays in questions:
        answer = said(agent, question, stays=stays)
        if answer and not question.startswith(b"monitor"):
            found = json.loads(answer)
            if isinstance(found, dict) and "error" in found:
                judge(found["error"])


def said(agent: AgentUnderTest, question: bytes, *, stays: bool) -> bytes:
    """What the agent answers; nothing to a client that leaves at once, or whose line has no end."""
    with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(ConnectionError):
        client.settimeout(60)
        client.connect(str(agent.socket))
        client.sendall(question)
        if stays:
            if not question.startswith(b"monitor"):  # that one is told until it hangs up
                client.shutdown(socket.SHUT_WR)
                return b"".join(iter(lambda: client.recv(1 << 16), b""))
            return client.recv(1 << 16)
    return b""


def test_no_question_stops_the_agent_or_is_answered_with_less_than_a_sentence(agent: AgentUnderTest) -> None:
    agent.write("web.yaml", service("web", SERVICE4), endpoint_slice("web-4", *BACKENDS4[:2]))
    agent.start()
    asked(agent)
    assert agent.alive
    assert agent.until(lambda status: status["synced"])["problems"] == []
    assert "Traceback" not in agent.log
    assert said(agent, f"desired {SERVICE4}:80/TCP\n".encode(), stays=True).count(b"default/web")
