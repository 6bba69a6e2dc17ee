"""The page over HTTP while something is recorded."""

import http.client
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from labs.engine.errors import CannotRunError
from labs.engine.evidence import Evidence
from labs.engine.report.live import serving
from labs.engine.report.page import Report
from tests.support.accessible import violations
from tests.support.browser import Browser
from tests.unit.labs.report.evidence import CLIENT, SERVICE, a_lab, exchange, finish, record


@pytest.fixture
def bench(tmp_path: Path) -> Report:
    lab = a_lab(tmp_path)
    record(lab, tmp_path)
    return Report([lab], tmp_path)


@pytest.fixture
def address(bench: Report) -> Iterator[str]:
    with serving(bench, 0) as address:
        yield address


def get(address: str, path: str, host: str = "") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=10)
    connection.request("GET", path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    try:
        return answer.status, answer.read()
    finally:
        connection.close()


def test_the_page_and_its_captures_are_served_and_nothing_else(address: str) -> None:
    status, body = get(address, "/")
    assert (status, b"Live:" in body) == (200, True)
    status, body = get(address, "/captures/99-bench.ask.pod.pcapng")
    assert (status, body[:4]) == (200, b"\x0a\x0d\x0d\x0a")
    for path in ("/state.json", "/captures/", "/captures/../99-bench/state.json", "/captures/x.pcapng"):
        assert get(address, path)[0] == 404, path


def test_only_this_machine_s_own_names_are_answered(address: str) -> None:
    port = urlsplit(address).port
    assert urlsplit(address).hostname == "127.0.0.1"
    assert get(address, "/", host=f"localhost:{port}")[0] == 200
    assert get(address, "/", host=f"labs.example.com:{port}")[0] == 403


def test_the_state_changes_when_anything_is_recorded(address: str, tmp_path: Path) -> None:
    lab = a_lab(tmp_path)
    before = get(address, "/state")
    assert get(address, "/state") == before
    evidence = record(lab, tmp_path)
    recorded = get(address, "/state")
    assert recorded != before
    evidence.of("ask").pcap("pod").write_bytes(exchange(SERVICE, 80))
    assert get(address, "/state") != recorded, "also while packets come in"
    evidence.remove()
    assert get(address, "/")[0] == 200, "a reset takes it all away"


def test_a_port_that_is_taken_is_named(bench: Report) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotRunError, match=f"port {port} of 127.0.0.1: Address already in use"), \
                serving(bench, port):  # fmt: skip
            pass


def test_nobody_listens_when_it_is_over(bench: Report) -> None:
    with serving(bench, 0) as address:
        port = urlsplit(address).port
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port or 0), timeout=2)


def test_an_open_page_follows_and_keeps_what_its_reader_opened(address: str, tmp_path: Path) -> None:
    evidence = record(a_lab(tmp_path), tmp_path)
    with Browser() as browser:
        page = browser.open(address)
        page.value("document.querySelector('#measure, details').open = true")
        page.value("window.kept = true")
        finish(evidence, "look")
        page.until("document.getElementById('status').textContent === 'Now: 2. Look: true'")
        page.until("document.querySelectorAll('nav .verdict.true').length === 3")
        page.until("document.querySelector('article').textContent.includes('Closing words')")
        assert page.value("document.querySelector('details').open && window.kept")
        assert page.value("document.getElementById('99-bench.look').getBoundingClientRect().top") < 200, "it goes there"
        assert violations(page) == []
        assert page.said == []
        assert {*page.asked_for} == {address, f"{address}state"}


def test_evidence_that_cannot_be_read_is_said_and_the_page_recovers(address: str, tmp_path: Path) -> None:
    state = tmp_path / "99-bench" / "state.json"
    whole = state.read_text()
    with Browser() as browser:
        page = browser.open(address)
        state.write_text("{")
        page.until("document.getElementById('status').textContent.startsWith('the evidence cannot be read now')")
        status, body = get(address, "/")
        assert (status, b"Next: rm " in body) == (503, True)
        state.write_text(whole)
        page.until("document.getElementById('status').textContent.includes('the page follows')")
        finish(Evidence(state.parent), "look")
        page.until("document.getElementById('status').textContent === 'Now: 2. Look: true'")


def test_an_open_page_says_when_it_is_no_longer_served(bench: Report) -> None:
    with Browser() as browser:
        with serving(bench, 0) as address:
            page = browser.open(address)
        page.until("document.getElementById('status').textContent.includes('has ended')")
        assert CLIENT in page.value("document.body.textContent"), "what it showed last stays"
