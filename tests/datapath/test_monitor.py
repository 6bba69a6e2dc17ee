"""`socklb monitor`: what the hooks decide is seen as it is decided, and costs nothing before and after."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from rig.agents import WAIT, AgentUnderTest, endpoint_slice, node, service
from rig.sandbox import BACKENDS4, NODE4, PORT, Sandbox, ask_tcp, ask_udp, udp_client
from socklb.datapath import libbpf
from socklb.datapath.features import SET_ERRNO
from socklb.datapath.links import HOOKS, pinned_info
from socklb.datapath.pins import Pins
from tests.datapath.meddling import others_program
from tests.datapath.pods import Pod
from tests.datapath.services import SERVICE4

EMPTY4 = "10.96.0.11"


@pytest.fixture
def serving(agent: AgentUnderTest) -> AgentUnderTest:
    agent.write("web.yaml", node("w1", NODE4), service("web", SERVICE4), endpoint_slice("web-4", BACKENDS4[0]))
    agent.write("empty.yaml", service("empty", EMPTY4))
    agent.start()
    agent.until(lambda status: status["applied"]["count"] == 4)
    return agent


class Monitor:
    """A `socklb monitor` at work."""

    def __init__(self, agent: AgentUnderTest, *filters: str) -> None:
        command = agent.command("monitor", *filters)
        # Without a buffer: what comes right behind the heading is for `ended`.
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)

    def begun(self) -> Monitor:
        """Wait until it watches: its heading is there."""
        assert self.process.stdout is not None
        heading = self.process.stdout.readline()
        assert heading.split()[:3] == [b"TIME", b"POD", b"PROCESS"], self.ended()
        return self

    def ended(self) -> tuple[int, list[str], str]:
        """Wait for its end; give exit code, lines and what it said."""
        out, said = self.process.communicate(timeout=WAIT)
        return self.process.returncode, out.decode().splitlines(), said.decode()

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        self.process.send_signal(number)
        self.process.communicate(timeout=WAIT)


@contextmanager
def watching(agent: AgentUnderTest, *filters: str) -> Iterator[Monitor]:
    monitor = Monitor(agent, *filters)
    try:
        if "--json" not in filters:
            monitor.begun()
        yield monitor
    finally:
        if monitor.process.poll() is None:
            monitor.kill()


def tags(agent: AgentUnderTest) -> dict[str, str]:
    """Return the tag, a hash of its instructions, of the program at each hook."""
    found = {}
    for name in HOOKS:
        info = pinned_info(Pins(agent.bpffs).links / name)
        assert info is not None
        program = libbpf.library().bpf_prog_get_fd_by_id(info.prog_id)
        found[name] = bytes(libbpf.program_info(program).tag).hex()
        os.close(program)
    return found


def numbers(agent: AgentUnderTest) -> list[int]:
    return [info.prog_id for name in HOOKS if (info := pinned_info(Pins(agent.bpffs).links / name))]


def within(seconds: float, condition: Callable[[], object]) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.01)


def begun(agent: AgentUnderTest) -> None:
    """Wait until the hooks tell, for what prints no heading."""
    within(WAIT, lambda: "they run programs that tell" in agent.log)


def clients(agent: AgentUnderTest) -> int:
    """Count the connections that the agent took."""
    lines = (line.split() for line in Path("/proc/net/unix").read_text().splitlines())
    return sum(words[5] == "03" and words[-1] == str(agent.socket) for words in lines)


def at_rest(monitors: Iterable[Monitor]) -> bool:
    """Whether all of them wait, and did nothing for a while."""

    def work() -> list[tuple[str, ...]]:
        stats = (Path(f"/proc/{monitor.process.pid}/stat").read_text().rpartition(") ")[2] for monitor in monitors)
        return [(words[0], *words[11:13]) for words in map(str.split, stats)]

    before = work()
    time.sleep(0.3)
    return work() == before and {state for state, *_ in before} == {"S"}


def documents(monitor: Monitor) -> list[dict[str, Any]]:
    """End a monitor and give what it showed, without the agent's own check."""
    monitor.process.send_signal(signal.SIGINT)
    code, lines, said = monitor.ended()
    assert (code, said) == (130, "socklb: interrupted\n")
    return [row for row in map(json.loads, lines) if not row["asked"].startswith(("127.", "[::1]"))]


def ask_everything() -> None:
    ask_tcp(SERVICE4, 80)
    with udp_client(SERVICE4) as client:
        ask_udp(client, SERVICE4, 80)
        ask_udp(client, BACKENDS4[0], PORT)
    with pytest.raises(ConnectionRefusedError):
        ask_tcp(EMPTY4, 80)


