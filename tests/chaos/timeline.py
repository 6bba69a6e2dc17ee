"""A walk as a page: its faults on an axis of time, what each client saw second by second, and the violations.

    python -m tests.chaos.timeline build/chaos-1

Reads walk.jsonl and client-*.jsonl of a history; writes timeline.html beside them, which needs nothing else.
"""

from __future__ import annotations

import html
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from tests.chaos.history import Event

SECOND = 6  # pixels
ROW = 18
LEFT = 260
STYLE = """
body { font: 14px sans-serif; margin: 1em } svg text { font: 11px sans-serif }
.fault { fill: #c9daf8; stroke: #6d9eeb } .well { fill: #d9ead3 } .violation { fill: #cc0000 }
"""


def writer(log: TextIO, *, loud: bool = False) -> Callable[[str, str], None]:
    """Return what writes the lines of walk.jsonl: what it is, and what there is to say."""
    began = time.monotonic()

    def tell(what: str, text: str) -> None:
        print(json.dumps({"at": time.monotonic(), "what": what, "text": text}), file=log, flush=True)
        if loud:
            print(f"{time.monotonic() - began:8.1f}  {what:<9} {text}", flush=True)

    return tell


def lines(path: Path) -> Iterator[Any]:
    for line in path.read_text().splitlines():
        if line.endswith(("]", "}")):
            yield json.loads(line)


def faults(told: list[dict[str, Any]], begin: float) -> Iterator[str]:
    """A bar from each fault to its undoing, and a lighter one until all was well."""
    began = undone = 0.0
    for one in told:
        x = (one["at"] - begin) * SECOND + LEFT
        if one["what"] == "fault":
            began, name = x, html.escape(one["text"])
        elif one["what"] == "undone":
            undone = x
        elif one["what"] == "well" and began:
            yield f'<rect class="well" x="{undone:.0f}" y="0" width="{x - undone:.0f}" height="{ROW}"/>'
            width = max(1.0, undone - began)
            at = f'x="{began:.0f}" y="0" width="{width:.0f}" height="{ROW}"'
            yield f'<rect class="fault" {at}><title>{name}</title></rect>'
            began = 0.0


def client(events: list[Event], begin: float, row: int, name: str) -> Iterator[str]:
    """A mark for each second: how much of it was answered."""
    y = (row + 1) * ROW
    yield f'<text x="0" y="{y + 12}">{html.escape(name)}</text>'
    right, wrong = Counter[int](), Counter[int]()
    for event in events:
        (right if event.answered else wrong)[int(event.began - begin)] += 1
    for second in sorted(right.keys() | wrong.keys()):
        part = wrong[second] / (right[second] + wrong[second])
        colour = f"hsl({120 * (1 - part):.0f} 60% {75 if not part else 55}%)"
        title = f"second {second}: {right[second]} answered, {wrong[second]} not"
        x = LEFT + second * SECOND
        yield f'<rect x="{x}" y="{y}" width="{SECOND}" height="{ROW - 3}" fill="{colour}"><title>{title}</title></rect>'


def page(history: Path) -> str:
    told = list(lines(history / "walk.jsonl"))
    begin = told[0]["at"] if told else 0.0
    shapes = list(faults(told, begin))
    clients = sorted(history.glob("client-*.jsonl"))
    for row, path in enumerate(clients):
        shapes += client([Event(*one) for one in lines(path)], begin, row, path.stem.removeprefix("client-"))
    for one in told:
        if one["what"] == "violation":
            x = LEFT + (one["at"] - begin) * SECOND
            title = html.escape(one["text"])
            shapes.append(f'<circle class="violation" cx="{x:.0f}" cy="9" r="5"><title>{title}</title></circle>')
    width = LEFT + SECOND * (max((one["at"] for one in told), default=begin) - begin + 5)
    rows = "".join(
        f"<tr><td>{one['at'] - begin:.1f}</td><td>{one['what']}</td><td>{html.escape(one['text'])}</td></tr>"
        for one in told
    )
    svg = f'<svg width="{width:.0f}" height="{(len(clients) + 2) * ROW}">{"".join(shapes)}</svg>'
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>chaos</title><style>{STYLE}</style>"
        f"<h1>{html.escape(history.name)}</h1><p>Point at anything to read what it is.</p>"
        f'<div style="overflow-x: auto">{svg}</div><table>{rows}</table></html>'
    )


def write(history: Path) -> Path:
    path = history / "timeline.html"
    path.write_text(page(history))
    return path


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
