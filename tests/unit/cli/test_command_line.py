"""The `socklb` command before it does anything: usage, who may run it, and whatever ends it."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from socklb.cli import main

SOCKLB = [sys.executable, "-m", "socklb"]
VERBS = [
    ["agent"],
    ["status"],
    ["service", "list"],
    ["socket", "list"],
    ["flow", "list"],
    ["explain", "10.96.0.10:80"],
    ["cleanup"],
]
NOBODY = 65534


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_the_configuration_may_be_named_before_the_verb_and_after_it(
    verb: list[str], as_root: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for typed in (["--config", str(tmp_path / "x"), *verb], [*verb, "--config", str(tmp_path / "x")]):
        assert main(typed) == 1
        assert f"({tmp_path / 'x'})" in capsys.readouterr().err


def test_of_two_configurations_the_one_at_the_verb_counts(
    as_root: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config", str(tmp_path / "a"), "status", "--config", str(tmp_path / "b")]) == 1
    assert f"({tmp_path / 'b'})" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["status", "--jso"], "socklb status: error: unrecognized arguments: --jso"),
        (["service", "list", "--js"], "socklb service list: error: unrecognized arguments: --js"),
        (["--conf", "x", "status"], "--conf"),
        (["status", "--wait", "-1"], "no duration ('-1'); valid: seconds, 0 or more"),
        (["status", "--wait", "nan"], "no duration ('nan')"),
        (["status", "--wait", "inf"], "no duration ('inf')"),
        (["status", "--wait", "soon"], "no duration ('soon')"),
        (["flow", "list", "--client", "me"], "'me' is not an IPv4 or IPv6 address"),
        (["flow", "list", "--protocol", "gre"], "no protocol ('gre'); valid: tcp, udp, sctp, icmp, icmpv6"),
        (["explain", "10.96.0.10"], "no address with a port ('10.96.0.10'); valid: 10.96.0.10:80, [fd00::a]:53/udp"),
        (["explain", "10.96.0.10:0"], "no address with a port"),
        (["explain", "10.96.0.10:80/gre"], "protocols: tcp, udp, sctp"),
        (["explain", "fd00::a:80"], "no address with a port"),
        (["explain", "[fd00::z]:80"], "'fd00::z' is not an IPv4 or IPv6 address"),
        (["fly"], "invalid choice: 'fly'"),
        ([], "VERB"),
    ],
)
def test_wrong_usage_ends_with_two_and_says_what_is_wrong(
    typed: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(typed)
    assert left.value.code == 2
    assert told in capsys.readouterr().err


def test_the_help_names_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "130 interrupted" in capsys.readouterr().out


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_somebody_who_is_not_root_is_told_so_in_one_line_with_the_command(
    verb: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: NOBODY)
    assert main(verb) == 1
    assert capsys.readouterr().err == (
        f"socklb: only root can do this ('user id {NOBODY}'); next: sudo socklb {' '.join(verb)}\n"
    )


def test_a_reader_that_has_seen_enough_is_no_failure() -> None:
    with subprocess.Popen([*SOCKLB, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        assert started.stdout
        assert started.stderr
        started.stdout.close()
        assert started.stderr.read() == ""
    assert started.returncode == 0


PRINTING = "import sys; from socklb.command import ended; sys.exit(ended('x', lambda: print('y') or 0))"


def test_output_that_cannot_be_written_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        argv = [sys.executable, "-c", PRINTING]
        done = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "x: No space left on device\n")


@pytest.mark.parametrize("argv", [[sys.executable, "-c", PRINTING], [*SOCKLB, "--help"]], ids=["a verb", "usage"])
def test_a_closed_output_is_no_failure(argv: list[str]) -> None:
    closed = ["sh", "-c", 'exec "$@" >&-', "sh", *argv]
    done = subprocess.run(closed, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(os.geteuid() != 0, reason="`socklb status` is for root")
def test_an_interrupt_ends_with_130_and_one_line(tmp_path: Path) -> None:
    config = tmp_path / "socklb.toml"
    config.write_text(
        f'node = "w1"\nmanifests = "{tmp_path}"\nsocket = "{tmp_path}/agent.sock"\nbpffs = "{tmp_path}"\n'
    )
    waiting = [*SOCKLB, "status", "--config", str(config), "--wait", "60"]
    with (
        socket.create_server(str(tmp_path / "agent.sock"), family=socket.AF_UNIX) as agent,
        subprocess.Popen(waiting, stderr=subprocess.PIPE, text=True) as started,
    ):
        asking, _ = agent.accept()
        asking.close()
        started.send_signal(signal.SIGINT)
        _, told = started.communicate(timeout=20)
    assert (started.returncode, told) == (130, "socklb: interrupted\n")


def test_all_nodes_cannot_be_checked_without_kubectl(
    as_root: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["check", "--all-nodes"]) == 1
    assert "no kubectl on PATH" in capsys.readouterr().err
