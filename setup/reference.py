"""Print the tables of docs/reference.md from the code: `make format`.

    printed(text)       # the page with each section as the code has it

Verbs, options and exit codes are read from the parsers, keys from the docstring and the fields of `Config`, metrics
from a scrape that has at least one sample of each, alarms from `socklb.health.alarms`, tables from both layouts.
A section is what stands between `<!-- printed from the code: NAME -->` and `<!-- end -->`. The rest of the page is
written by hand. A path in the code's text, such as docs/operations.md#alarms, becomes a link.
"""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
from prometheus_client.metrics_core import Metric

from socklb.cli import parser
from socklb.command import Parser
from socklb.config import Config
from socklb.datapath import layout
from socklb.datapath.counts import REFUSALS
from socklb.datapath.links import HOOKS
from socklb.health.alarms import ALARMS
from socklb.health.metrics import Metrics
from socklb.health.progress import Progress
from socklb.model import Backend, pack_address
from socklb.report import ConnectFacts, HookFacts, PacketFacts, Report, RunningFacts, TableFacts
from socklb.sockets.counted import Row
from socklb.sockets.moving import WAYS
from socklb.sockets.resetting import KINDS
from socklb.tc import layout as packets

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference.md"
SECTION = re.compile(r"(<!-- printed from the code: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
PATH = re.compile(r"\b(docs|deploys)/([\w./-]+\.(?:md|yaml))(#[\w-]+)?")
CODE = re.compile(r"^ +(\d+) (.+)$", re.MULTILINE)
CLOSED = ("way", "kind", "reason")  # labels with few values, which are told one by one
INFO = "info"  # Prometheus keeps it as a gauge that is 1
TYPES = MappingProxyType({"StrType": "string", "BoolType": "boolean", "VarTupleType": "list of strings"})


def printed(text: str) -> str:
    """Return the page with each section printed again."""
    return SECTION.sub(lambda found: f"{found[1]}\n{SECTIONS[found[2]]()}\n\n{found[3]}", text)


def verbs() -> str:
    """Return how each verb is typed, and what it does."""
    return _table(("command", "does"), ((f"`{_typed(verb)}`", _one_line(verb.description or "")) for verb in _verbs()))


def options() -> str:
    """Return the arguments of all verbs; one that means the same to several verbs has one row."""
    found: dict[tuple[str, str], list[str]] = {}
    of_all = _verbs()
    for verb in of_all:
        for action in _arguments(verb):
            found.setdefault((_argument(action), action.help or ""), []).append(f"`{_name(verb)}`")
    rows = ((name, "all" if len(of) == len(of_all) else ", ".join(of), text) for (name, text), of in found.items())
    return _table(("option", "of", "means"), rows)


def codes() -> str:
    """Return the exit codes, and which verbs have them."""
    found: dict[tuple[int, str], list[str]] = {}
    of_all = _verbs()
    for verb in of_all:
        for number, text in CODE.findall((verb.epilog or "").partition("exit codes:")[2]):
            found.setdefault((int(number), text), []).append(f"`{_name(verb)}`")
    rows = (
        (str(number), "all" if len(of) == len(of_all) else ", ".join(of), text)
        for (number, text), of in sorted(found.items())
    )
    return _table(("exit code", "of", "means"), rows)


def keys() -> str:
    """Return the keys of the configuration in the order of its docstring."""
    fields = {field.name: field for field in msgspec.inspect.type_info(Config).fields}  # type: ignore[union-attr]
    rows: list[tuple[str, ...]] = []
    for names, text in _told(inspect.getdoc(Config) or ""):
        of = [fields.pop(name) for name in names]
        types = dict.fromkeys(_type(field.type) for field in of)
        rows.append((_listed(names), "; ".join(types), ", ".join(_default(field.default) for field in of), text))
    if fields:
        raise ValueError(f"the docstring of Config says nothing of {', '.join(fields)}")
    return _table(("key", "type", "default", "meaning"), rows)


def metrics() -> str:
    """Return the metrics of an agent which has a sample of each."""
    report = Report(
        maps=[TableFacts("frontends", 1, 2)],
        writes={"frontends": 1},
        moved=dict.fromkeys(WAYS, 1),
        reset=dict.fromkeys(KINDS, 1),
        refused={reason.replace(" ", "_"): 1 for reason in REFUSALS},
        hooks=[HookFacts(name) for name in HOOKS],
        packet_path=PacketFacts(enabled=True, counters=dict.fromkeys(packets.COUNTERS, 1)),
        connect=ConnectFacts(translated=True),
        running=[RunningFacts("health")],
    )
    rows = [Row("shop/web", Backend(pack_address("10.244.1.5"), 80), 1, 1)]
    found = Metrics(Progress(), lambda: report, lambda: rows).collect()
    return _table(("metric", "type", "labels", "holds"), map(_metric, found))


def alarms() -> str:
    """Return the alarms: when each stands, and what to do then."""
    return _table(("alarm", "when", "next"), ((f"`{name}`", alarm.when, alarm.next) for name, alarm in ALARMS.items()))


def tables() -> str:
    """Return the tables of the kernel by the folder that they are pinned in."""
    folders = (("maps/", layout.MAPS), ("tc/maps/", packets.MAPS))
    return _table(("pinned in", "tables"), ((f"`{folder}`", _listed(names)) for folder, names in folders))


def _verbs() -> list[Parser]:
    def leaves(of: Parser) -> Iterator[Parser]:
        for verb in of.verbs:
            yield from list(leaves(verb)) or [verb]

    return list(leaves(parser()))


def _name(verb: Parser) -> str:
    return verb.prog.removeprefix("socklb ")


def _typed(verb: Parser) -> str:
    """Return the usage without what all verbs take."""
    return _one_line(verb.format_usage()).removeprefix("usage: ").replace(" [-h] [--config FILE]", "")


def _arguments(verb: Parser) -> Iterable[argparse.Action]:
    return (action for action in verb._actions if action.dest != "help")


def _argument(action: argparse.Action) -> str:
    """Return an argument as it is typed: `-n`, `--namespace NAMESPACE`."""
    takes = action.metavar or (action.choices and f"{{{','.join(action.choices)}}}") or action.dest.upper()
    if not action.option_strings:
        return f"`{takes}`"
    *short, full = action.option_strings
    return _listed([*short, full if action.nargs == 0 else f"{full} {takes}"])


def _told(text: str) -> Iterator[tuple[list[str], str]]:
    """Yield the entries of a docstring, `name, name: what it means`, whose further lines are indented."""
    entries = re.findall(r"^(\w+(?:, \w+)*): (.+(?:\n    .+)*)$", text, re.MULTILINE)
    return ((names.split(", "), _one_line(meaning).removesuffix(".")) for names, meaning in entries)


def _type(of: Any) -> str:
    match of:
        case msgspec.inspect.IntType():
            return f"integer, {of.ge:,} to {of.le:,}"
        case msgspec.inspect.UnionType():
            return " or ".join(_type(one) for one in of.types if not isinstance(one, msgspec.inspect.NoneType))
        case _:
            return TYPES[type(of).__name__]


def _default(value: Any) -> str:
    """Return a default as it is written in the file."""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, int):
        return f"{value:,}"
    return f"`{value}`" if value and isinstance(value, str) else "none"


