"""socklb/api/connection.py: which server is asked, and with what."""

from __future__ import annotations

import random
from contextlib import closing
from pathlib import Path

import pytest

from socklb.api import connection as connection_module
from socklb.api.connection import Connection
from socklb.api.failures import ApiError
from tests.unit.agent.api_server import ApiServer, Reply, status

NOWHERE = [f"http://127.0.0.1:{port}" for port in (1, 2, 3)]  # nobody listens there


@pytest.fixture
def kubeconfig(tmp_path: Path) -> str:
    with ApiServer(lambda _: Reply(b"{}")) as server:
        return str(server.kubeconfig(tmp_path))


def test_agents_begin_at_servers_of_their_own_choice(kubeconfig: str) -> None:
    counts = [Connection(kubeconfig, NOWHERE).server for _ in range(60)]
    assert {*counts} == {*NOWHERE}


def test_a_server_that_fails_hands_its_agents_to_all_others(kubeconfig: str) -> None:
    heirs: set[str] = set()
    for _ in range(60):
        one = Connection(kubeconfig, NOWHERE)
        first = one.server
        with pytest.raises(ApiError):
            one.get("/", {}, 1)
        assert one.server != first
        heirs.add(f"{first} {one.server}")
    assert len(heirs) == 6


def test_a_failure_that_is_old_news_moves_nobody(kubeconfig: str) -> None:
    one = Connection(kubeconfig, NOWHERE)
    first = one.server
    one.failed(first)
    second = one.server
    one.failed(first)
    assert one.server == second


def test_a_server_that_was_away_gets_its_share_again(kubeconfig: str) -> None:
    random.seed(14)
    agents = [Connection(kubeconfig, NOWHERE) for _ in range(90)]
    for one in agents:
        one.failed(NOWHERE[0])
    assert NOWHERE[0] not in {one.server for one in agents}
    for one in agents:
        for _ in range(60):  # the ends of watches of two hours
            one.ended()
    assert 15 < sum(one.server == NOWHERE[0] for one in agents) < 45


def test_behind_one_address_new_connections_are_made_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "MOVE_CHANCE", 1.0)
    with ApiServer(lambda _: Reply([b"{}"])) as server:
        one = server.connection(tmp_path)
        ask(one)
        ask(one)
        assert server.connections == 1
        one.ended()
        ask(one)
        assert server.connections == 2


def ask(one: Connection) -> bytes:
    answer = one.get("/api", {}, 5)
    with closing(answer.response):
        return answer.response.read()


@pytest.mark.parametrize("code", [401, 403])
def test_credentials_are_read_again_when_they_are_not_accepted(tmp_path: Path, code: int) -> None:
    with ApiServer(lambda r: Reply([b"{}"]) if r.headers["authorization"] == "Bearer new" else status(code)) as server:
        one = server.connection(tmp_path, token="old")
        server.kubeconfig(tmp_path, token="new")
        with pytest.raises(ApiError):
            ask(one)
        assert ask(one) == b"{}"


@pytest.mark.parametrize(
    "half",
    [
        pytest.param("{ clusters: [", id="no YAML"),
        pytest.param(None, id="the beginning"),
        pytest.param("", id="empty"),
        pytest.param("[1, 2]", id="a list"),
        pytest.param("users: [7]\nclusters: 5\ncurrent-context: x", id="numbers"),
        pytest.param("\x00", id="a NUL"),
    ],
)
def test_a_kubeconfig_that_is_half_written_is_said_and_the_old_one_goes_on(tmp_path: Path, half: str | None) -> None:
    with ApiServer(lambda _: status(401, "Unauthorized")) as server:
        one = server.connection(tmp_path)
        path = tmp_path / "kubeconfig"
        whole = path.read_text()
        path.write_text(whole[:200] if half is None else half)
        with pytest.raises(ApiError, match=r"401: Unauthorized; cannot use the kubeconfig"):
            ask(one)
        path.write_text(whole)
        server.answer = lambda _: Reply([b"{}"])
        assert ask(one) == b"{}"


def test_credentials_that_cannot_be_made_are_an_error_of_this_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a pod whose token file is empty when it is to be read anew."""
    with ApiServer(lambda _: Reply([b"{}"])) as server:
        account = tmp_path / "account"
        account.mkdir()
        token, authority = account / "token", account / "ca.crt"
        token.write_text("a token")
        authority.write_text("none")
        one = in_pod(server, token, authority, monkeypatch)
        assert ask(one) == b"{}"
        token.write_text("")
        with pytest.raises(ApiError, match=r"no usable credentials: .*empty"):
            ask(one)
        token.write_text("another token")
        assert ask(one) == b"{}"
        assert server.asked[-1].headers["authorization"].endswith("another token")


def in_pod(server: ApiServer, token: Path, authority: Path, monkeypatch: pytest.MonkeyPatch) -> Connection:
    """A connection as the ServiceAccount of a pod, whose token is read at each question."""
    from kubernetes import client
    from kubernetes.config import incluster_config

    from socklb.api import credentials

    host, _, port = server.url.removeprefix("http://").partition(":")
    environ = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
    loader = incluster_config.InClusterConfigLoader(str(token), str(authority), environ=environ)

    def load(client_configuration: client.Configuration) -> None:
        loader._token_refresh_period *= 0
        loader.load_and_set(client_configuration)
        client_configuration.host = server.url
        client_configuration.ssl_ca_cert = None
        refresh = client_configuration.refresh_api_key_hook

        def hook(found: client.Configuration) -> None:
            refresh(found)
            found.host, found.ssl_ca_cert = server.url, None

        client_configuration.refresh_api_key_hook = hook

    monkeypatch.setattr(credentials.config, "load_incluster_config", load)
    return Connection()
