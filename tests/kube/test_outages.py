"""What goes wrong on the way to the API server: nothing is lost, nothing is doubled, and the log says what it is."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import subprocess
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rig.control_plane import ControlPlane, agent_token
from rig.objects import ACCOUNTS, SERVICES, service
from socklb.api import follower, lists, reflector
from socklb.api.cluster import KubernetesApi
from socklb.api.connection import Connection
from tests.kube.following import Follower, following, story
from tests.kube.wire import Wire

SourceOf = Callable[..., KubernetesApi]


@pytest.fixture(autouse=True)
def retries_come_soon(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(follower, "RETRY_MOST", 0.5)
    caplog.set_level(logging.INFO)


@contextmanager
def changes(plane: ControlPlane, name: str) -> Generator[None]:
    """Create Services and delete each second one, one after the other, for as long as the block runs."""
    stop = threading.Event()

    def load() -> None:
        for n in itertools.count():
            if stop.wait(0.01):
                return
            plane.create(SERVICES, service(f"{name}-{n}"))
            if n % 2:
                plane.delete(f"{SERVICES}/{name}-{n}")

    thread = threading.Thread(target=load)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


async def until_equal(follower: Follower, plane: ControlPlane) -> None:
    """What the source told is what the API has."""
    present = {item["metadata"]["name"] for item in plane.get(SERVICES)["items"]}
    await follower.until(lambda: follower.names() == present)


@pytest.mark.parametrize("program", ["kube-apiserver", "etcd"])
@story
async def test_a_killed_program_of_the_control_plane_under_a_load_of_changes(
    own_plane: ControlPlane, source_of: SourceOf, name: str, program: str
) -> None:
    async with following(source_of(own_plane)) as follower:
        with changes(own_plane, name):
            await asyncio.sleep(1)
            for _ in range(2):
                await asyncio.to_thread(own_plane.kill, program)
                await asyncio.sleep(0.5)
                await asyncio.to_thread(own_plane.start, program)
                await asyncio.sleep(1)
        await until_equal(follower, own_plane)
        await follower.until(lambda: follower.source.reach.lost_since is None)  # told once each watch has lasted


@story
async def test_out_of_reach_is_said_once_and_nothing_goes(
    plane: ControlPlane, source_of: SourceOf, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    plane.create(SERVICES, service(name))
    with Wire(plane.port) as wire:
        async with following(source_of(plane, wire.server)) as follower:
            wire.cut()
            await follower.until(lambda: wire.accepted > 20)
            assert follower.source.reach.lost_since is not None
            assert len(follower.batches) == 1
            assert len({r.message for r in caplog.records if "out of reach" in r.message}) <= 4  # one a reason
            wire.mend()
            await follower.until(lambda: follower.source.reach.lost_since is None)
            assert "the Kubernetes API is in reach again" in caplog.text
            assert len(follower.batches) == 1  # what was sent again said nothing new


@story
async def test_a_broken_watch_goes_on_where_it_was(plane: ControlPlane, source_of: SourceOf, name: str) -> None:
    with Wire(plane.port) as wire:
        async with following(source_of(plane, wire.server)) as follower:
            plane.create(SERVICES, service(name))
            await follower.until_there(name)
            before = len(plane.asked())
            wire.cut()
            plane.delete(f"{SERVICES}/{name}")
            plane.create(SERVICES, service(f"{name}-2"))
            wire.mend()
            await follower.until_there(f"{name}-2")
            await follower.until_gone(name)
            again = [event["requestURI"] for event in plane.asked()[before:] if "/services?" in event["requestURI"]]
            assert again
            assert all("&resourceVersion=" in uri or "?resourceVersion=" in uri for uri in again)


@story
async def test_a_resource_version_that_is_too_old_is_listed_anew(
    own_plane: ControlPlane, source_of: SourceOf, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    for n in (1, 2):
        own_plane.create(SERVICES, service(f"{name}-{n}"))
    with Wire(own_plane.port) as wire:
        async with following(source_of(own_plane, wire.server)) as follower:
            wire.cut()
            own_plane.delete(f"{SERVICES}/{name}-1")
            own_plane.create(SERVICES, service(f"{name}-3"))
            own_plane.compact()
            own_plane.kill("kube-apiserver")  # its cache knows older versions than etcd does
            await asyncio.to_thread(own_plane.start, "kube-apiserver")
            wire.mend()
            await follower.until(lambda: follower.names() >= {f"{name}-2", f"{name}-3"})
            await follower.until_gone(f"{name}-1")
            assert "too old resource version" in caplog.text
            (_, second) = follower.batches
            assert {change.key for change in second.changes if change.kind == "Service"} == {
                f"default/{name}-1",
                f"default/{name}-3",
            }


@story
async def test_a_connection_that_went_dead_is_noticed(
    plane: ControlPlane, source_of: SourceOf, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reflector, "SILENCE", 1.0)
    with Wire(plane.port) as first, Wire(plane.port) as second:
        async with following(source_of(plane, first.server, second.server)) as follower:
            first.stall()
            plane.create(SERVICES, service(name))
            await follower.until_there(name)
            assert second.accepted


@story
async def test_the_next_server_is_asked_when_one_is_gone(plane: ControlPlane, source_of: SourceOf, name: str) -> None:
    with Wire(plane.port) as wire:
        async with following(source_of(plane, "https://127.0.0.1:1", wire.server, plane.server)) as follower:
            wire.cut()
            plane.create(SERVICES, service(name))
            await follower.until_there(name)


@story
async def test_a_token_that_is_not_accepted_any_more_is_read_again(
    own_plane: ControlPlane, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    kubeconfig = own_plane.kubeconfig("agent", agent_token(own_plane))
    with Wire(own_plane.port) as wire:
        async with following(KubernetesApi(Connection(str(kubeconfig), [wire.server]))) as follower:
            own_plane.delete(f"{ACCOUNTS}/socklb")
            own_plane.create(ACCOUNTS, {"metadata": {"name": "socklb"}})
            await follower.until(lambda: asked_again_and_refused(wire, follower))
            await follower.until(lambda: "is it expired?" in caplog.text)  # said a moment after it is known
            own_plane.kubeconfig("agent", agent_token(own_plane))  # as the kubelet does
            own_plane.create(SERVICES, service(name))
            await follower.until_there(name)


def asked_again_and_refused(wire: Wire, follower: Follower) -> bool:
    """The server knows a token for ten seconds after its account went."""
    if follower.source.reach.lost_since is None:
        wire.cut()
        wire.mend()
    return "401" in follower.source.reach.reason


@story
async def test_rights_that_are_missing_are_named_with_what_gives_them(plane: ControlPlane) -> None:
    plane.create(ACCOUNTS, {"metadata": {"name": "nobody"}})
    token = plane.create(f"{ACCOUNTS}/nobody/token", {"spec": {}})["status"]["token"]
    source = KubernetesApi(Connection(str(plane.kubeconfig("nobody", token))))
    async with following(source, listed=False) as follower:
        await follower.until(lambda: "403" in source.reach.reason)
        assert re.search('cannot (list|watch) resource "', source.reach.reason)  # whichever was refused first
        assert "next: kubectl apply -f deploys/kubernetes/rbac.yaml" in source.reach.reason
        assert follower.batches == []


@pytest.mark.parametrize("wrong", ["authority", "name"])
@story
async def test_a_server_that_cannot_prove_who_it_is_is_told_nothing(plane: ControlPlane, wrong: str) -> None:
    other = plane.home / "other.crt"
    make_certificate(other)
    with Wire(plane.port, "127.0.0.2") as wire:
        servers = [wire.server] if wrong == "name" else []
        kubeconfig = plane.kubeconfig("wrong", "a token", ca=other if wrong == "authority" else None)
        source = KubernetesApi(Connection(str(kubeconfig), servers))
        async with following(source, listed=False) as follower:
            await follower.until(lambda: source.reach.reason)
            said = {"authority": "self-signed certificate", "name": "IP address mismatch"}[wrong]
            assert source.reach.reason.startswith("TLS: ")
            assert said.lower() in source.reach.reason.lower()
            assert follower.batches == []


def make_certificate(path: Path) -> None:
    """Make a certificate authority that has nothing to do with the server's."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=other", "-days", "1"]
    subprocess.run([*command, "-keyout", path.with_suffix(".key"), "-out", path], check=True, capture_output=True)


@story
async def test_a_watch_may_be_silent_for_longer_than_the_list_before_it(
    plane: ControlPlane, source_of: SourceOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reflector, "STREAM_SILENCE", 0.5)
    with Wire(plane.port) as wire:
        async with following(source_of(plane, wire.server)) as follower:
            asked = wire.accepted
            await asyncio.sleep(2)
            assert follower.source.reach.lost_since is None
            assert wire.accepted == asked


@story
async def test_a_list_whose_stream_stalls_is_asked_for_again_as_a_stream(
    plane: ControlPlane, source_of: SourceOf, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reflector, "STREAM_SILENCE", 0.5)
    before = len(plane.asked())
    with monkeypatch.context() as patch:
        patch.setattr(lists, "INITIAL_END", "never")  # so the end of the list is not seen, and silence follows
        async with following(source_of(plane), listed=False) as follower:
            await follower.until(lambda: "stopped answering" in follower.source.reach.reason)
            patch.undo()
            await follower.until(lambda: follower.batches)
    asked = [event["requestURI"] for event in plane.asked()[before:]]
    assert not any("limit=" in uri for uri in asked)
