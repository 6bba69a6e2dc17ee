"""deploys/teardown.py over SSH: each machine is as it was before the first deploy. The last file of this folder."""

from collections.abc import Mapping

import pytest

from tests.e2e_ssh.conftest import CONTROL_PLANE, WORKERS
from tests.support.bare_metal import BareMetal
from tests.support.cluster import HostSettings
from tests.support.kubernetes import Kubernetes
from tests.support.sealed import at_home
from tests.support.snapshot import Snapshot, differences, snapshot

NODES = [CONTROL_PLANE, *WORKERS]


@pytest.fixture(scope="module")
def during(metal: BareMetal, cluster: Kubernetes) -> Mapping[str, Snapshot]:
    return {name: snapshot(metal.machines[name]) for name in NODES}


@pytest.fixture(scope="module")
def torn_down(metal: BareMetal, during: Mapping[str, Snapshot]) -> None:
    metal.deploy("teardown")


@pytest.mark.parametrize("name", NODES)
def test_file_by_file_and_process_by_process_a_machine_is_as_it_was(
    metal: BareMetal, bare: Mapping[str, Snapshot], during: Mapping[str, Snapshot], torn_down: None, name: str
) -> None:
    changed = differences(bare[name], during[name])  # the control
    for kind in (
        "file /usr/local/bin/kubelet",
        "process /usr/bin/containerd",
        "package ii  containerd",
        "pin ",
        "nft ",
    ):
        assert any(line.startswith(f"+ {kind}") for line in changed), kind
    assert differences(bare[name], snapshot(metal.machines[name])) == []


def test_another_one_finds_nothing_to_do(metal: BareMetal, torn_down: None) -> None:
    results = metal.deploy("teardown")
    assert not [operation["name"] for operation in results["operations"] if operation["success"]]


def test_the_machine_that_they_all_ran_on_is_as_it_was(settings_before: HostSettings, torn_down: None) -> None:
    with at_home():
        assert HostSettings.now() == settings_before
