"""A step that starts broken: the engine breaks something, the reader mends it, and the step says when it is whole."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from labs.engine import progress
from labs.engine.claims import Verdict
from labs.engine.guide import Guide, Left
from labs.engine.model import load_folder
from labs.engine.places import at
from labs.engine.progress import Open
from labs.engine.runner import run_step
from labs.engine.screen import Screen
from labs.engine.session import Session
from tests.support.cluster import Cluster

README = """\
# Broken

One of the pods has stopped.

## 1. A pod does not answer

Every third connection hangs. Find out which pod it is, and let its server go on.

<details><summary>Hint</summary>
Look at the states of the processes: `ps` has a letter for one that is stopped.
</details>

<details><summary>Solution</summary>

```console
$ lab exec w2 -- pkill -CONT nginx
```

</details>

## The end

It answers.
"""
LAB = """\
from collections.abc import Iterator
from dataclasses import dataclass

from labs.engine.claims import Claim, equal
from labs.engine.env import Env
from labs.engine.evidence import Seen
from labs.engine.model import Commands, Lab
from labs.engine.places import at
from labs.engine.scenario import Scenario

lab = Lab(minutes=2)
broken = lab.step("A pod does not answer")


@dataclass(frozen=True)
class Answer:
    of_web_2: str


@broken.before
def stop_it(env: Env) -> None:
    env.ask(at("w2", "pkill", "-STOP", "nginx"))


@broken.act
def mend(on: Scenario) -> Commands:
    yield at("w2", "pkill", "-CONT", "nginx")


@broken.observe
def ask_it(env: Env) -> None:
    env.record(Answer(env.ask(env.on.curl(env.on.backends()["web-2"])).out.strip()))


@broken.check
def it_answers(seen: Seen) -> Iterator[Claim]:
    yield equal("web-2 answers", seen[Answer].of_web_2, "web-2")


@lab.reset
def let_it_go_on(env: Env) -> None:
    env.ask(at("w2", "pkill", "-CONT", "nginx"))
"""


@pytest.fixture
def session(cluster: Cluster, tmp_path: Path) -> Iterator[Session]:
    folder = tmp_path / "97-broken"
    folder.mkdir()
    (folder / "README.md").write_text(README)
    (folder / "lab.py").write_text(LAB)
    session = Session(load_folder(folder), Screen(Console(file=io.StringIO(), width=80)))
    session.prepare()
    yield session
    session.restore()
    session.evidence.remove()
    progress.close()


def test_it_is_false_until_it_is_mended(session: Session) -> None:
    (step,) = session.lab.steps
    result = run_step(session.lab, step, session.env(step), session.evidence, strict=True)
    assert [claim.verdict for claim in result.claims] == [Verdict.TRUE] * 2, result.claims
    assert result.claims[0].must == "before it is done, the step's check is false"


def test_by_hand_the_repair_is_folded_away_and_whatever_mends_it_counts(session: Session) -> None:
    (step,) = session.lab.steps
    guide = Guide(session, Open("97-broken", step.key))
    assert guide.shown() == []
    presses: list[float] = []

    def pressed(seconds: float) -> bool:
        presses.append(seconds)
        if len(presses) == 1:  # another way than the solution's
            session.env().ask(at("w2", "sh", "-c", "kill -CONT $(pgrep nginx)"))
        return False

    assert guide.watch(pressed) is Left.DONE
    assert presses
    assert session.evidence.of(step.key).is_done
    assert "ps` has a letter" in guide.hint()
