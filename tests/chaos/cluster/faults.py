"""What befalls a cluster: one node, or all of them, or the API of a real one. See tests/chaos/faults.py."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random

from tests.chaos.cluster.rig import ClusterRig
from tests.chaos.faults import Fault, Undo

Do = Callable[[ClusterRig, Random], Undo | None]
API = 60.0  # seconds: the kubelet starts a server again, and the agent asks again after at most 30
PINS = 'bpffs=$(findmnt --noheadings --output TARGET --types bpf | head -n 1) && rm -rf "$bpffs"/socklb/v3'
FAULTS: dict[str, Fault] = {}
OF_API: dict[str, Fault] = {}  # only where there is one


def fault(*hurts: str, to: dict[str, Fault] = FAULTS, **more: object) -> Callable[[Do], Do]:
    """Put a function among the faults, under its name."""

    def add(do: Do) -> Do:
        name = do.__name__.replace("_", " ")
        to[name] = Fault(name, do, frozenset(hurts), **more)  # type: ignore[arg-type]
        return do

    return add


def one(rig: ClusterRig, chance: Random) -> str:
    return chance.choice(sorted(rig.nodes))


@fault("agent", named="no agent runs|not running", weight=2)
def agent_killed(rig: ClusterRig, chance: Random) -> Undo:
    node = one(rig, chance)
    rig.agent(node, "kill")
    return lambda: rig.agent(node, "start")


@fault("agent")
def all_agents_killed(rig: ClusterRig, chance: Random) -> Undo:
    for node in rig.nodes:
        rig.agent(node, "kill")
    return lambda: [rig.agent(node, "start") for node in rig.nodes]


@fault("agent", named="no agent runs|not running")
def agent_stopped(rig: ClusterRig, chance: Random) -> Undo:
    node = one(rig, chance)
    rig.agent(node, "stop")
    return lambda: rig.agent(node, "start")


@fault("agent", named="did not answer")
def agent_frozen(rig: ClusterRig, chance: Random) -> Undo:
    node = one(rig, chance)
    rig.agent(node, "freeze")
    return lambda: rig.agent(node, "thaw")


@fault("agent", holds=False)
def agent_restarted_again_and_again(rig: ClusterRig, chance: Random) -> None:
    node = one(rig, chance)
    for _ in range(chance.randint(2, 3)):
        rig.agent(node, "restart")
        time.sleep(chance.uniform(0, 1.5))


@fault("agent", holds=False)
def rolling_restart(rig: ClusterRig, chance: Random) -> None:
    for node in rig.nodes:
        rig.agent(node, "restart")
        rig.nodes[node].run("socklb", "status", "--wait", "20", timeout=30)


@fault("socket", "packet", "streams", holds=False)
def pins_removed(rig: ClusterRig, chance: Random) -> None:
    rig.nodes[one(rig, chance)].output("sh", "-c", PINS)


@fault("socket", "packet", "streams", "agent")
def pins_removed_while_no_agent_runs(rig: ClusterRig, chance: Random) -> Undo:
    node = one(rig, chance)
    rig.agent(node, "kill")
    rig.nodes[node].run("sh", "-c", PINS)
    return lambda: rig.agent(node, "start")


@fault()
def firewall_reloaded(rig: ClusterRig, chance: Random) -> Undo:
    """By a whole rule set in place of the one that was there, which accepts everything."""
    place = rig.nodes[one(rig, chance)]
    rules = (
        "flush ruleset\ntable inet filter { chain forward { type filter hook forward priority 0; policy accept; }; }"
    )
    place.output("nft", "-f", "-", given=rules)
    return lambda: place.output("nft", "flush", "ruleset")


@fault("socket", "packet", "streams", "agent")
def node_cut_off(rig: ClusterRig, chance: Random) -> Undo:
    """Nothing enters or leaves it by its uplink, as behind a switch that died."""
    name = one(rig, chance)
    place, device = rig.nodes[name], rig.target.cluster.nodes[name].interface
    hooks = {"input": "iifname", "output": "oifname", "forward": "iifname"}
    chains = "".join(
        f"chain {hook} {{ type filter hook {hook} priority -300; {word} {device} drop; }}\n"
        for hook, word in hooks.items()
    )
    place.output("nft", "-f", "-", given=f"table inet chaos {{ {chains} }}")
    return lambda: place.run("nft", "delete", "table", "inet", "chaos")


def _process_killed(rig: ClusterRig, name: str) -> None:
    """The kubelet starts a static pod's process again."""
    rig.nodes[rig.target.cluster.control_plane].run("sh", "-c", f"kill -9 $(pidof {name})")


@fault("agent", to=OF_API, holds=False, within=API)
def api_server_killed(rig: ClusterRig, chance: Random) -> None:
    _process_killed(rig, "kube-apiserver")


@fault("agent", to=OF_API, holds=False, within=API)
def etcd_killed(rig: ClusterRig, chance: Random) -> None:
    _process_killed(rig, "etcd")


@fault("agent", to=OF_API, within=API, named="out of reach|cannot be followed")
def api_unreachable_from_a_node(rig: ClusterRig, chance: Random) -> Undo:
    control_plane = rig.target.cluster.control_plane
    place = rig.nodes[chance.choice([name for name in sorted(rig.nodes) if name != control_plane])]
    rules = "".join(
        f"{'ip6' if ':' in address else 'ip'} daddr {address} tcp dport 6443 drop; "
        for address in rig.target.cluster.nodes[control_plane].addresses
    )
    given = f"table inet chaos {{ chain output {{ type filter hook output priority -300; {rules} }}; }}"
    place.output("nft", "-f", "-", given=given)
    return lambda: place.run("nft", "delete", "table", "inet", "chaos")
