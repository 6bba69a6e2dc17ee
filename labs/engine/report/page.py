"""The page itself: the templates, filled with what labs have recorded. It loads nothing, not even files beside it.

report = Report([load("01")], state_folder())
report.html()                      the page as it is now
report.captures()                  name and bytes of each pcapng file that it links to
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from labs.engine.errors import BrokenCaptureError
from labs.engine.evidence import Evidence
from labs.engine.language import chosen, gettext, told
from labs.engine.model import Lab
from labs.engine.pcap import open_capture
from labs.engine.report.pcapng import annotated
from labs.engine.report.story import files, tell_lab
from labs.engine.report.topology import ports, topology

TEMPLATES = Path(__file__).with_name("templates")
_DRAWN = ("mermaid",)  # the page draws the cluster itself


class Report:
    """The report of these labs, from the evidence in the folder."""

    def __init__(self, labs: Sequence[Lab], folder: Path) -> None:
        self._labs, self._folder = labs, folder

    def state(self) -> str:
        """Return a value that changes whenever anything is recorded."""
        found = [_stamp(file) for lab in self._labs for file in sorted((self._folder / lab.name).rglob("*"))]
        return hashlib.sha256(repr(found).encode()).hexdigest()[:16]

    def html(self, *, nonce: str = "") -> str:
        """Return the page. With a nonce it is the live one, whose script refreshes it."""
        state = self.state()
        stories = [tell_lab(lab, self._evidence(lab)) for lab in self._labs]
        page = _environment().get_template("page.html.j2")
        return page.render(
            labs=stories, inventory=self._folder.name, state=state, nonce=nonce, language=chosen(), **_TOLD
        )

    def captures(self) -> Iterator[tuple[str, bytes]]:
        for lab in self._labs:
            evidence = self._evidence(lab)
            for name, file, where, expression in files(lab, evidence):
                try:
                    yield name, annotated(open_capture(file.read_bytes()), evidence.cluster, where, expression)
                except BrokenCaptureError:
                    continue  # the page says so

    def _evidence(self, lab: Lab) -> Evidence:
        return Evidence(self._folder / lab.name)


def _stamp(file: Path) -> tuple[str, int]:
    """Return a value that changes with a file, which may not exist any more."""
    try:
        return str(file), file.stat().st_mtime_ns
    except FileNotFoundError:
        return str(file), 0


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _prose(markdown: str, level: int, left_out: Sequence[str] = _DRAWN) -> Markup:
    """Return a README's text as HTML, its headings below `level`, without fenced blocks of these languages."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = [token for token in reader.parse(markdown) if token.info not in left_out]
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, level + 1)}"
        token.children = [*_without_links_into_the_checkout(token.children or ())]
    return Markup(reader.renderer.render(tokens, reader.options, {}))


def _without_links_into_the_checkout(tokens: Sequence[Token]) -> Iterator[Token]:
    """Replace them with their text: the page may be anywhere, where they would be broken."""
    inside = False
    for token in tokens:
        if token.type == "link_open":
            inside = "://" not in str(token.attrGet("href"))
        if not (inside and token.type in ("link_open", "link_close")):
            yield token


def _step_prose(markdown: str) -> Markup:
    """Return a step's text without its commands: these are shown with their output."""
    return _prose(markdown, 3, (*_DRAWN, "console"))


_TOLD = {  # what the templates call
    "_": gettext,
    "told": told,
    "prose": _prose,
    "step_prose": _step_prose,
    "topology": topology,
    "ports": ports,
}
