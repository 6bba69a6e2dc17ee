"""Many random cases: policies against a second formulation, plans that followed changes against plans made anew."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from socklb.api.addresses import Network
from socklb.api.objects import EndpointSlice, Node, Service
from socklb.desired.endpoints import Place
from socklb.desired.service_plan import Surroundings, plan_service
from tests.unit.agent.any_objects import (
    ALLOWED,
    MANY,
    ZONES,
    any_node,
    any_service,
    any_slice,
    any_slices,
)
from tests.unit.agent.changing import Cluster
from tests.unit.agent.naive import Naive
from tests.unit.agent.shapes import details, gone, present, read

NETWORK = (Network.parse("198.51.100.0/24"),)
KINDS = {kind.__name__: kind for kind in (Service, EndpointSlice, Node)}


@MANY
@given(
    any_service(),
    any_slices(),
    st.sampled_from(ZONES),
)
def test_every_service_has_what_a_naive_reading_gives_it(
    service: dict[str, Any], slices: list[dict[str, Any]], zone: str
) -> None:
    around = Surroundings(Place("w1", zone), NETWORK)
    found = plan_service(read(service, Service), [read(slice_, EndpointSlice) for slice_ in slices], around)
    assert in_order(details(found.frontends)) == Naive(service, slices, zone).frontends(ALLOWED)


def in_order(frontends: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Addresses in the order of their text, as the naive reading has them."""
    return {
        frontend: {field: sorted(value) if isinstance(value, list) else value for field, value in how.items()}
        for frontend, how in frontends.items()
    }


def any_object(number: int) -> st.SearchStrategy[dict[str, Any]]:
    name = f"s{number}"
    return any_service(number, name) | any_slice(name, f"{name}-a") | any_slice(name, f"{name}-b") | any_node()


CHANGES = st.lists(st.tuples(st.integers(0, 3).flatmap(any_object), st.integers(0, 3)), min_size=1, max_size=3)


@MANY
@given(st.lists(CHANGES, min_size=1, max_size=12))
def test_whatever_changes_the_plan_is_the_one_that_would_be_made_anew(
    batches: list[list[tuple[dict[str, Any], int]]],
) -> None:
    """`Cluster.change` compares, after each of the changes. One of four is that an object goes."""
    cluster = Cluster()
    for batch in batches:
        objects = [(read(raw, KINDS[raw["kind"]]), chance) for raw, chance in batch]
        cluster.change(*(present(found) if chance else gone(found) for found, chance in objects))
