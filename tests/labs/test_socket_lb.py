"""Lab 01 on the real cluster: all its claims hold, and what it shows can be typed and read again."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from labs.engine.capture import read
from labs.engine.model import load
from tests.labs.command import STATE, cases, lab
from tests.support.cluster import Cluster


@dataclass(frozen=True)
class Run:
    exit: int
    out: str
    err: str
    junit: Path


@pytest.fixture(scope="module")
def run(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Run:
    junit = tmp_path_factory.mktemp("lab") / "junit.xml"
    done = lab("run", "01", "--ci", "--junit", str(junit))
    return Run(done.returncode, done.stdout, done.stderr, junit)


def test_every_claim_of_the_lab_holds(run: Run) -> None:
    assert run.exit == 0, run.out + run.err
    found = cases(run.junit)
    assert [case for case in found if case[2] != "true"] == []
    steps = {step for step, _, _ in found}
    assert len(steps) == len(load("01").steps)
    assert all((step, "before it is done, the step's check is false", "true") in found for step in steps)


def test_what_the_readme_says_to_type_is_what_was_done(run: Run) -> None:
    typed = [command for section in load("01").prose.sections for command in section.typed]
    assert [command for command in typed if f"$ {command}\n" not in run.out] == []


def test_the_screen_has_the_prose_the_packets_and_no_escape_sequence(run: Run) -> None:
    assert "\x1b" not in run.out
    assert re.search(r"client:\d+ +→ +w2:32000 +SYN", run.out), "the control"
    assert re.search(r"client:\d+ +→ +web-[123]:8080 +SYN", run.out), "through the hook"
    assert "Every backend serves" in run.out


def test_tcpdump_reads_the_same_packets_from_the_files_that_are_kept(run: Run) -> None:
    files = sorted(STATE.glob("pcaps/*.pcap"))
    assert len(files) == 10, "one for each capture of the lab"
    for file in files:
        text = subprocess.run(["tcpdump", "-nr", file], capture_output=True, text=True, check=True).stdout
        ours = [f"{_dotted(p.source)} > {_dotted(p.target)}:" for p in read(file)]
        assert re.findall(r"IP6? (\S+ > \S+:) ", text) == ours


def test_nothing_is_left_running_in_the_nodes(run: Run, cluster: Cluster) -> None:
    for node in cluster.nodes.values():
        assert "tcpdump" not in node.output("ps", "-eo", "comm")


def test_recorded_evidence_can_be_judged_again(run: Run) -> None:
    assert lab("check", "01").returncode == 0
    one = lab("check", "01", "3")
    assert one.returncode == 0
    assert "w2:32000 (172.18.0.4:32000) never appears" in one.stdout
    assert "7 of 7 steps done" in lab("list").stdout


def test_evidence_that_was_tampered_with_is_not_believed(run: Run) -> None:
    (file,) = STATE.glob("pcaps/the-handshake*.pod.pcap")
    whole = file.read_bytes()
    try:
        file.write_bytes(whole[:24])  # a capture of nothing: the Service address is not in it either
        assert lab("check", "01", "3").returncode in (1, 4)
        file.write_bytes(whole[:-1])
        assert lab("check", "01", "3").returncode == 4
    finally:
        file.write_bytes(whole)


def test_reset_removes_what_was_recorded(run: Run) -> None:
    assert lab("reset", "01").returncode == 0
    assert not STATE.exists()
    assert lab("check", "01").returncode == 1, "false before it is done"


def test_one_step_on_its_own_records_its_control_first(run: Run) -> None:
    lab("reset", "01")
    done = lab("run", "01", "--step", "3")
    assert done.returncode == 0, done.stdout
    assert done.stdout.index("Step 2 of 7") < done.stdout.index("Step 3 of 7")
    again = lab("run", "01", "--step", "3")
    assert again.returncode == 0
    assert "Step 2 of 7" not in again.stdout


def test_start_opens_the_lab_on_a_cluster_that_is_there(cluster: Cluster) -> None:
    done = lab("start", "01")
    assert done.returncode == 0, done.stderr
    assert "The cluster is there; no changes." in done.stdout
    assert "$ lab exec w1 -- socklb status --verbose" in done.stdout
    assert "Step 2" not in done.stdout
    assert lab("reset", "01").returncode == 0


def test_exec_passes_input_output_and_exit_status_on(cluster: Cluster) -> None:
    assert lab("exec", "w1", "--", "hostname").stdout == "w1\n"
    assert lab("exec", "client", "--", "sh", "-c", "cat; exit 5", given="hello").stdout == "hello"
    assert lab("exec", "client", "--", "sh", "-c", "exit 5").returncode == 5


def test_exec_unhooked_is_the_same_network_outside_the_hook(cluster: Cluster) -> None:
    curl = ("curl", "-s", "--max-time", "2", "http://10.96.0.10/")
    assert lab("exec", "client", "--", *curl).returncode == 0
    assert lab("exec", "client", "--unhooked", "--", *curl).returncode == 0  # by the packet path
    connect = (
        "import socket; kept = socket.create_connection(('10.96.0.10', 80), 2); port = kept.getsockname()[1]; "
        "print(*(line for line in open('/proc/net/tcp') if f':{port:04X} ' in line))"  # others linger in TIME_WAIT
    )
    sockets = ("python3", "-c", connect)
    service = "0A00600A:0050"  # as /proc/net/tcp writes 10.96.0.10:80
    assert service not in lab("exec", "client", "--", *sockets).stdout
    assert service in lab("exec", "client", "--unhooked", "--", *sockets).stdout
    address = ("ip", "-br", "address", "show", "eth0")
    assert lab("exec", "client", "--unhooked", "--", *address).stdout == lab("exec", "client", "--", *address).stdout


def test_exec_of_an_unknown_place_names_the_known_ones(cluster: Cluster) -> None:
    done = lab("exec", "w9", "--", "true")
    assert done.returncode == 2
    assert "no node or pod 'w9'; there is: cp, w1, w2" in done.stderr


def _dotted(end: object) -> str:
    """As tcpdump -n writes an address and a port."""
    address, port = end  # type: ignore[misc]
    return address if port is None else f"{address}.{port}"
