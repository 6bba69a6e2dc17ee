"""The documents: their links lead somewhere, and the commands they name exist."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCUMENTS = sorted(
    file
    for file in ROOT.rglob("*.md")
    if not any(part.startswith((".", "build")) and part != ".github" for part in file.relative_to(ROOT).parts)
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
EXTERNAL = ("http://", "https://", "mailto:")


def links(document: Path) -> Iterator[tuple[Path, str]]:
    """File and anchor of every link within the project."""
    for target in LINK.findall(document.read_text()):
        if not target.startswith(EXTERNAL):
            path, _, anchor = target.partition("#")
            yield (document.parent / path if path else document), anchor


def anchors(document: Path) -> set[str]:
    """As GitHub makes them of headings: lower case, without punctuation, blanks as hyphens."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    for target, anchor in links(document):
        assert target.exists(), f"{document}: no such file: {target}"
        assert not anchor or anchor in anchors(target), f"{document}: no such heading: {target}#{anchor}"


def test_every_make_target_that_is_named_exists() -> None:
    done = subprocess.run(["make", "-C", str(ROOT)], capture_output=True, text=True, check=True)
    known = set(re.findall(r"^  make ([\w-]+)", done.stdout, re.MULTILINE))
    for document in DOCUMENTS:
        for line in re.findall(r"`make ([a-z -]+)[`;]|^make ([a-z -]+?)  ", document.read_text(), re.MULTILINE):
            named = set("".join(line).split())
            assert named <= known, f"{document}: make {' '.join(named - known)}"


def test_every_verb_of_the_reference_exists_and_every_verb_is_in_the_reference() -> None:
    reference = (ROOT / "docs/reference.md").read_text()
    for program in ("socklb", "lab"):
        section = reference.split(f"\n## `{program}`\n")[1].split("\n## ")[0]
        named = set(re.findall(rf"^\| `{program} ([a-z]+)", section, re.MULTILINE))
        usage = subprocess.run([ROOT / ".venv/bin" / program, "--help"], capture_output=True, text=True, check=True)
        assert named == set(re.findall(r"^    ([a-z]+)", usage.stdout, re.MULTILINE)) - {"usage"}, program


def test_the_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200
