"""What axe finds wrong with a page, in every state that matters: all details open, light and dark."""

from importlib.resources import files
from itertools import pairwise

from tests.support.browser import Page

_AXE = """axe.run(document, {resultTypes: ["violations"], %s}).then(found => found.violations.map(
    one => `${one.id}: ${one.help}: ${one.nodes.slice(0, 3).map(node => node.html.slice(0, 160)).join(" | ")}`))"""


def violations(page: Page, *rules: str) -> list[str]:
    """Return axe's findings by these rules, or by all that it has, WCAG's and those of good practice."""
    page.value("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    page.value(files("axe_core_python").joinpath("axe.min.js").read_text() + ";true")
    return page.value(_AXE % (f"runOnly: {list(rules)}" if rules else ""))


def headings(page: Page) -> list[int]:
    return page.value("[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(one => Number(one.tagName[1]))")


def without_a_gap(levels: list[int]) -> bool:
    """Whether the first heading is the only one of level 1 and none goes down by more than one level."""
    steps = [deeper - above for above, deeper in pairwise(levels)]
    return levels[0] == 1 and levels.count(1) == 1 and all(step <= 1 for step in steps)
