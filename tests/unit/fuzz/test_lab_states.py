"""What labs have recorded, spoilt: every verb that reads it says a sentence, whatever the files hold."""

import contextlib
import dataclasses
import io
import json
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from unittest import mock

from hypothesis import example, given, settings
from hypothesis import strategies as st

from labs.engine import progress, stage
from labs.engine.capture import Capture
from labs.engine.claims import Claim, Verdict
from labs.engine.cli import main
from labs.engine.errors import LabError
from labs.engine.evidence import Evidence
from labs.engine.latency import Latencies
from labs.engine.model import Lab, load
from labs.engine.places import Output
from labs.engine.progress import Open
from labs.engine.scenario import Scenario
from tests.unit.fuzz.drawn import ANY, FUZZ, as_json, bent, spliced
from tests.unit.fuzz.messages import judge
from tests.unit.labs.clusters import local
from tests.unit.labs.report.evidence import RULES, exchange

LABS = ("01", "03", "05")  # a Service, three ways with figures, policies
SERVICE, WEB = "10.96.0.10", "10.244.2.3"
OPEN = {"lab": "01-socket-lb", "step": "the-first-packet", "hints": 1}
TYPED = dataclasses.asdict(Output("lab exec client -- curl", 0, "web-2\n", "", "client", ("curl", "-s")))
TOKENS = (
    b"\0",
    b"\xff",
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b",",
    b"null",
    b"NaN",
    b"1e999",
    b"[" * 2000,
    b'{"a":' * 2000,
    b"9" * 5000,
)


def record(lab: Lab, folder: Path) -> None:
    """Every step of the lab, as if the cluster had done it: captures of a Service and of a pod, words and figures."""
    evidence, on = Evidence(folder / lab.name), Scenario(local(lab))
    evidence.snapshot(on.cluster)
    for step in lab.steps:
        seen = evidence.of(step.key)
        for look in step.where(on):
            seen.pcap(look.name).parent.mkdir(exist_ok=True)
            seen.pcap(look.name).write_bytes(exchange(WEB, 8080))
            file = f"pcaps/{step.key}.{look.name}.pcap"
            seen.keep(
                look.name, Capture(look.place, look.interface, look.filter, file, "lab exec client -- tcpdump", 0, ())
            )
        seen.typed([Output(one.typed, 0, "web-2\n", "", one.place, one.words, one.hooked) for one in step.commands(on)])
        seen.record(Latencies("connect()", {"in iptables": [200.0, 210.0], "in the socket": [60.0]}))
        evidence.add(step.key, "facts", "Passed", {"rules": [rule.__dict__ for rule in RULES]})
        seen.done()
        seen.judged([Claim("it holds", "1 of 3", Verdict.TRUE)], 0.5)


@cache
def recorded(number: str) -> tuple[str, Mapping[str, bytes]]:
    """The lab's name, and the files of its evidence."""
    lab = load(number)
    with tempfile.TemporaryDirectory() as folder:
        record(lab, Path(folder))
        top = Path(folder) / lab.name
        return lab.name, {str(f.relative_to(top)): f.read_bytes() for f in top.rglob("*") if f.is_file()}


@contextlib.contextmanager
def checkout(number: str, state: bytes) -> Iterator[Path]:
    """A checkout with this evidence of a lab; yields the folder of all states."""
    name, files = recorded(number)
    with tempfile.TemporaryDirectory() as root, mock.patch.object(progress, "ROOT", Path(root)):
        folder = Path(root) / ".lab" / "local"
        for file, data in {**files, "state.json": state}.items():
            (folder / name / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / name / file).write_bytes(data)
        yield folder


def lab(*words: str) -> str:
    """Run the command; return what it printed. It ends with one of its own exit codes, and says why in a sentence."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    assert code in range(5), code
    for line in err.getvalue().splitlines():
        judge(line)
    return out.getvalue()


def test_what_is_not_spoilt_is_read() -> None:
    """The control: each verb shows what stands in the evidence that the others spoil."""
    for number in LABS:
        name, files = recorded(number)
        with checkout(number, files["state.json"]) as folder:
            assert f"{len(load(number).steps)} of {len(load(number).steps)} steps done" in lab("list")
            assert "recorded 2" in lab("check", number)
            lab("report", number)
            assert "it holds" in (folder / "report" / "index.html").read_text()
            assert (folder / "report" / "captures").exists() == bool([f for f in files if f.endswith(".pcap")]) or name


STATES = st.sampled_from(LABS).flatmap(
    lambda number: st.tuples(
        st.just(number),
        st.one_of(
            bent(st.just(json.loads(recorded(number)[1]["state.json"]))).map(as_json),
            bent(st.just(json.loads(recorded(number)[1]["state.json"]))).map(as_json),
            spliced(st.just(recorded(number)[1]["state.json"]), TOKENS),
            ANY.map(as_json),
        ),
    )
)


@settings(FUZZ, max_examples=60)
@given(STATES)
@example(("01", b"[" * 100_000))
def test_no_evidence_of_a_lab_is_a_traceback(drawn: tuple[str, bytes]) -> None:
    number, state = drawn
    with checkout(number, state):
        lab("list")
        lab("check", number)
        lab("report", number)


@FUZZ
@given(
    bent(st.just(OPEN)).map(as_json) | spliced(st.just(as_json(OPEN)), TOKENS),
    bent(st.just(TYPED)).map(as_json) | spliced(st.just(as_json(TYPED)), TOKENS),
    st.sampled_from((b"01-socket-lb", b"unfinished", b"\xff", b"a\n\x1b[1m", b"../../..", b"")),
)
def test_no_open_step_is_a_traceback(opened: bytes, typed: bytes, mark: bytes) -> None:
    with checkout("01", recorded("01")[1]["state.json"]) as folder:
        (folder / "open.json").write_bytes(opened)
        (folder / "typed.jsonl").write_bytes(typed)
        (folder / "running").write_bytes(mark)
        (folder / "deploy").write_bytes(mark)
        lab("hint")
        lab("list")
        for read in (progress.read_open, progress.typed, progress.cut_off, stage.deployed):
            try:
                found = read()
            except LabError as error:
                judge(str(error))
            else:
                assert found is None or isinstance(found, Open | list | str)
