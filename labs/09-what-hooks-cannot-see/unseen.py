"""The machine behind the pod, and agents with another configuration: what is set up, typed, and undone."""

from dataclasses import dataclass
from pathlib import Path

from labs.engine import agents
from labs.engine.env import Env
from labs.engine.packet import Endpoint
from labs.engine.places import Command, at
from labs.engine.scenario import CURL, DNS, WEB, Scenario

RAW = Path(__file__).with_name("raw.py")
VM, VM_ADDRESS = "lab-vm", "192.168.77.2"
FORWARDING = "/tmp/lab-09-forwarding"  # as it was
# $1 is the pod, $2 its address.
BUILD = f"""
pod="ip netns exec $1"
ip netns add {VM}
$pod ip link add name vm type veth peer name eth0 netns {VM}
$pod sysctl -n net.ipv4.ip_forward >{FORWARDING}
$pod sysctl -qw net.ipv4.ip_forward=1
$pod ip address add 192.168.77.1/24 dev vm
$pod ip link set vm up
ip -n {VM} address add {VM_ADDRESS}/24 dev eth0
ip -n {VM} link set eth0 up
ip -n {VM} route add default via 192.168.77.1
ip route add {VM_ADDRESS} via "$2"
"""
REMOVE = f"""
ip route delete {VM_ADDRESS}
ip netns exec "$1" ip link delete vm
ip netns delete {VM}
[ ! -s {FORWARDING} ] || ip netns exec "$1" sysctl -qw net.ipv4.ip_forward=$(cat {FORWARDING})
rm -f {FORWARDING}
"""


@dataclass(frozen=True)
class Without:
    """What was answered while there was no packet path: exit statuses, and the text of the answer through a hook."""

    vm: int
    raw: int
    hooked: str


def whole_again(env: Env) -> None:
    env.ask(at(env.on.client_node, "sh", "-c", REMOVE, "sh", env.on.client))
    agents.serve_again(env)


def machine(env: Env) -> None:
    """Put a machine behind the pod: a network namespace whose packets the pod forwards."""
    whole_again(env)
    on = env.on
    env.ask(at(on.client_node, "sh", "-ec", BUILD, "sh", on.client, on.address(on.client)))


def by_the_hook(env: Env) -> None:
    """Have the pod ask for a name by an ordinary UDP socket."""
    whole_again(env)
    with env.capture(env.on.at_pod("hooked")):
        env.run(dig(env.on))


def leave_out(env: Env) -> None:
    """Have the agent of the client's node leave the client out."""
    whole_again(env)
    agents.restart_with(env, env.on.client_node, f'bypass_cgroups = ["pods/{env.on.client}"]')
    env.until("the pod is left out", lambda: cgroup(env.on) in env.ask(status(env.on)).out)


def without_packet_path(env: Env) -> None:
    machine(env)
    agents.restart_with(env, env.on.client_node, "packet_path = false")
    vm, raw, hooked = (env.run(one) for one in (vm_asks(env.on), raw_asks(env.on), env.on.curl(env.on.cluster_ip())))
    env.record(Without(vm.exit, raw.exit, hooked.out.strip()))


def cgroup(on: Scenario) -> str:
    return f"pods/{on.client}"


def status(on: Scenario) -> Command:
    return at(on.client_node, "socklb", "status", "--verbose", lines=60)


def explain(on: Scenario, who: str) -> Command:
    return at(on.client_node, "socklb", "explain", str(on.cluster_ip()), "--from", who, lines=20)


def flows_of(on: Scenario, address: str, service: str = WEB) -> Command:
    asked = f"default/{on.service(service).name}"
    return at(on.client_node, "socklb", "flow", "list", "--client", address, "--service", asked)


def vm_asks(on: Scenario) -> Command:
    """Ask from the machine: in its network, and in no cgroup of the node, as a guest with a kernel of its own."""
    enter = ("nsenter", f"--net=/run/netns/{VM}", "--")
    return at(on.client_node, *enter, *CURL, f"http://{on.cluster_ip()}/", hooked=False)


def raw_asks(on: Scenario) -> Command:
    server: Endpoint = on.cluster_ip(DNS)
    return at(on.client, "python3", "-", server.address, str(server.port), stdin=RAW)


def dig(on: Scenario) -> Command:
    server = f"@{on.cluster_ip(DNS).address}"
    return at(on.client, "dig", "+short", "+tries=1", "+timeout=1", server, "whoami.example.test", "TXT")
