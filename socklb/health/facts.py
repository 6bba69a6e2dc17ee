"""What the agent knows of itself at one moment, for metrics and alarms. Made in the agent's event loop."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from socklb.datapath import view
from socklb.datapath.node import NodeDatapath
from socklb.health.alarms import Alarm, alarms

if TYPE_CHECKING:
    from socklb.agent import Agent


class Facts(NamedTuple):
    """See the module; `records` are the kernel's counters, `out_of_reach` the seconds since the source was in reach."""

    services: int
    frontends: int
    without_backends: int
    waiting: int
    fills: Sequence[view.Fill]
    writes: Mapping[str, int]
    records: view.Bookkeeping
    out_of_reach: float
    problems: int
    alarms: Sequence[Alarm]
    repairs: int


def gather(agent: Agent, datapath: NodeDatapath, leftovers: Sequence[str]) -> Facts:
    """Ask the agent and the tables, from memory: a large node's tables are not read for it."""
    tables, fills = datapath.tables, datapath.tables.fill()
    return Facts(
        services=len(agent.plan.services),
        frontends=next(fill.used for fill in fills if fill.name == "frontends"),
        without_backends=tables.without_backends,
        waiting=len(tables.waiting),
        fills=fills,
        writes=agent.writes(),
        records=datapath.records,
        out_of_reach=max(0.0, time.time() - agent.reach.lost_since) if agent.reach.lost_since is not None else 0.0,
        problems=len(agent.problems()),
        alarms=[*standing(datapath, leftovers), *(Alarm(*alarm) for alarm in agent.hooks.alarms.items())],
        repairs=agent.hooks.repairs,
    )


def standing(datapath: NodeDatapath, leftovers: Sequence[str]) -> list[Alarm]:
    """Give the alarms that stand on this node."""
    return alarms(
        datapath.tables.fill(),
        frontends_waiting=len(datapath.tables.waiting),
        addresses_waiting=datapath.tables.addresses_waiting,
        lost=datapath.records.lost,
        leftovers=leftovers,
    )
