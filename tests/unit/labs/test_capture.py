"""Real captures: tcpdump on the loopback interface of a network namespace that has no other."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from labs.engine.capture import read, recording, tcpdump, until_stdin_ends
from labs.engine.errors import BrokenCaptureError
from labs.engine.packet import Endpoint

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
NETNS = f"socklb-test-labs-{os.getpid()}"
INSIDE = ("nsenter", f"--net=/run/netns/{NETNS}", "--")
CONNECTS = "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname())"


@pytest.fixture(scope="module", autouse=True)
def namespace() -> Iterator[None]:
    subprocess.run(["ip", "netns", "add", NETNS], check=True)
    subprocess.run(["ip", "-n", NETNS, "link", "set", "lo", "up"], check=True)
    yield
    subprocess.run(["ip", "netns", "delete", NETNS], check=True)


def inside(*command: str) -> list[str]:
    return [*INSIDE, *command]


def pids() -> list[str]:
    return subprocess.run(["ip", "netns", "pids", NETNS], capture_output=True, text=True, check=True).stdout.split()


def test_a_connection_is_captured_from_its_first_syn_to_its_end(tmp_path: Path) -> None:
    for attempt in range(5):  # a lost SYN is a matter of time, not of every run
        file = tmp_path / f"{attempt}.pcap"
        with recording(inside(*until_stdin_ends(tcpdump("lo", "tcp"))), file) as report:
            subprocess.run(inside(sys.executable, "-c", CONNECTS), check=True)
        notes = [packet.note for packet in read(file)]
        assert notes[:3] == ["SYN", "SYN,ACK", "ACK"]
        assert {"FIN,ACK", "RST,ACK"} & {*notes}
        assert report.dropped == 0


def test_packets_have_the_addresses_that_were_used(tmp_path: Path) -> None:
    with recording(inside(*until_stdin_ends(tcpdump("lo", "udp"))), tmp_path / "udp.pcap"):
        subprocess.run(
            inside(sys.executable, "-c", "import socket; socket.socket(2, 2).sendto(b'four', ('127.0.0.2', 5353))"),
            check=True,
        )
    (packet,) = read(tmp_path / "udp.pcap")
    assert (packet.source.address, packet.target, packet.size) == ("127.0.0.1", Endpoint("127.0.0.2", 5353), 4)


def test_a_burst_is_whole_though_tcpdump_has_to_wait(tmp_path: Path) -> None:
    """As on a machine whose cores are busy with other things."""
    sends = "import socket; s = socket.socket(2, 2)\nfor _ in range(400): s.sendto(b'four', ('127.0.0.2', 5353))"
    with recording(inside(*until_stdin_ends(tcpdump("lo", "udp"))), tmp_path / "udp.pcap") as report:
        waiting = [int(pid) for pid in pids()]
        for pid in waiting:
            os.kill(pid, signal.SIGSTOP)
        subprocess.run(inside(sys.executable, "-c", sends), check=True)
        for pid in waiting:
            os.kill(pid, signal.SIGCONT)
    assert (len(read(tmp_path / "udp.pcap")), report.dropped) == (400, 0)


@pytest.mark.parametrize(
    ("interface", "expression", "why"),
    [("eth9", "tcp", "eth9"), ("lo", "tpc", "syntax error")],
    ids=["no such interface", "no such filter"],
)
def test_a_capture_that_cannot_start_says_what_tcpdump_said(
    tmp_path: Path, interface: str, expression: str, why: str
) -> None:
    with (
        pytest.raises(BrokenCaptureError, match=why),
        recording(inside(*until_stdin_ends(tcpdump(interface, expression))), tmp_path / "x.pcap"),
    ):
        pytest.fail("the block must not run without a capture")


def test_a_capture_that_ends_early_is_broken(tmp_path: Path) -> None:
    with (
        pytest.raises(BrokenCaptureError, match="without its counts"),
        recording(["sh", "-c", "echo listening on lo >&2"], tmp_path / "x.pcap"),
    ):
        pass


def test_dropped_packets_are_counted(tmp_path: Path) -> None:
    says = "echo listening on lo >&2; read -r _; echo '7 packets dropped by kernel' >&2"
    with recording(["sh", "-c", says], tmp_path / "x.pcap") as report:
        pass
    assert report.dropped == 7


def test_an_error_in_the_block_ends_the_capture_too(tmp_path: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        recording(inside(*until_stdin_ends(tcpdump("lo", "tcp"))), tmp_path / "x.pcap"),
    ):
        raise ZeroDivisionError
    assert pids() == []


def test_nothing_is_left_running_when_the_engine_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from labs.engine.capture import *\n"
        f"with recording({inside(*until_stdin_ends(tcpdump('lo', 'tcp')))!r}, Path({str(tmp_path / 'x.pcap')!r})):\n"
        "    print('recording', flush=True); time.sleep(60)"
    )
    engine = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert engine.stdout is not None
    assert engine.stdout.readline() == "recording\n"
    assert pids()
    engine.send_signal(signal.SIGKILL)
    engine.communicate()
    deadline = time.monotonic() + 5
    while pids() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert pids() == []
