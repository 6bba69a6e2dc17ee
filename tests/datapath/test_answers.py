"""The agent's socket: no client can hold the agent, whatever it says or does not read."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from rig.agents import AgentUnderTest, endpoint_slice, node, service
from rig.sandbox import BACKENDS4, NODE4
from socklb import control_socket
from socklb.agent import answers
from tests.datapath.services import SERVICE4
from tests.unit.agent.following import story


@pytest.fixture
def serving(agent: AgentUnderTest) -> AgentUnderTest:
    agent.write("web.yaml", node("w1", NODE4), service("web", SERVICE4), endpoint_slice("web-4", *BACKENDS4[:2]))
    agent.start()
    return agent


def client(path: Path) -> socket.socket:
    found = socket.socket(socket.AF_UNIX)
    found.connect(str(path))
    return found


def test_clients_that_say_nothing_do_not_keep_the_agent_from_ending(serving: AgentUnderTest) -> None:
    with client(serving.socket), client(serving.socket) as half:
        half.sendall(b"stat")
        time.sleep(0.2)
        began = time.monotonic()
        assert serving.kill(signal.SIGTERM) == 0
        assert time.monotonic() - began < 2


def test_a_client_that_is_gone_before_its_answer_leaves_no_trace(serving: AgentUnderTest) -> None:
    serving.send(signal.SIGSTOP)
    for _ in range(5):
        with client(serving.socket) as gone:
            gone.sendall(b"status\n")
    serving.send(signal.SIGCONT)
    assert serving.status()
    assert "Traceback" not in serving.log
    assert "Error" not in serving.log


@pytest.mark.parametrize(
    "typed",
    [["service", "list"], ["socket", "list"], ["explain", f"{SERVICE4}:80"], ["bugreport"]],
    ids=" ".join,
)
def test_what_the_kernel_knows_is_shown_while_an_agent_does_not_answer(
    serving: AgentUnderTest, typed: list[str], tmp_path: Path
) -> None:
    serving.until(lambda status: status["connect"]["translated"])
    command = serving.command(*typed)
    serving.send(signal.SIGSTOP)
    try:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    finally:
        serving.send(signal.SIGCONT)
    assert done.returncode == 0, done.stderr
    if "list" in typed:
        assert "no agent answers: names" in done.stderr


@pytest.mark.parametrize("sent", [b"\n", b"\xff\xfe\n", b"x" * (1 << 20), b"nonsense\n"])
def test_nonsense_gets_an_error_or_nothing_and_the_next_client_its_answer(serving: AgentUnderTest, sent: bytes) -> None:
    with client(serving.socket) as talker:
        try:
            talker.sendall(sent)
            talker.shutdown(socket.SHUT_WR)
            answer = talker.recv(1000)
        except ConnectionError:
            answer = b""
    assert not answer or "is not one of status, " in json.loads(answer)["error"]
    assert serving.status()
    assert "Traceback" not in serving.log


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ("desired 10.96.0.1:80/QUIC", "no frontend ('10.96.0.1:80/QUIC'); valid: as in 10.96.0.10:80/TCP"),
        ("desired", "no frontend (''); valid: as in 10.96.0.10:80/TCP"),
        ("x" * 60_000, f"'{'x' * 79}… is not one of status, "),
    ],
    ids=["no protocol", "nothing", "a long word"],
)
def test_a_question_that_is_none_gets_a_sentence_and_the_log_no_traceback(
    serving: AgentUnderTest, question: str, told: str
) -> None:
    answer = control_socket.ask(serving.socket, question)
    assert answer is not None
    assert told in answer["error"]
    assert "Traceback" not in serving.log


def test_a_socket_that_somebody_took_away_is_made_again(serving: AgentUnderTest) -> None:
    serving.socket.unlink()
    status = serving.until(lambda status: status is not None)
    assert status["agent"]["pid"]
    assert serving.log.count("answers: failed") == 1


@story
async def test_who_says_nothing_or_does_not_read_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "SILENCE", 0.2)

    async def much(_: str) -> object:
        return {"text": "x" * (8 << 20)}

    path = tmp_path / "agent.sock"
    serving = asyncio.create_task(answers.Answers(path, {"much": much}, {}).serve())
    while not path.exists():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    with client(path) as silent, client(path) as deaf:
        deaf.sendall(b"much\n")
        await asyncio.sleep(1)
        silent.settimeout(1)
        assert silent.recv(1) == b""
        deaf.settimeout(1)
        assert len(deaf.recv(16 << 20)) < 8 << 20
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    assert not path.exists()


def test_waiting_asks_a_question_whose_answer_is_short(serving: AgentUnderTest) -> None:
    answer = control_socket.ask_raw(serving.socket, "synced")
    assert answer is not None
    assert len(answer) < 20


def test_the_log_says_what_its_level_allows(serving: AgentUnderTest) -> None:
    assert "INFO in sync" in serving.log
    serving.stop()
    serving.log_file.write_text("")
    serving.configure(log_level="warning")
    serving.start()
    assert "INFO" not in serving.log
