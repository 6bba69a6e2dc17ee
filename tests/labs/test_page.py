"""The lab that docs/labs.md shows does what the page says."""

import io
from pathlib import Path

from rich.console import Console

from labs.engine.claims import Verdict
from labs.engine.model import load_folder
from labs.engine.runner import Result
from labs.engine.screen import Screen
from labs.engine.session import Session
from labs.engine.verbs.run import run_lab
from tests.support import lab_page
from tests.support.cluster import Cluster


def test_it_runs_and_each_step_is_false_before_and_true_after(cluster: Cluster, tmp_path: Path) -> None:
    printed = io.StringIO()
    session = Session(load_folder(lab_page.write(tmp_path)), Screen(Console(file=printed, width=80)))
    results: list[Result] = []
    try:
        run_lab(session, results, None, strict=True)
    finally:
        session.evidence.remove()
    assert {claim.verdict for result in results for claim in result.claims} == {Verdict.TRUE}, printed.getvalue()
    assert len(results) == 2
