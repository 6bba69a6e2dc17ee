"""A lab done by hand counts: a reader at two terminals, who types what the README says, and errs."""

import re
import shlex
from collections.abc import Iterator

import pytest

from labs.engine.model import load
from labs.engine.places import ROOT
from labs.engine.prose import Section
from tests.labs.command import lab
from tests.labs.terminal import Terminal
from tests.support.cluster import Cluster
from tests.support.waiting import until

MANY = 12  # connections, of which one in three goes to the third node
SECTIONS = load("01").prose.sections


@pytest.fixture
def started(cluster: Cluster) -> Iterator[None]:
    """At step 1, with nothing done; `lab start` once, for a deploy takes seconds."""
    if lab("goto", "1").returncode:
        done = lab("start", "01")
        assert done.returncode == 0, done.stderr
    yield
    lab("goto", "1")


@pytest.fixture(scope="module", autouse=True)
def closed(cluster: Cluster) -> Iterator[None]:
    """However it ends, no lab is open afterwards."""
    lab("reset", "01")
    yield
    lab("reset", "01")


@pytest.fixture
def watch(started: None) -> Iterator[Terminal]:
    terminal = Terminal("watch")
    terminal.expect("Watching")
    yield terminal
    terminal.kill()


def type_all(section: Section) -> None:
    """Type what a section says, again and again where that may be needed: a backend is a matter of chance."""
    for command in section.typed:
        line, _, file = command.partition(" < ")
        given = (ROOT / file).read_text() if file else ""
        for _ in range(MANY if section.title.startswith("The nodes on the way") and "curl" in line else 1):
            lab(*shlex.split(line)[1:], given=given)


def test_who_types_the_commands_of_the_readme_does_every_step(watch: Terminal) -> None:
    for section in SECTIONS:
        type_all(section)
        if section.number < len(SECTIONS):
            watch.expect(f"Step {section.number} is done")
            watch.type("")
            watch.expect("Watching")
    watch.expect("What you have seen")
    assert watch.end() == 0
    assert f"{len(SECTIONS)} of {len(SECTIONS)} steps done\n" in lab("list").stdout
    assert lab("check", "01").returncode == 0


def test_a_shell_in_a_pod_is_heard_and_a_wrong_command_is_told_by_what_was_seen(watch: Terminal) -> None:
    assert lab("goto", "3").returncode == 0
    watch.expect("Step 3 of 7")
    watch.expect("Watching")
    shell = Terminal("shell", "client", "--unhooked")
    shell.expect(r"\$ ")
    shell.type("curl -s --max-time 2 http://172.18.0.4:32000/ && echo asked")
    shell.expect("asked\r\n")
    assert re.search(r"✗ w2:32000 \(172\.18\.0\.4:32000\) never appears", watch.expect(r"never appears"))
    shell.type("exit")
    assert shell.end() == 0
    watch.type("")  # forgets it
    watch.expect("Watching")
    shell = Terminal("shell", "client")
    shell.expect(r"\$ ")
    shell.type("curl -s --max-time 2 http://172.18.0.4:32000/")
    watch.expect("Step 3 is done")
    shell.type("exit")
    assert shell.end() == 0


def test_what_a_shell_said_is_evidence(watch: Terminal) -> None:
    shell = Terminal("shell", "w1")
    shell.expect(r"\$ ")
    shell.type("socklb status")
    watch.expect("Step 1 is done")
    shell.type("exit")
    assert shell.end() == 0


def test_interrupted_or_hung_up_it_goes_on_where_it_was(started: None, cluster: Cluster) -> None:
    lab("goto", "3")
    watch = Terminal("watch")
    watch.expect("Watching")
    watch.interrupt()
    assert watch.end() == 130
    watch = Terminal("watch")
    watch.expect("Watching")
    watch.hang_up()
    # The whole terminal was hung up, so nobody waited for them.
    until(lambda: not any("tcpdump" in node.output("ps", "-eo", "comm") for node in cluster.nodes.values()))
    watch = Terminal("watch")
    watch.expect("Step 3 of 7")
    watch.expect("Watching")
    lab("exec", "client", "--", "curl", "-s", "http://172.18.0.4:32000/")
    watch.expect("Step 3 is done")
    watch.interrupt()
    assert watch.end() == 130


def test_three_hints_lead_to_the_command_and_solve_types_it(watch: Terminal) -> None:
    lab("goto", "3")
    watch.expect("Step 3 of 7")
    watch.expect("Watching")
    hints = [lab("hint").stdout for _ in range(4)]
    assert "Hint 1 of 3: not true yet: the first SYN goes to a pod of the Service" in hints[0].replace("\n", " ")
    assert "Hint 2 of 3: what it takes is typed at client: curl" in hints[1]
    assert "Hint 3 of 3: lab exec client -- curl …" in hints[2]
    assert hints[3] == hints[2]
    assert lab("solve").returncode == 0
    watch.expect("Step 3 is done")


def test_solve_judges_where_nobody_watches(started: None) -> None:
    done = lab("solve")
    assert done.returncode == 0, done.stdout
    assert "✓ w1: the agent has every Service in the kernel" in done.stdout
    assert "1 of 7 steps done (open)" in lab("list").stdout
    assert "Step 2 of 7" in lab("next").stdout


def test_start_goes_on_at_the_first_step_that_is_not_done(started: None) -> None:
    lab("solve")
    again = lab("start", "01")
    assert "1 of 7 steps are done already." in again.stdout
    assert "Step 2 of 7" in again.stdout


def test_only_one_watches(watch: Terminal) -> None:
    done = lab("watch")
    assert done.returncode == 3
    assert "`lab watch` runs already" in done.stderr


@pytest.mark.parametrize("verb", ["watch", "hint", "solve", "next"])
def test_without_an_open_lab_the_next_command_is_named(verb: str, cluster: Cluster) -> None:
    lab("reset", "01")
    done = lab(verb)
    assert done.returncode == 2
    assert done.stderr == "lab: no lab is open. Next: lab start 01 (lab list has the others)\n"


def test_show_has_nodes_pods_and_services(cluster: Cluster) -> None:
    shown = lab("show").stdout
    assert re.search(r"^w2 +172\.18\.0\.4  fd00:172:18::4$", shown, re.MULTILINE)
    assert re.search(r"^[├└]─ web-2 +10\.244\.2\.\d+  fd00:", shown, re.MULTILINE)
    assert re.search(r"^outside +172\.18\.0\.9 .*\(no node\)$", shown, re.MULTILINE)
    assert re.search(r"^web +10\.96\.0\.10, .* 80/TCP \(NodePort 32000\) +web-\d, web-\d, web-\d$", shown, re.MULTILINE)
    graph = lab("show", "--mermaid").stdout
    assert graph.startswith("flowchart LR\n")
    assert "  svc_web --> web_2\n" in graph
