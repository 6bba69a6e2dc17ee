"""The first page of each package, and docs/architecture.md, name what is there: no reader looks for what has gone."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# Of cli each verb tells of itself.
OF_SOCKLB = sorted({one.parent.name for one in (ROOT / "socklb").glob("*/__init__.py")} - {"cli"})
PACKAGES = [
    "socklb",
    *(f"socklb/{name}" for name in OF_SOCKLB),
    "rig",
    "bench",
    "labs/engine",
    "labs/engine/report",
    "inventory/connectors",
    "inventory/machines",
    "inventory/ways",
    "roles",
]
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
ENTRY = re.compile(r"^    (\w+(?:, \w+)*): ", re.MULTILINE)  # one line of the page: modules, and what they are for


def page(package: str) -> str:
    return ast.get_docstring(ast.parse((ROOT / package / "__init__.py").read_text())) or ""


def lines(package: str) -> list[list[str]]:
    """Return the names of each line that is about modules."""
    return [names.split(", ") for names in ENTRY.findall(page(package))]


def modules(package: str) -> list[str]:
    """Return what is in a package: its modules, and the packages below it."""
    found = (ROOT / package).iterdir()
    return sorted(one.stem for one in found if one.suffix == ".py" or (one / "__init__.py").exists())


@pytest.mark.parametrize("package", PACKAGES)
def test_the_first_page_names_each_module_once_and_no_other(package: str) -> None:
    named = [name for line in lines(package) for name in line]
    assert sorted([*named, "__init__"]) == modules(package)


def layers_of_socklb() -> list[list[str]]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (layers,) = (
        c["layers"] for c in settings["tool"]["importlinter"]["contracts"] if c.get("containers") == ["socklb"]
    )
    return [layer.split(" | ") for layer in layers]


def test_the_first_page_of_socklb_has_the_layers_that_imports_are_held_to() -> None:
    assert lines("socklb") == layers_of_socklb()


def test_the_chart_of_the_architecture_has_the_same_layers() -> None:
    """But for __main__, which Mermaid would draw as bold text."""
    assert [names.split(" | ") for names in re.findall(r'\bl\d+\["([^"]+)"\]', ARCHITECTURE)] == layers_of_socklb()[1:]


@pytest.mark.parametrize(
    ("path", "names"), re.findall(r"^\|[^|]*\| `(\w+/[^`]+)` \| ([^|]+) \|$", ARCHITECTURE, re.MULTILINE)
)
def test_a_function_of_the_architecture_is_in_its_file(path: str, names: str) -> None:
    source = (ROOT / path).read_text()
    for name in re.findall(r"`(\w+)`", names):
        assert re.search(rf"^.*(?:def|int|__u32|\*) ?{name}\(", source, re.MULTILINE), f"{path}: no {name}()"


def test_contributing_has_a_row_for_each_package_and_no_path_that_has_gone() -> None:
    rows = re.findall(r"^\| (?!I want).+\|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    paths = {path for row in rows for path in re.findall(r"`([a-z]\w*/[^` ]*)`", row)}
    assert {path for path in paths if not any(ROOT.glob(path.replace("NN-name", "01-*")))} == set()
    packages = {f"{package}/" for package in PACKAGES} - {"socklb/"}
    assert packages - {f"{parent}/" for path in paths for parent in [Path(path), *Path(path).parents]} == set()