BACKEND = f"{BACKENDS4[0]}:{PORT}"
SHOWN = [
    ("connect4", "TCP", f"{SERVICE4}:80", "default/web", "translated", "random", BACKEND),
    ("getpeername4", "TCP", f"{SERVICE4}:80", "default/web", "translated", "given back", BACKEND),
    ("sendmsg4", "UDP", f"{SERVICE4}:80", "default/web", "translated", "random", BACKEND),
    ("recvmsg4", "UDP", f"{SERVICE4}:80", "default/web", "translated", "given back", BACKEND),
    ("sendmsg4", "UDP", BACKEND, None, "passed", "no Service's", None),
    ("recvmsg4", "UDP", BACKEND, None, "passed", "no record", None),
    ("connect4", "TCP", f"{EMPTY4}:80", "default/empty", "refused", "no endpoint", None),
]
CONNECT_WEB, PEER_WEB, SEND_WEB, RECEIVE_WEB, SEND_PAST, RECEIVE_PAST, CONNECT_EMPTY = SHOWN


FILTERS: dict[str, list[tuple[str | None, ...]]] = {
    "": SHOWN,
    "--service web": SHOWN[:4],
    "--service default/empty": [CONNECT_EMPTY],
    "--service other/web": [],
    f"--address {SERVICE4}": SHOWN[:4],
    f"--address {BACKEND}": SHOWN[:6],
    f"--address {SERVICE4}:81": [],
    "--verdict refused": [CONNECT_EMPTY],
    "--verdict refused --verdict passed": [SEND_PAST, RECEIVE_PAST, CONNECT_EMPTY],
    "--hook connect --hook getpeername4": [CONNECT_WEB, PEER_WEB, CONNECT_EMPTY],
    "--hook connect6": [],
    "--pod another": [],
}


