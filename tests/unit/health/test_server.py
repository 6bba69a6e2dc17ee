"""The server alone: where it listens."""

import http.client
import socket
import threading
from typing import Any

import pytest

from socklb.health import server as server_module
from socklb.health.server import MAX_CONNECTIONS, Answer, HttpServer
from socklb.listen_address import ListenAddress


def ask(host: str, port: int, method: str = "GET") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request(method, "/")
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_the_unspecified_address_is_both_families() -> None:
    with HttpServer() as server:
        port = server.listen(ListenAddress("::", 0), lambda _path, _accept: Answer(200, b"yes")).address.port
        assert [ask(host, port) for host in ("127.0.0.1", "::1")] == [(200, b"yes")] * 2
        assert ask("127.0.0.1", port, "HEAD") == (200, b"")
        for method in ("POST", "PUT", "DELETE"):
            assert ask("127.0.0.1", port, method) == (405, b"GET and HEAD are answered\n")


def test_without_ipv6_it_is_ipv4_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel without IPv6 cannot be had here, so its answer is put in."""
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with HttpServer() as server:
        assert server.listen(ListenAddress("::", 0), lambda _path, _accept: Answer(200, b"")).address.host == "0.0.0.0"


def test_a_page_that_fails_is_an_error_of_its_own() -> None:
    def broken(_path: str, _accept: str) -> Answer:
        raise ZeroDivisionError

    with HttpServer() as server:
        port = server.listen(ListenAddress("127.0.0.1", 0), broken).address.port
        assert [ask("127.0.0.1", port)[0] for _ in range(3)] == [500] * 3


def test_connections_that_found_no_thread_take_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has none left has some again later."""
    real, refused = threading.Thread.start, 0

    def start(thread: threading.Thread, *more: Any) -> None:
        nonlocal refused
        if refused < MAX_CONNECTIONS:
            refused += 1
            raise RuntimeError("can't start new thread")
        real(thread, *more)

    monkeypatch.setattr(server_module, "PAUSE", 0.01)
    with HttpServer() as server:
        port = server.listen(ListenAddress("127.0.0.1", 0), lambda _path, _accept: Answer(200, b"yes")).address.port
        monkeypatch.setattr(threading.Thread, "start", start)
        for _ in range(MAX_CONNECTIONS):
            with pytest.raises(ConnectionError):
                ask("127.0.0.1", port)
        assert ask("127.0.0.1", port) == (200, b"yes")


def test_it_goes_on_where_its_failure_cannot_even_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    without_memory = [MemoryError(), MemoryError()]
    cut_off = HttpServer._cut_off

    def fail_first(server: HttpServer, before: float) -> None:
        if len(without_memory) == 2:
            raise without_memory.pop()
        cut_off(server, before)

    def exception(*_: object) -> None:
        raise without_memory.pop()

    monkeypatch.setattr(HttpServer, "_cut_off", fail_first)
    monkeypatch.setattr(server_module.log, "exception", exception)
    monkeypatch.setattr(server_module, "PAUSE", 0.01)
    with HttpServer() as server:
        port = server.listen(ListenAddress("127.0.0.1", 0), lambda _path, _accept: Answer(200, b"yes")).address.port
        assert [ask("127.0.0.1", port) for _ in range(3)] == [(200, b"yes")] * 3
        assert not without_memory


def test_after_its_end_nobody_listens() -> None:
    with HttpServer() as server:
        port = server.listen(ListenAddress("127.0.0.1", 0), lambda _path, _accept: Answer(200, b"")).address.port
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)
