"""The node's own network namespace is known also where the kernel tells it to hooks alone (5.10 to 5.13)."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from rig.sandbox import BACKENDS4, Sandbox, ask_tcp
from socklb.datapath import features
from socklb.datapath.node_datapath import OBJECT_FILES, NodeDatapath
from socklb.model import ANY4, Difference, Frontend
from tests.datapath.loaded import instead_of_the_best, skip_without
from tests.datapath.services import serving

UNKNOWN = 9999  # no socket option


def serve_and_ask(bpffs: Path, cgroup: Path, objects: Path) -> tuple[int, str]:
    """Serve as an agent in the node's network; give the cookie that it knows, and who answers at localhost."""
    with NodeDatapath(bpffs, cgroup, objects) as node:
        put = {Frontend(ANY4, 32000, socket.IPPROTO_TCP): serving(BACKENDS4[0])}
        node.tables.apply(Difference(put=put))
        node.attach()
        try:
            return node.netns, ask_tcp("127.0.0.1", 32000)[0] if node.netns else ""
        finally:
            node.pins.remove()


@pytest.mark.parametrize("hooked", [True, False], ids=["in the node's cgroup", "beside it"])
@pytest.mark.parametrize("object_file", OBJECT_FILES)
def test_a_hook_tells_an_agent_that_the_kernel_does_not_tell(
    sandbox: Sandbox,
    bpffs: Path,
    objects: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    object_file: str,
    hooked: bool,
) -> None:
    skip_without(*features.OBJECTS[object_file])
    instead_of_the_best(objects / object_file, tmp_path)
    own = sandbox.run(features.netns_cookie)  # before Linux 5.14: 0, so the answer alone tells
    monkeypatch.setattr(features, "SO_NETNS_COOKIE", UNKNOWN)
    assert features.netns_cookie() == 0, "the kernel knows that option: this test proves nothing"
    known = sandbox.run(lambda: serve_and_ask(bpffs, sandbox.cgroup, tmp_path), hooked=hooked)
    assert known == ((own or known[0], BACKENDS4[0]) if hooked else (0, ""))
