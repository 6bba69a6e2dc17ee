"""Kubernetes' own e2e suite against the cluster: the program e2e.test as its release has it, from outside.

`make e2e-upstream` runs this file; build/e2e-upstream.md has the table. The load balancers that some tests want are
made by tests/support/cloud.py. docs/e2e-upstream.md says what is not run, and why.
"""

import contextlib
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import ROOT
from tests.support.conformance import CILIUM_SKIPS
from tests.support.kubernetes import SEALED_DOCKER, Kubernetes

FOCUS = (
    r"\[sig-network\] (Services|LoadBalancers|Networking Granular Checks: Services|Conntrack|Connectivity Pod Lifecycle"
    r"|Service CIDRs|Traffic Distribution|\[Feature:IPv6DualStack\]) "
)
SKIP = r"\[Serial\]|\[Disruptive\]|\[Feature:[^LI]|\[FeatureGate:"  # L: LoadBalancer, I: IPv6DualStack
LIMIT = 3600  # seconds
ZONE = "topology.kubernetes.io/zone"
DOCUMENT = ROOT / "docs" / "e2e-upstream.md"


@pytest.mark.usefixtures("zones")
@pytest.mark.skip_in_ci_ok("half an hour: run by make e2e-upstream, and the behaviours by the other files")
@pytest.mark.skipif("SOCKLB_E2E_UPSTREAM" not in os.environ, reason="make e2e-upstream runs it")
def test_kubernetes_own_tests_of_services_pass(kubernetes: Kubernetes, kubeconfig: Path) -> None:
    words = [ROOT / "images" / "programs.sh", "e2e.test", "ginkgo", "kubectl"]
    programs = Path(subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout.split()[-1])
    report = ROOT / "build" / "e2e-upstream.xml"
    report.unlink(missing_ok=True)
    ginkgo = [programs / "ginkgo", "--procs=6", "--timeout=58m", f"--focus={FOCUS}", f"--skip={SKIP}"]
    output = [f"--output-dir={report.parent}", f"--junit-report={report.name}"]
    suite = [programs / "e2e.test", "--", "--provider=skeleton", f"--kubeconfig={kubeconfig}", "--num-nodes=3"]
    more = [f"--kubectl-path={programs / 'kubectl'}", "--disable-log-dump"]
    with cloud(kubeconfig), (ROOT / "build" / "e2e-upstream.log").open("wb") as log:
        subprocess.run(
            [SEALED_DOCKER, "run", *ginkgo, *output, *suite, *more],
            stdout=log,
            stderr=subprocess.STDOUT,
            timeout=LIMIT,
            check=False,
            env=os.environ | {"KUBECONFIG": str(kubeconfig)},
        )
    results = read(report)
    text = table(results)
    (ROOT / "build" / "e2e-upstream.md").write_text(text)
    assert [name for name, passed in results.items() if not passed] == [], log.name
    assert len(results) >= 118
    assert text in DOCUMENT.read_text()


@pytest.fixture
def zones(kubernetes: Kubernetes) -> Iterator[None]:
    """A zone for each node."""
    for number, name in enumerate(kubernetes.nodes, 1):
        kubernetes.kubectl("label", "node", name, f"{ZONE}=zone-{number}")
    yield
    kubernetes.kubectl("label", "node", "--all", f"{ZONE}-")


@contextlib.contextmanager
def cloud(kubeconfig: Path) -> Iterator[None]:
    """Load balancers in front of the nodes, as long as it lasts."""
    argv = [SEALED_DOCKER, "run", sys.executable, "-m", "tests.support.cloud", kubeconfig]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        try:
            yield
            assert process.poll() is None
        finally:
            process.terminate()


def read(report: Path) -> dict[str, bool]:
    """Return the tests that were run, by name, and whether they passed."""
    cases = ET.parse(report).getroot().iter("testcase")
    ran = [case for case in cases if case.find("skipped") is None and "[It]" in case.get("name", "")]
    return {
        re.sub(r"^\[It\] \[sig-network\] |\s*\[[^\[]*\]$", "", case.get("name", "")): case.get("status") == "passed"
        for case in sorted(ran, key=lambda case: case.get("name", ""))
    }


def table(results: dict[str, bool]) -> str:
    """Return the table in Markdown."""
    lines = ["| test | here | Cilium's CI |", "|---|---|---|"]
    for name, passed in results.items():
        skipped = "skipped" if CILIUM_SKIPS.search(name) else ""
        lines.append(f"| {name} | {'passed' if passed else '**failed**'} | {skipped} |".replace("|  |", "| |"))
    return "\n".join(lines) + "\n"