@pytest.mark.needs(SET_ERRNO)
def test_filters_choose(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    with ExitStack() as opened:
        monitors = {filters: opened.enter_context(watching(serving, "--json", *filters.split())) for filters in FILTERS}
        within(WAIT, lambda: clients(serving) == len(FILTERS))
        within(WAIT, lambda: at_rest(monitors.values()))
        sandbox.run(ask_everything)
        time.sleep(0.1)  # five looks of the agent's
        within(WAIT, lambda: at_rest(monitors.values()))
        found = {filters: documents(monitor) for filters, monitor in monitors.items()}
    keys = ("hook", "protocol", "asked", "service", "verdict", "reason", "backend")
    assert {filters: [tuple(row[key] for key in keys) for row in rows] for filters, rows in found.items()} == FILTERS


def test_a_pod_its_process_and_a_service_that_came_later(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    later = "10.96.0.12"

    def ask() -> int:
        Path("/proc/self/comm").write_text("resolver")
        client = udp_client(later)
        client.connect((later, 80))
        client.detach()
        return client.fileno()

    with watching(serving, "--json", "--count", "1", "--service", "later") as monitor:
        begun(serving)
        serving.write("later.yaml", service("later", later), endpoint_slice("later-4", BACKENDS4[1]))
        serving.until(lambda status: status["applied"]["count"] == 6)
        pod = Pod(sandbox.cgroup, 7, ask)
        try:
            pod.result()
            code, lines, _ = monitor.ended()
            (row,) = map(json.loads, lines)
            assert code == 0
            assert row["service"] == "default/later"
            assert (row["pod_uid"], row["container"]) == (pod.uid, pod.container)
            assert row["cgroup"] == f"/{pod.slice.name}/{pod.cgroup.name}"
            assert (row["pid"], row["command"]) == (pod.pid, "resolver")
            assert (
                abs(time.time() - time.mktime(time.strptime(row["time"][:19], "%Y-%m-%dT%H:%M:%S")) + time.timezone)
                < 60
            )
        finally:
            pod.remove()


def test_lines_for_people_with_the_cgroup_and_the_cookie_on_demand(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    for more in ([], ["-v"]):
        with watching(serving, "--count", "1", "--hook", "connect", "--service", "web", *more) as monitor:
            sandbox.run(lambda: ask_tcp(SERVICE4, 80))
            code, (line,), said = monitor.ended()
        words = line.split()
        assert (code, said) == (0, "")
        assert words[3:9] == ["connect4", "TCP", f"{SERVICE4}:80", "translated", BACKEND, "random"]
        assert words[9:] == ["default/web", *(["/", words[-1]] if more else [])]


def test_nobody_watches_nothing_tells_whatever_way_a_monitor_ends(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    plain, tag = numbers(serving), tags(serving)
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        with watching(serving) as first, watching(serving) as second:
            assert not set(numbers(serving)) & set(plain)
            assert {tags(serving)[name] == tag[name] for name in HOOKS if name != "sock_release"} == {False}
            first.kill(number)
            time.sleep(0.2)
            assert not set(numbers(serving)) & set(plain), "another one watches"
            second.kill(number)
            within(5, lambda: numbers(serving) == plain)
    assert tags(serving) == tag
    assert serving.log.count("nobody watches any more") == 3


def test_one_whose_reader_is_gone_ends_before_the_next_line(serving: AgentUnderTest) -> None:
    plain = numbers(serving)
    with watching(serving, "--verdict", "refused") as monitor:
        assert monitor.process.stdout is not None
        assert monitor.process.stderr is not None
        monitor.process.stdout.close()
        assert monitor.process.wait(WAIT) == 0
        monitor.process.stderr.close()
        within(5, lambda: numbers(serving) == plain)


def test_the_agent_takes_the_programs_that_tell_for_its_own(serving: AgentUnderTest) -> None:
    with watching(serving):
        watched = numbers(serving)
        looks = time.monotonic() + 7  # two looks at the hooks
        while time.monotonic() < looks:
            status = serving.status()
            assert status is not None
            assert status["problems"] == []
            time.sleep(0.1)
        assert numbers(serving) == watched
    assert "damaged" not in serving.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_agent_that_is_followed_by_another_while_somebody_watches(
    sandbox: Sandbox, serving: AgentUnderTest, number: signal.Signals
) -> None:
    plain = tags(serving)
    with watching(serving) as monitor:
        serving.kill(number)
        code, _, said = monitor.ended()
    assert code == 1
    assert "the agent ended, and with it the watch" in said
    assert (tags(serving) == plain) == (number == signal.SIGTERM)
    assert sandbox.run(lambda: ask_tcp(SERVICE4, 80)) == (BACKENDS4[0], f"{SERVICE4} 80")
    serving.start()
    assert tags(serving) == plain


def test_a_monitor_that_comes_later_may_begin_with_what_others_were_told(
    sandbox: Sandbox, serving: AgentUnderTest
) -> None:
    wanted = ("--hook", "connect", "--service", "web")
    with watching(serving, *wanted):
        sandbox.run(lambda: ask_tcp(SERVICE4, 80))
        between = datetime.now().astimezone().isoformat()
        sandbox.run(lambda: ask_tcp(SERVICE4, 80))
        with watching(serving, "--since", "600", "--count", "2", *wanted) as all_of_it:
            code, lines, said = all_of_it.ended()
            assert (code, len(lines)) == (0, 2)
            assert "nobody watched before" in said
        with watching(serving, "--since", between, "--count", "1", *wanted) as half:
            assert half.ended()[1:] == ([lines[1]], "")
        with watching(serving, "--count", "1", *wanted) as none_of_it:
            sandbox.run(lambda: ask_tcp(SERVICE4, 80))
            assert none_of_it.ended()[1][0] not in lines


def test_what_is_lost_is_told(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    def pass_by() -> None:
        with udp_client(BACKENDS4[0]) as client:
            for _ in range(60_000):
                client.connect((BACKENDS4[0], PORT))

    with watching(serving, "--verdict", "translated", "--count", "1", "--hook", "connect") as monitor:
        serving.send(signal.SIGSTOP)
        sandbox.run(pass_by)
        serving.send(signal.SIGCONT)
        within(WAIT, serving.status)
        while monitor.process.poll() is None:  # for as long as there is no room, what is asked is lost, too
            sandbox.run(lambda: ask_tcp(SERVICE4, 80))
            time.sleep(0.3)
        code, _, said = monitor.ended()
    assert code == 0
    assert "decisions were lost here" in said
    lost = sum(int(line.split()[0]) for line in said.splitlines())
    assert 5_000 < lost < 60_000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--since", "yesterday"], "no moment ('yesterday'); valid: seconds, or a time as 14:30"),
        (["--count", "0"], "no number of lines ('0'); valid: 1 or more"),
        (["--verdict", "dropped"], "invalid choice: 'dropped' (choose from"),
    ],
)
def test_wrong_words(agent: AgentUnderTest, arguments: list[str], said: str) -> None:
    ended = agent.run("monitor", *arguments)
    assert ended.returncode == 2
    assert said in ended.stderr


def test_without_an_agent_nobody_can_watch(agent: AgentUnderTest) -> None:
    ended = agent.run("monitor")
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"socklb: no agent runs ('{agent.socket}')")


def test_hooks_that_are_not_attached_are_no_watch(sandbox: Sandbox, agent: AgentUnderTest, tmp_path: Path) -> None:
    agent.write("web.yaml", node("w1", NODE4), service("web", SERVICE4), endpoint_slice("web-4", BACKENDS4[0]))
    with others_program(sandbox.cgroup, tmp_path, "connect6", 0):
        agent.start()
        ended = agent.run("monitor", "--count", "1")
        assert ended.returncode == 1
        assert "the hooks are not attached" in ended.stderr
    agent.until(lambda status: status["problems"] == [])
    with watching(agent, "--count", "1", "--service", "web") as monitor:
        sandbox.run(lambda: ask_tcp(SERVICE4, 80))
        assert monitor.ended()[0] == 0