def _metric(of: Metric) -> tuple[str, ...]:
    name = of.name if of.type == "histogram" else of.samples[0].name
    labels = {label for sample in of.samples for label in sample.labels} - {"le"}
    order = [label for label in of.samples[0].labels if label in labels]
    return (
        f"`{name}`",
        "gauge" if of.type == INFO else of.type,
        ", ".join(_label(of, label) for label in order),
        (of.documentation),
    )


def _label(of: Metric, label: str) -> str:
    values = dict.fromkeys(sample.labels[label] for sample in of.samples)
    return f"`{label}`: {_listed(values)}" if label in CLOSED else f"`{label}`"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_linked(cell) for cell in row] for row in rows)]
    head_line, rule, *others = (f"| {' | '.join(cells)} |" for cells in lines)
    return "\n".join([head_line, rule.replace(" ", ""), *(re.sub(r"  +", " ", line) for line in others)])


def _linked(text: str) -> str:
    """Return a cell: a bar is escaped, and a path of the project is a link from docs/."""

    def link(found: re.Match[str]) -> str:
        folder, path, anchor = found[1], found[2], found[3] or ""
        if folder == "docs":
            return f"[below]({anchor})" if path == PAGE.name else f"[{path}]({path}{anchor})"
        return f"[{Path(path).name}](../{folder}/{path})"

    return PATH.sub(link, text.replace("|", r"\|"))


SECTIONS: Mapping[str, Callable[[], str]] = MappingProxyType(
    {made.__name__: made for made in (verbs, options, codes, keys, metrics, alarms, tables)}
)


if __name__ == "__main__":
    PAGE.write_text(printed(PAGE.read_text()))
