"""Which of Kubernetes' own end-to-end tests pass here: a marker, and the table of it.

@upstream("service.go", "should serve a basic endpoint from pods")

A test that carries the marker shows the behaviour of that test in test/e2e/network, on the local cluster and without a
Kubernetes API. The table says besides whether Cilium's own CI leaves the test out. It does not show that the upstream
test itself was run.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import ModuleType
from typing import NamedTuple

import pytest

# The names that the tests of a file have before their own: upstream's Describe and Context.
BEFORE = {
    "conntrack.go": "Conntrack",
    "dual_stack.go": "[Feature:IPv6DualStack] Granular Checks: Services Secondary IP Family [LinuxOnly]",
    "funny_ips.go": "CVE-2021-29923",
    "loadbalancer.go": "LoadBalancers [Feature:LoadBalancer]",
    "localhost_nodeports.go": "LocalhostNodePorts [Feature:LocalhostNodePorts]",
    "networking.go": "Networking Granular Checks: Services",
    "pod_lifecycle.go": "Connectivity Pod Lifecycle",
    "service.go": "Services",
    "service_cidrs.go": "Service CIDRs",
    "topology_hints.go": "[Feature:Topology Hints]",
    "traffic_distribution.go": "Traffic Distribution",
}
# What .github/workflows/k8s-kind-network-e2e.yaml of cilium/cilium gives to ginkgo's --skip (Cilium 006fd5f, 2026).
CILIUM_SKIPS = re.compile(
    "Alpha|Beta|Experimental|Federation|PerformanceDNS|Disruptive|Serial|KubeProxy|kube-proxy|ExternalIP|LoadBalancer"
    "|GCE|Netpol|NetworkPolicy|rejected|externalTrafficPolicy|SCTPConnectivity|IPv6DualStack"
    "|Conntrack.proxy.implementation.should.not.be.vulnerable.to.the.invalid.conntrack.state.bug"
    "|Services.should.fallback.to.local.terminating.endpoints.when.there.are.no.ready.endpoints"
    ".with.internalTrafficPolicy=Local"
    "|Networking.Granular.Checks:.Services.should.update.endpoints"
)


class Behaviour(NamedTuple):
    """An upstream test, by its file and the text of its It()."""

    file: str
    text: str

    @property
    def skipped_by_cilium(self) -> bool:
        return bool(CILIUM_SKIPS.search(f"{BEFORE[self.file]} {self.text}"))


def upstream(file: str, text: str) -> pytest.MarkDecorator:
    """Return which upstream test this one stands for."""
    return pytest.mark.upstream(Behaviour(file, text))


def behaviours(module: ModuleType) -> Iterator[Behaviour]:
    """Yield all that the tests of a module stand for, in the order of the file."""
    tests: list[Callable[..., object]] = [t for name, t in vars(module).items() if name.startswith("test_")]
    for test in tests:
        yield from dict.fromkeys(_of_marks(getattr(test, "pytestmark", [])))


def _of_marks(marks: Iterable[pytest.Mark]) -> Iterator[Behaviour]:
    for mark in marks:
        if mark.name == "upstream":
            yield mark.args[0]
        elif mark.name == "parametrize":
            for case in mark.args[1]:
                yield from _of_marks(getattr(case, "marks", ()))


def table(passed: Mapping[Behaviour, bool]) -> str:
    """Return the table in Markdown, in the order in which the tests stand there."""
    lines = ["| test | file | passed here | skipped by Cilium's CI |", "|---|---|---|---|"]
    for behaviour, well in passed.items():
        row = (
            behaviour.text,
            behaviour.file,
            "yes" if well else "**no**",
            "skipped" if behaviour.skipped_by_cilium else "",
        )
        lines.append(f"| {' | '.join(row)} |".replace("|  |", "| |"))
    return "\n".join(lines) + "\n"


class Report:
    """A pytest plugin: notes what became of each behaviour, prints the table at the end and keeps it in a file."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._passed: dict[Behaviour, bool] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Iterator[None]:
        report: pytest.TestReport = yield
        for mark in item.iter_markers("upstream"):
            behaviour: Behaviour = mark.args[0]
            self._passed[behaviour] = self._passed.get(behaviour, True) and report.outcome == "passed"
        return report

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        if not self._passed:
            return
        text = table(self._passed)
        path = config.rootpath / self._file
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        terminalreporter.section("Kubernetes' own end-to-end tests, here and in Cilium's CI")
        terminalreporter.write(text)
