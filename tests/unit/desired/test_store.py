"""What the cluster says, change by change, and whom a change is about."""

import pytest

from socklb.api.source import Change
from socklb.desired.store import Affected, ObjectStore
from tests.unit.agent.shapes import gone, present, the_node, the_service, the_slice


def affected(*services: str, nodes: tuple[str, ...] = ()) -> Affected:
    return Affected(frozenset(services), frozenset(nodes))


def test_a_service_comes_and_goes() -> None:
    state, web = ObjectStore(), the_service("web")
    assert state.apply(present(web)) == affected("default/web")
    assert state.services == {"default/web": web}
    assert state.apply(gone(web)) == affected("default/web")
    assert state.services == {}


def test_a_slice_is_about_the_service_that_its_label_names() -> None:
    state, slice_ = ObjectStore(), the_slice("web")
    assert state.apply(present(slice_)) == affected("default/web")
    assert state.slices("default/web") == (slice_,)
    assert state.apply(gone(slice_)) == affected("default/web")
    assert state.slices("default/web") == ()


def test_a_slice_that_moves_to_another_service_is_about_both() -> None:
    state = ObjectStore()
    state.apply(present(the_slice("web", name="s")))
    moved = the_slice("shop", name="s")
    assert state.apply(present(moved)) == affected("default/web", "default/shop")
    assert (state.slices("default/web"), state.slices("default/shop")) == ((), (moved,))


def test_a_slice_without_the_label_is_about_no_service_that_can_be() -> None:
    state = ObjectStore()
    slice_ = the_slice("web", metadata={"name": "s"})
    assert state.apply(present(slice_)) == affected("/default/s")
    assert state.slices("/default/s") == (slice_,)
    assert state.apply(gone(slice_)) == affected("/default/s")
    assert state.slices("/default/s") == ()


def test_a_slice_that_loses_its_label_leaves_its_service() -> None:
    state = ObjectStore()
    state.apply(present(the_slice("web", name="s")))
    assert state.apply(present(the_slice("web", metadata={"name": "s"}))) == affected("default/web", "/default/s")
    assert state.slices("default/web") == ()


def test_the_same_name_in_two_namespaces_is_two_services() -> None:
    state = ObjectStore()
    state.apply(present(the_slice("web"), the_slice("web", metadata={"name": "web-ipv4", "namespace": "shop"})))
    assert len(state.slices("default/web")) == 1
    assert state.slices("shop/web") == ()


def test_a_service_has_all_its_slices() -> None:
    state, first, second = ObjectStore(), the_slice("web", name="a"), the_slice("web", name="b")
    state.apply(present(first, second))
    assert state.slices("default/web") == (first, second)
    state.apply(gone(first))
    assert state.slices("default/web") == (second,)


def test_a_node_comes_and_goes() -> None:
    state, w1 = ObjectStore(), the_node("w1", "172.18.0.3")
    assert state.apply(present(w1)) == affected(nodes=("w1",))
    assert state.nodes == {"w1": w1}
    assert state.apply(gone(w1)) == affected(nodes=("w1",))
    assert state.nodes == {}


def test_what_was_never_there_can_go() -> None:
    state = ObjectStore()
    assert state.apply(gone(the_slice("web"))) == affected()
    assert state.apply(gone(the_service("web"))) == affected("default/web")


def test_a_change_that_is_none_is_an_error_of_ours() -> None:
    with pytest.raises(TypeError, match="Service default/w1 with Node"):
        ObjectStore().apply([Change("Service", "default/w1", the_node("w1"))])
