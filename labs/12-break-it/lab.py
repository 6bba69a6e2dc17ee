"""Break it: hooks, packet path, source and tables are damaged, and socklb says so: what README.md tells, judged.

Most steps begin broken (breaking.py), and what the reader types is the repair.
"""

from collections.abc import Iterator

from labs.engine import agents
from labs.engine import claims as c
from labs.engine.agents import Agents, look_at_agents
from labs.engine.answers import pod_answers
from labs.engine.evidence import Seen
from labs.engine.model import Commands, Lab
from labs.engine.needs import client_outside, inventories
from labs.engine.places import Output, at
from labs.engine.scenario import Scenario, at_the_pod

from . import breaking as b
from .breaking import Broken

lab = Lab(minutes=20, needs=[inventories("local", because="it breaks agents that nothing else starts again")])
lab.reset(b.whole_again)


def said_by(seen: Seen, part: str) -> Output:
    """Return what the shell command with this part said."""
    return next((output for output in seen.outputs if part in output.words[-1]), seen.said("sh"))


unhooked = lab.step("The hooks are gone", before=b.remove_hooks, captures=at_the_pod, observe=look_at_agents)


@unhooked.act
def have_hooks(on: Scenario) -> Commands:
    yield b.status(on.client_node)
    yield from b.start(on, on.client_node, "11 of 11 attached")
    yield on.curl(on.cluster_ip())


@unhooked.check
def translated_at_connect_again(seen: Seen) -> Iterator[c.Claim]:
    pod, broken, service = seen.capture("pod"), seen.capture("broken"), seen.on.cluster_ip()
    yield c.says("the status says that there are no hooks", seen.said("socklb", "status"), "0 of 11")
    yield c.control(broken, service, "without hooks the Service's address is on the wire")
    yield c.within("the packet path served it", [seen.on.pod_called(seen[Broken].answer)], seen.on.backends())
    yield c.first(c.SYN, pod, to=seen.on.backends().values(), must="with hooks the SYN goes to a pod")
    yield c.never(pod, service, control=broken)
    yield from seen[Agents].serve()


no_path = lab.step("The packet path is gone", needs=[client_outside], before=b.remove_packet_path)
no_path.act(lambda on: [b.status(on.asked), *b.start(on, on.asked, "there and whole"), b.from_outside(on)])
no_path.observe(look_at_agents)


@no_path.check
def outside_is_served_again(seen: Seen) -> Iterator[c.Claim]:
    yield c.true("without it nobody answers", seen[Broken].exit != 0, f"exit status {seen[Broken].exit} of curl")
    yield c.says("the status says so", seen.said("socklb", "status"), "DAMAGED")
    yield pod_answers(seen, "with it, a pod answers")
    yield from seen[Agents].serve()


mended = lab.step("What is taken from a running agent is put back", before=b.whole_again, observe=look_at_agents)


@mended.act
def unpin(on: Scenario) -> Commands:
    yield at(on.asked, "sh", "-c", f"rm {b.PINS}/links/connect4 {b.PINS}/tc/links/uplink_in-*")
    yield b.until_status_says(on.asked, "mended")
    yield at(on.asked, "sh", "-c", f"ls {b.PINS}/links/connect4 {b.PINS}/tc/links/uplink_in-*")
    yield at(on.asked, "grep", "put back", agents.LOG)


@mended.check
def pinned_again(seen: Seen) -> Iterator[c.Claim]:
    yield c.says("the status says what was mended", said_by(seen, "until"), "not pinned")
    for pin in ("connect4", "uplink_in"):
        yield c.says(f"{pin} is pinned again", said_by(seen, "ls "), pin)
    yield from seen[Agents].serve()


others = lab.step("Another program is in the way", before=b.attach_foreign_program, observe=look_at_agents)
others.act(lambda on: [b.status(on.client_node), b.foreign(on, "detach")])
others.act(lambda on: [b.until_status_says(on.client_node, "11 of 11 attached")])


@others.check
def hooks_attached_once_it_is_gone(seen: Seen) -> Iterator[c.Claim]:
    yield c.says("the status names the program", seen.said("socklb", "status"), "(others, loaded by uid 0")
    yield from seen[Agents].serve()


spoiled = lab.step("A manifest that cannot be read", before=b.write_bad_manifest)


@spoiled.act
def correct_it(on: Scenario) -> Commands:
    yield b.until_status_says(on.client_node, "lab-spoiled")
    yield on.curl(on.cluster_ip())
    yield at(on.client_node, "sed", "-i", "s/10.96.300.1/10.96.200.1/", b.SPOILED)
    yield at(on.client_node, "sh", "-c", "until socklb service list spoiled; do sleep 0.5; done")


@spoiled.check
def read_once_it_is_right(seen: Seen) -> Iterator[c.Claim]:
    yield c.says("the status names file, field and value", said_by(seen, "lab-spoiled"), "spec.clusterIP")
    yield pod_answers(seen, "all other Services are served meanwhile")
    yield c.says("the Service is there once its address is right", said_by(seen, "service list"), "10.96.200.1:80")


away = lab.step("The source is away", before=b.whole_again)


@away.act
def move_away_and_back(on: Scenario) -> Commands:
    yield at(on.client_node, "mv", b.MANIFESTS, b.AWAY)
    yield b.until_status_says(on.client_node, "cannot be read")
    yield on.curl(on.cluster_ip())
    yield at(on.client_node, "mv", b.AWAY, b.MANIFESTS)
    yield at(on.client_node, "sh", "-c", 'while socklb status | grep "cannot be read"; do sleep 0.5; done')


@away.check
def known_is_served(seen: Seen) -> Iterator[c.Claim]:
    yield c.says("the status says what is away", said_by(seen, "until"), b.MANIFESTS)
    yield pod_answers(seen, "what was known is served meanwhile")
    yield c.equal("no problem is left once it is back: exit status", said_by(seen, "while").exit, 0)


full = lab.step("A table is full", before=b.leave_no_room, observe=look_at_agents)


@full.act
def make_room(on: Scenario) -> Commands:
    yield b.status(on.client_node)
    yield at(on.client_node, "socklb", "service", "list", "web")
    yield agents.stop(on, on.client_node)
    yield from b.start(on, on.client_node, "in sync")
    yield b.all_ways(on)


@full.check
def served_once_there_is_room(seen: Seen) -> Iterator[c.Claim]:
    before, after = seen[Broken].answer.split(), seen.said("curl").out.split()
    yield c.true("without room some of the four frontends are not served", len(before) < 4, f"{len(before)} answers")
    yield c.says("the status says which limit to raise", seen.said("socklb", "status"), "set max_frontends")
    yield c.says("the list says what is not served", seen.said("socklb", "service", "list"), "NOT SERVED")
    yield c.equal("with room, pods answer by all of them", len(after), 4)
    yield from seen[Agents].serve()
