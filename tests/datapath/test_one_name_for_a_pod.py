"""Sockets used in odd ways where nothing is served on the packet: nobody is refused, and the newest name counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rig.sandbox import Sandbox
from socklb.datapath.node_datapath import OBJECT_FILES, NodeDatapath
from socklb.model import Difference
from tests.datapath.services import frontend, serving
from tests.datapath.test_odd_sockets import (
    MANY,
    POD,
    PROTOCOLS,
    V,
    W,
    one_source_port,
    the_pod_after_disconnecting,
    the_pod_after_the_service,
    two_services_in_turn,
    two_services_unread,
)

pytestmark = pytest.mark.parametrize("object_file", OBJECT_FILES, ids=["6.1", "5.12", "5.10"])


@pytest.fixture(autouse=True)
def services(datapath: NodeDatapath) -> None:
    put = {frontend(vip, protocol): serving(POD) for vip in (V, W, *MANY) for protocol in PROTOCOLS}
    datapath.tables.apply(Difference(put=put))


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (two_services_unread, [W, W]),
        (two_services_in_turn, [V, W, W, V, V, W]),
        (the_pod_after_the_service, [V, POD, V, POD]),
        (the_pod_after_disconnecting, [POD, V, W]),
    ],
)
def test_the_newest_name_counts(sandbox: Sandbox, use: Callable[[], list[str]], expected: list[str]) -> None:
    assert sandbox.run(use) == expected


def test_two_services_at_one_source_port_are_one_connection(sandbox: Sandbox) -> None:
    with pytest.raises(AssertionError, match="Cannot assign requested address"):
        sandbox.run(one_source_port((V, 80), (W, 80)))
