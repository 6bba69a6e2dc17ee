"""docs/conformance.md has the table of what is tested here."""

from tests.cluster.upstream import test_conntrack, test_loadbalancer, test_networking, test_others, test_service
from tests.support.cluster import ROOT
from tests.support.conformance import behaviours, table

MODULES = (test_service, test_conntrack, test_networking, test_loadbalancer, test_others)


def test_the_document_has_this_table() -> None:
    page = (ROOT / "docs" / "conformance.md").read_text()
    assert table({behaviour: True for module in MODULES for behaviour in behaviours(module)}) in page
