"""The report of lab 01, from a real run: in a real browser, by tshark, and while the lab runs."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from labs.engine.capture import read
from labs.engine.language import CHINESE
from labs.engine.model import load
from labs.engine.places import ROOT
from tests.labs.command import STATE, lab
from tests.support.accessible import headings, violations, without_a_gap
from tests.support.browser import Browser
from tests.support.cluster import Cluster
from tests.support.tshark import tshark

REPORT = STATE.parent / "report"
CHARACTER = re.compile("[\u4e00-\u9fff]")
PICTURES = ROOT / "build" / "report"  # docs/pictures has two of them
HANDSHAKE = "01-socket-lb.the-handshake-is-with-the-backend-pod"


@pytest.fixture(scope="module")
def reported(cluster: Cluster) -> Iterator[str]:
    assert lab("run", "01").returncode == 0
    done = lab("report", "01")
    assert done.returncode == 0, done.stderr
    yield done.stdout.removeprefix("Written: ").strip()
    lab("reset", "01")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as opened:
        yield opened


@pytest.mark.parametrize(("name", "width", "height", "dark"), [("wide", 1280, 900, False), ("phone", 390, 844, True)])
def test_the_page_opens_whole_and_accessible(
    reported: str, browser: Browser, name: str, width: int, height: int, dark: bool
) -> None:
    page = browser.open(reported, width=width, height=height, dark=dark)
    page.value(f"document.getElementById({HANDSHAKE!r}).scrollIntoView()")
    page.picture(PICTURES / f"{name}.png")
    assert (page.said, page.asked_for) == ([], [reported])
    assert page.value("document.documentElement.scrollWidth") == width
    assert violations(page) == []
    assert without_a_gap(headings(page))


def test_the_page_has_every_step_true_and_the_service_only_before(reported: str, browser: Browser) -> None:
    page = browser.open(reported)
    verdicts = page.value("[...document.querySelectorAll('.step')].map(one => one.dataset.verdict)")
    assert verdicts == ["true"] * len(load("01").steps)
    pair = f"[...document.getElementById({HANDSHAKE!r}).closest('section').querySelectorAll('.pair figure')]"
    before, after = page.value(f"{pair}.map(one => one.querySelectorAll('.to-service').length)")
    assert before > 0
    assert after == 0
    names = page.value(f"{pair}.map(one => one.querySelector('svg title').textContent)")
    assert "NodePort w2" in names[0]
    assert "pod web-" in names[1]


def test_in_chinese_every_claim_of_the_english_run_is_chinese(reported: str, browser: Browser) -> None:
    try:
        done = lab("report", "01", "--lang", CHINESE)
        page = browser.open(done.stdout.removeprefix("已写入：").strip())
    finally:
        lab("report", "01")
    page.value(f"document.getElementById({HANDSHAKE!r}).scrollIntoView()")
    page.picture(PICTURES / "chinese.png")
    told = page.value("[...document.querySelectorAll('title, h1, h2, h3, .claims li > span:nth-child(2)')]"
                      ".map(one => one.firstChild.textContent)")  # fmt: skip
    assert len(told) > 38, "the claims alone"
    assert [text for text in told if not CHARACTER.search(text)] == []
    assert (page.said, violations(page)) == ([], [])
    assert without_a_gap(headings(page))


def test_tshark_reads_each_capture_with_service_and_pod_named(reported: str) -> None:
    files = sorted((REPORT / "captures").glob("*.pcapng"))
    assert len(files) == len([*STATE.glob("pcaps/*.pcap")])
    for file in files:
        recorded = STATE / "pcaps" / file.name.removeprefix(f"{STATE.name}.").replace(".pcapng", ".pcap")
        found = tshark(file, "frame.comment")
        assert len(found) >= len(read(recorded))
        assert all(" → " in comment for (comment,) in found if comment)
    (first, *_) = tshark(REPORT / "captures" / f"{HANDSHAKE}.pod.pcapng", "frame.comment")
    assert "pod client at node w1" in first[0]
    assert " of Service web at node " in first[0]


def test_live_follows_a_run_and_leaves_nothing_behind(cluster: Cluster, browser: Browser) -> None:
    lab("reset", "01")
    live = subprocess.Popen(
        [Path(sys.executable).with_name("lab"), "report", "--live", "01"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert live.stdout
    address = live.stdout.readline().split()[1]
    try:
        page = browser.open(address)
        assert page.value("document.querySelectorAll('nav .not-done-yet').length") == len(load("01").steps)
        assert lab("run", "01", "--step", "3").returncode == 0
        page.until("document.querySelectorAll('nav .verdict.true').length === 2")
        page.until("document.querySelectorAll('.pair svg').length === 2")
        assert page.said == []
    finally:
        live.send_signal(signal.SIGINT)
        said, _ = live.communicate(timeout=20)
    assert (live.returncode, said) == (0, "The page is closed.\n")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", urlsplit(address).port or 0), timeout=2)
    lab("reset", "01")


def test_without_evidence_it_says_what_to_do(cluster: Cluster) -> None:
    lab("reset", "01")
    done = lab("report", "01")
    assert done.returncode == 2
    assert "nothing is recorded of 01-socket-lb" in done.stderr
    assert "Next: lab run 01" in done.stderr
