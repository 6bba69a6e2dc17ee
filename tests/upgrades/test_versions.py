"""From each version to the present and back, under load: no connect fails, each socket still names its Service."""

from __future__ import annotations

import pytest

from rig.sandbox import Sandbox, ask_tcp
from tests.upgrades.node import BASIC, SERVICE4, Agent, Clients, Seen, served_by
from tests.upgrades.versions import Version, known, unpacked, versions

pytestmark = pytest.mark.skip_in_ci_ok("an archive, or a shallow clone, has no history to take a version from")
VERSIONS = versions()
PRESENT = None


def serves(agent: Agent, place: Sandbox, generation: int) -> None:
    """Check that the running agent decides who serves: what it applies is what clients get."""
    members = served_by(agent, generation)
    for name in ("web-4", "web-6"):
        agent.applied(f"EndpointSlice/default/{name}", generation)
    assert place.run(lambda: {ask_tcp(SERVICE4, 80)[0].strip() for _ in range(20)}) <= members


def start(agent: Agent, version: Version | None) -> None:
    if version is PRESENT:
        agent.become(None, Agent.keys)
    elif known(version.commit):
        agent.become(unpacked(version.commit), Agent.keys if version.serves_packets else BASIC)
    else:
        pytest.skip(f"{version.name} is not in this copy's history. Next, in a clone: git fetch --unshallow")


def judge(seen: dict[str, Seen], *left_out: str) -> None:
    asked = {kind: found for kind, found in seen.items() if not any(word in kind for word in left_out)}
    assert {kind: found.wrong[:5] for kind, found in asked.items() if found.wrong} == {}
    assert all(found.answers > 50 for found in asked.values()), {kind: found.answers for kind, found in asked.items()}


@pytest.mark.parametrize("version", VERSIONS, ids=[version.name for version in VERSIONS])
def test_to_the_present_version(agent: Agent, clients: Clients, place: Sandbox, version: Version) -> None:
    start(agent, version)
    clients.start()
    serves(agent, place, 2)
    start(agent, PRESENT)
    serves(agent, place, 3)
    judge(clients.stop(), *([] if version.serves_packets else ["outside"]))


BACK = [version for version in VERSIONS if version.knows_others]


@pytest.mark.parametrize("version", BACK, ids=[version.name for version in BACK])
def test_back_from_the_present_version_and_to_it_again(
    agent: Agent, clients: Clients, place: Sandbox, version: Version
) -> None:
    start(agent, PRESENT)
    clients.start()
    serves(agent, place, 2)
    for generation, each in enumerate((version, PRESENT), start=3):
        start(agent, each)
        serves(agent, place, generation)
    judge(clients.stop(), *([] if version.keeps_flows else ["streams from outside"]))
