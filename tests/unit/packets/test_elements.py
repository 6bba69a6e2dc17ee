"""What a frontend is in the nftables table, by its policies; and that a change writes its own elements alone."""

import json

import pytest

from socklb.packets.chains import chain, chooser
from socklb.packets.commands import Change, commands, difference, groups, jumps
from socklb.packets.elements import Element, elements_of, frontend_of, network_elements, parsed, tokens_in
from socklb.serving import Backend, Frontend, Serving, pack_address

WEB = Frontend(pack_address("10.96.0.10"), 80, 6)
ASKED = ("10.96.0.10", 6, 80)
A, B, C = (Backend(pack_address(f"10.244.1.{n}"), 8080) for n in (2, 3, 4))


def tables(serving: Serving, frontend: Frontend = WEB) -> dict[str, set[tuple[tuple[str | int, ...], ...]]]:
    tokens = {(backend, side): 7 + n for n, backend in enumerate((A, B, C)) for side in (False, True)}
    found: dict[str, set[tuple[tuple[str | int, ...], ...]]] = {}
    for element in elements_of(frontend, serving, tokens):
        found.setdefault(element.table, set()).add((element.key, element.data))
    return found


def test_a_frontend_is_one_verdict_and_a_slot_for_each_backend() -> None:
    assert tables(Serving((A, B))) == {
        "frontends4": {(ASKED, ("jump", "choose4-2"))},
        "backends4": {((*ASKED, "none"), ("10.244.1.2", 8080)), ((*ASKED, "0:1"), ("10.244.1.3", 8080))},
    }


@pytest.mark.parametrize("number", [6, 17, 132])
def test_the_protocol_and_the_family_are_part_of_it(number: int) -> None:
    frontend = Frontend(pack_address("fd00:10:96::a"), 80, number)
    backend = Backend(pack_address("fd00::2"), 8080)
    key = ("fd00:10:96::a", number, 80)
    assert tables(Serving((backend,)), frontend)["frontends6"] == {(key, ("jump", "choose6-1"))}


def test_without_backends_it_is_refused_whatever_else_is_said() -> None:
    assert tables(Serving((), affinity=10, outside=(), sources=("192.0.2.0/24",))) == {"refused4": {(ASKED, ())}}


def test_external_traffic_policy_local_has_slots_of_its_own_for_the_outside() -> None:
    found = tables(Serving((A, B), outside=(B,)))
    assert found["outside_frontends4"] == {(ASKED, ("jump", "choose_outside4-1"))}
    assert ((*ASKED, "100:0"), ("10.244.1.3", 8080)) in found["backends4"]
    assert len(found["backends4"]) == 3


def test_external_traffic_policy_local_without_an_endpoint_here_drops() -> None:
    assert tables(Serving((A,), outside=()))["outside_frontends4"] == {(ASKED, ("drop",))}


def test_affinity_leads_over_tokens_that_name_backends() -> None:
    found = tables(Serving((A, B), affinity=100))
    assert found["frontends4"] == {(ASKED, ("jump", "keep4-2-100"))}
    assert found["affine_slots4"] == {((*ASKED, "none"), ("0:7",)), ((*ASKED, "0:1"), ("0:8",))}
    assert found["affine_backends4"] == {
        ((*ASKED, "0:7"), ("10.244.1.2", 8080)),
        ((*ASKED, "0:8"), ("10.244.1.3", 8080)),
    }
    assert tokens_in(elements_of(WEB, Serving((A, B), affinity=100), {(A, False): 7, (B, False): 8})) == {
        (A, False): 7,
        (B, False): 8,
    }


def test_source_ranges_of_the_family_stand_without_overlaps() -> None:
    found = tables(Serving((A,), sources=("10.0.0.0/8", "10.1.0.0/16", " 192.0.2.1/32", "2001:db8::/32")))
    assert found["guarded4"] == {(ASKED, ())}
    assert found["allowed4"] == {((*ASKED, "10.0.0.0/8"), ()), ((*ASKED, "192.0.2.1"), ())}


def test_ranges_of_the_other_family_alone_let_nobody_pass() -> None:
    found = tables(Serving((A,), sources=("2001:db8::/32",)))
    assert "guarded4" in found
    assert "allowed4" not in found


def test_overlapping_pod_networks_are_one() -> None:
    assert network_elements("pods", ["10.244.0.0/24", "10.244.1.0/24", "10.244.0.0/25"]) == {
        Element("pods4", ("10.244.0.0/23",))
    }


def test_every_element_names_its_frontend() -> None:
    serving = Serving((A, B), affinity=10, outside=(A,), sources=("192.0.2.0/24",))
    tokens = {(A, False): 1, (B, False): 2, (A, True): 3}
    assert {frontend_of(element) for element in elements_of(WEB, serving, tokens)} == {WEB}


@pytest.mark.parametrize(
    ("table", "listed", "element"),
    [
        ("refused4", {"concat": ["10.96.0.10", 6, 80]}, Element("refused4", ASKED)),
        (
            "frontends4",
            [{"concat": ["10.96.0.10", 6, 80]}, {"jump": {"target": "choose4-2"}}],
            Element("frontends4", ASKED, ("jump", "choose4-2")),
        ),
        (
            "outside_frontends4",
            [{"concat": ["10.96.0.10", 6, 80]}, {"drop": None}],
            Element("outside_frontends4", ASKED, ("drop",)),
        ),
        ("pods4", {"prefix": {"addr": "10.244.0.0", "len": 16}}, Element("pods4", ("10.244.0.0/16",))),
        ("nodes4", "172.18.0.3", Element("nodes4", ("172.18.0.3",))),
    ],
)
def test_an_element_is_read_back_as_it_was_written(table: str, listed: object, element: Element) -> None:
    assert parsed(table, json.loads(json.dumps(listed))) == element


def elements(*backends: Backend) -> frozenset[Element]:
    return frozenset(elements_of(WEB, Serving(backends), {}))


def test_one_other_backend_is_one_element_with_other_data() -> None:
    assert commands(*difference([Change(elements(A, B), elements(A, C))])) == (
        "delete element inet socklb backends4 { 10.96.0.10 . 6 . 80 . 0:1 }\n"
        "add element inet socklb backends4 { 10.96.0.10 . 6 . 80 . 0:1 : 10.244.1.4 . 8080 }\n"
    )


def test_one_more_backend_comes_before_the_verdict_that_counts_it() -> None:
    text = commands(*difference([Change(elements(A), elements(A, B))]))
    assert [line.split()[:5] for line in text.splitlines()] == [
        ["delete", "element", "inet", "socklb", "frontends4"],
        ["add", "element", "inet", "socklb", "backends4"],
        ["add", "element", "inet", "socklb", "frontends4"],
    ]


def test_what_stays_as_it_is_writes_nothing() -> None:
    assert difference([Change(elements(A, B), elements(A, B))]) == ([], [])


def test_a_big_load_is_cut_between_frontends() -> None:
    change = Change(frozenset(), elements(A, B, C))
    assert [len(group) for group in groups([change] * 5, limit=6)] == [2, 2, 1]


def test_one_chain_serves_all_frontends_with_as_many_backends() -> None:
    other = Frontend(pack_address("10.96.0.11"), 80, 17)
    both = elements(A, B) | frozenset(elements_of(other, Serving((B, C)), {}))
    assert jumps(both) == {"choose4-2"}
    assert "numgen random mod 2\n" in chain("choose4-2")
    assert "timeout 100s" in chain(chooser(WEB, 3, 100))
