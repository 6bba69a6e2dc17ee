"""Objects as the API server may send them, valid for JSON alone: what is wrong with one is told in a sentence and
changes nobody else's frontends."""

from collections.abc import Iterable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from socklb.agent.problems import ProblemBook
from socklb.api.decode import identify
from socklb.api.known import Known
from socklb.api.reading import read
from socklb.api.resources import NODES, RESOURCES, Resource, bypassing
from socklb.desired import at_frontend
from socklb.desired.cataloguer import Cataloguer
from socklb.desired.network_flags import flags_of
from socklb.desired.plan import Plan
from socklb.desired.store import ObjectStore
from socklb.model import Frontend, Serving
from socklb.report import Report
from socklb.status import summary
from tests.unit.agent.shapes import endpoint, endpoint_slice, node, service
from tests.unit.fuzz.drawn import ANY, FUZZ, as_json, bent
from tests.unit.fuzz.messages import judge
from tests.unit.fuzz.objects import OF_API

OF_KIND = {one.kind: one for one in (*RESOURCES, *bypassing("w1"))}

Sent = tuple[Resource, bytes]


class Api:
    """What the agent makes of objects from the API: as `KubernetesApi` and `Agent` do, without their threads."""

    def __init__(self) -> None:
        self.known = Known(OF_KIND, lambda _: None)
        self.state = ObjectStore()
        self.plan = Plan("w1", external_ips=("198.51.100.0/24",), controllers=True, counted=False)

    def take(self, sent: Iterable[Sent]) -> None:
        for resource, raw in sent:
            self.known.note(read(resource, raw))
        difference = self.plan.update(self.state, self.state.apply(self.known.take()))
        difference.for_tables()
        difference.for_sockets()
        flags_of((), (), tuple(cidr for one in self.state.service_cidrs.values() for cidr in one.spec.cidrs))

    def status(self) -> list[str]:
        """The problems, line by line, as `socklb status` prints them."""
        problems = ProblemBook().note(self.plan.problems, self.known.problems)
        text = summary.text(Report(problems=problems))
        return text.split("Problems:")[1].split("\n")[1:]

    def answers(self) -> None:
        """What commands ask about Services."""
        cataloguer = Cataloguer(None, self.state)  # pyright: ignore[reportArgumentType] - nothing is written
        cataloguer.of(self.plan, self.plan.services)
        for key in self.plan.services:
            cataloguer.conditions(key)
        for frontend in self.plan.full().frontends:
            found = at_frontend.of(self.state, self.plan, frontend)
            for why in filter(None, (found.why, found.why_outside)):
                judge(why)


def sent(raw: Any) -> Sent:
    kind = raw.get("kind") if isinstance(raw, dict) else ""
    return OF_KIND.get(kind if isinstance(kind, str) else "", OF_KIND["Service"]), as_json(raw)


GOOD = [
    service("good", clusterIPs=["10.96.9.9"], type="NodePort", ports=[{"port": 80, "nodePort": 30123}]),
    service("good-6", clusterIPs=["fd00:10:96::99"], sessionAffinity="ClientIP"),
    endpoint_slice("good", endpoints=[endpoint("10.9.9.9", "w1"), endpoint("10.9.9.8", "w2", ready=False)]),
    endpoint_slice("good-6", addressType="IPv6", endpoints=[endpoint("fd00::99")]),
    node("good-node", "172.18.0.99"),
]
BAD = bent(st.sampled_from(OF_API)) | ANY


def served(api: Api) -> dict[Frontend, Serving]:
    """What is served of the good Services."""
    return {
        frontend: serving
        for key in ("default/good", "default/good-6")
        for frontend, serving in api.plan.services[key].frontends.items()
        if api.plan.holder(frontend) == key
    }


WANTED = 3  # frontends of the good Services


@FUZZ
@given(st.lists(BAD, min_size=1, max_size=4))
def test_no_object_of_the_api_stops_the_agent_or_changes_another_service(raws: list[Any]) -> None:
    api = Api()
    api.take(map(sent, GOOD))
    before = served(api)
    assert len(before) == WANTED
    api.take(map(sent, raws))
    assert served(api) == before
    api.answers()
    lines = api.status()
    for line in lines:
        judge(line)
    assert len(lines) == len(set(api.plan.problems) | set(api.known.problems))


@FUZZ
@given(BAD)
def test_an_object_of_the_api_that_is_left_out_is_named(raw: Any) -> None:
    resource, data = sent(raw)
    found = read(resource, data)
    api = Api()
    api.known.note(found)
    for problem, line in zip(api.known.problems, api.status(), strict=True):
        if isinstance(raw, dict) and (named := identify(raw | {"kind": resource.kind})) and len(named[1]) < 80:
            judge(line, names=named[1] if named[1].isprintable() else "")
            assert problem.object == "/".join(named)
        judge(line)


@FUZZ
@given(st.sampled_from(GOOD).flatmap(lambda good: st.tuples(st.just(good), bent(st.just(good)))))
def test_a_bad_version_of_an_object_of_the_api_leaves_its_last_state(pair: tuple[Any, Any]) -> None:
    good, bad = pair
    resource = OF_KIND[good["kind"]]
    found = read(resource, as_json(bad))
    api = Api()
    api.take(map(sent, GOOD))
    before = api.plan.full()
    if isinstance(found.object, Exception):
        api.take([(resource, as_json(bad))])
        assert api.plan.full() == before


@FUZZ
@given(st.binary(max_size=60), st.sampled_from([*OF_KIND.values(), NODES]))
def test_no_bytes_of_the_api_stop_the_agent(data: bytes, resource: Resource) -> None:
    api = Api()
    api.take([*map(sent, GOOD), (resource, data)])
    assert len(served(api)) == WANTED
    for line in api.status():
        judge(line)
