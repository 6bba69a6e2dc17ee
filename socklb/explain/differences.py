"""The differences between the kernel's tables and the desired state of one frontend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from socklb.desired.at_frontend import Desired
from socklb.explain.tables import KernelTables, Row
from socklb.model import FROM_OUTSIDE, SOCKET_PROTOCOLS, Frontend, address_text, endpoint_text, frontend_text

NAMED = 5  # backends
SEE = "next: socklb status"


def differences(tables: KernelTables, frontend: Frontend, wanted: Desired) -> Iterator[str]:
    """Yield the differences."""
    if not wanted.synced:
        yield f"the agent is not in sync with the API itself; {SEE}"
    yield from _address(tables, frontend, wanted)
    row, text = tables.frontend(frontend), frontend_text(frontend)
    by_packets_alone = frontend.protocol not in SOCKET_PROTOCOLS or wanted.sources is not None
    if row is None:
        if wanted.service and (tables.packets or not by_packets_alone):
            yield f"the tables lack {text}, which Service {wanted.service} has; {SEE}"
        return
    if not wanted.service:
        yield f"the tables have {text}, which no Service has"
        return
    yield from _row(row, wanted)
    if wanted.outside is not None and tables.packets:
        second = tables.frontend(frontend._replace(scope=FROM_OUTSIDE))
        there = [endpoint_text(backend) for backend in second.serving.backends] if second else []
        yield from _lists(there, wanted.outside, " for clients outside")


def _address(tables: KernelTables, frontend: Frontend, wanted: Desired) -> Iterator[str]:
    there = tables.has("service_addrs", frontend.address)
    if there != bool(wanted.sole):
        told = "have" if there else "lack"
        of = "which is no Service's" if there else f"the ClusterIP of Service {wanted.sole[0]}"
        yield f"service_addrs {told} {address_text(frontend.address)}, {of}"


def _row(row: Row, wanted: Desired) -> Iterator[str]:
    serving = row.serving
    yield from _lists([endpoint_text(backend) for backend in serving.backends], wanted.backends, "")
    for what, there, should in (
        ("session affinity", f"{serving.affinity} s", f"{wanted.affinity} s"),
        ("least-loaded choice", serving.least_loaded, wanted.least_loaded),
        ("source ranges", serving.sources is not None, wanted.sources is not None),
    ):
        if there != should:
            yield f"{what}: the tables have {there}, the API wants {should}"


def _lists(there: Sequence[str], should: Sequence[str], whom: str) -> Iterator[str]:
    if lacking := sorted(set(should) - set(there)):
        yield f"the tables lack backends{whom}: {_some(lacking)}"
    if surplus := sorted(set(there) - set(should)):
        yield f"the tables have backends{whom} that the API does not want: {_some(surplus)}"


def _some(texts: Sequence[str]) -> str:
    more = len(texts) - NAMED
    return ", ".join(texts[:NAMED]) + (f" and {more} more" if more > 0 else "")
