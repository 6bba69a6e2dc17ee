"""What a socket hook cannot see, and the packet path that catches it: what README.md tells, done and judged.

A machine behind the pod `client`, a raw socket in the pod, and the pod itself when it is left out: each asks a Service,
and no hook is asked. Their packets bear the Service's address, and the node translates each of them.
"""

from collections.abc import Iterator

from labs.engine import agents
from labs.engine import claims as c
from labs.engine.agents import Agents, look_at_agents
from labs.engine.answers import pod_answers
from labs.engine.evidence import Seen
from labs.engine.model import Commands, Lab
from labs.engine.needs import inventories, unhooked
from labs.engine.packet import Endpoint
from labs.engine.scenario import DNS, Scenario, at_the_pod

from . import unseen as u

IN_STEP_1 = "with the hook, in step 1, it never appeared there"
lab = Lab(
    minutes=12,
    needs=[
        unhooked,
        inventories("local", because="it builds a network behind a pod and starts agents by another file"),
    ],
)
lab.reset(u.whole_again)


def translated(seen: Seen) -> Iterator[c.Claim]:
    """The node has a flow for each connection that the pod's interface saw."""
    clients = [str(one.client) for one in seen.capture("pod").conversations]
    yield c.true("there is a connection to look for", bool(clients), ", ".join(clients) or "none")
    for client in clients:
        yield c.says("the node keeps a flow to translate it both ways", seen.said("socklb", "flow"), client)


hooked = lab.step("What the hook sees", before=u.whole_again, captures=at_the_pod)


@hooked.act
def ask_as_a_process(on: Scenario) -> Commands:
    yield u.explain(on, u.cgroup(on))
    yield on.curl(on.cluster_ip())


@hooked.check
def translated_at_connect(seen: Seen) -> Iterator[c.Claim]:
    pod = seen.capture("pod")
    yield c.says("a hook is what translates", seen.said("socklb", "explain"), "connect4 leads it to")
    yield c.first(c.SYN, pod, to=seen.on.backends().values(), must="the first SYN goes to a pod of the Service")
    yield c.answered(pod, seen.on, "that pod answers")


vm = lab.step("A machine behind the pod", builds_on=[hooked], before=u.machine, captures=at_the_pod)


@vm.act
def ask_from_the_machine(on: Scenario) -> Commands:
    yield u.vm_asks(on)
    yield u.flows_of(on, u.VM_ADDRESS)


@vm.check
def served_behind_the_pod(seen: Seen) -> Iterator[c.Claim]:
    pod, service = seen.capture("pod"), seen.on.cluster_ip()
    yield c.first(c.SYN, pod, to=[service], must="the pod forwards a SYN to the Service's address")
    yield c.sees(pod, Endpoint(u.VM_ADDRESS), "it comes from the machine")
    yield c.never(seen.of(hooked.key).capture("pod"), service, control=pod, must=IN_STEP_1)
    yield pod_answers(seen, "a pod answers the machine", by="nsenter")
    yield from translated(seen)


raw = lab.step("Raw packets", before=u.by_the_hook, captures=at_the_pod)


@raw.act
def ask_by_a_raw_socket(on: Scenario) -> Commands:
    yield u.raw_asks(on)
    yield u.flows_of(on, on.address(on.client), DNS)


@raw.check
def served_though_written_by_hand(seen: Seen) -> Iterator[c.Claim]:
    pod, service = seen.capture("pod"), seen.on.cluster_ip(DNS)
    yield c.sees(pod, service, "the raw packet goes to the Service's address")
    yield c.never(seen.capture("hooked"), service, control=pod, must="with dig it never appeared there")
    yield c.says("a pod answers, from the Service's address", seen.said("python3"), f"answers from {service}")
    yield c.says("the node keeps a flow for it", seen.said("socklb", "flow"), ":40053")


out = lab.step("A pod that is left out", builds_on=[hooked], before=u.leave_out, captures=at_the_pod)


@out.act
def ask_as_the_pod_left_out(on: Scenario) -> Commands:
    yield u.status(on)
    yield u.explain(on, u.cgroup(on))
    yield on.curl(on.cluster_ip())
    yield u.flows_of(on, on.address(on.client))


@out.check
def served_on_the_packet(seen: Seen) -> Iterator[c.Claim]:
    on, pod, service = seen.on, seen.capture("pod"), seen.on.cluster_ip()
    yield c.says(
        "the status says who is left out, and why", seen.said("socklb", "status"), f"bypass_cgroups {u.cgroup(on)}"
    )
    yield c.says("now the packet path is what translates", seen.said("socklb", "explain"), "pod_in leads it to")
    yield c.first(c.SYN, pod, to=[service], must="the first SYN goes to the Service's address")
    yield c.never(seen.of(hooked.key).capture("pod"), service, control=pod, must=IN_STEP_1)
    yield pod_answers(seen, "a pod answers all the same")
    yield from translated(seen)


caught = lab.step("Without the packet path nobody catches them", before=u.without_packet_path, observe=look_at_agents)


@caught.act
def have_the_packet_path(on: Scenario) -> Commands:
    yield from agents.restarted(on, on.client_node)
    yield u.vm_asks(on)
    yield u.raw_asks(on)


@caught.check
def served_again(seen: Seen) -> Iterator[c.Claim]:
    before = seen[u.Without]
    yield c.true("without it the machine has no answer", before.vm != 0, f"exit status {before.vm} of curl")
    yield c.true("nor has the raw packet", before.raw != 0, f"exit status {before.raw}")
    yield c.within("what the hook sees was served", [seen.on.pod_called(before.hooked)], seen.on.backends())
    yield pod_answers(seen, "with it, a pod answers the machine", by="nsenter")
    yield c.says("and the raw packet", seen.said("python3"), "answers from")
    yield from seen[Agents].serve()
