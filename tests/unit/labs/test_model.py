"""Labs are found, loaded, and refused where README.md and lab.py tell different stories."""

from pathlib import Path

import pytest

from labs.engine.errors import LabError
from labs.engine.language import LANGUAGES
from labs.engine.model import LABS, available, load, load_folder
from labs.engine.scenario import Scenario
from tests.support import lab_page
from tests.unit.labs.clusters import local

CODE = """
from labs.engine.language import LANGUAGES
from labs.engine.model import Lab
lab = Lab(minutes=1)
for title in {titles}:
    step = lab.step(title)
    step.act(lambda on: iter(()))
    {check}
"""


def folder(tmp_path: Path, *titles: str, check: str = "step.check(lambda seen: [])") -> Path:
    (tmp_path / "README.md").write_text("# Lab\n\n## 1. Ask\n\n## 2. Look\n")
    (tmp_path / "lab.py").write_text(CODE.format(titles=titles, check=check))
    return tmp_path


def test_every_lab_of_the_project_loads_with_prose_for_each_step() -> None:
    assert "01-socket-lb" in available()
    for name in available():
        lab = load(name)
        assert lab.minutes
        assert lab.prose.intro
        assert lab.prose.closing
        assert all(section.why and section.typed for section in lab.prose.sections)


@pytest.mark.parametrize("name", available())
def test_a_labs_own_code_is_short(name: str) -> None:
    """It is claims, mostly: what several share is the engine's."""
    assert len((LABS / name / "lab.py").read_text().splitlines()) <= 150


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", available())
def test_what_a_readme_says_to_type_is_what_its_steps_do(name: str, language: str) -> None:
    lab = load(name, language)
    on = Scenario(local(lab))
    told = [list(section.typed) for section in lab.prose.sections]
    assert told == [[command.typed for command in step.commands(on)] for step in lab.steps]


def test_the_lab_of_the_page_on_writing_labs_is_one(tmp_path: Path) -> None:
    lab = load_folder(lab_page.write(tmp_path))
    assert [section.typed[0] for section in lab.prose.sections] == [
        step.commands(Scenario(local()))[0].typed for step in lab.steps
    ]


def test_a_lab_is_found_by_its_number_or_its_name() -> None:
    assert load("01").name == load("01-socket-lb").name == "01-socket-lb"


@pytest.mark.parametrize("wanted", ["1", "99", "socket-lb", ""])
def test_another_name_is_refused_with_those_that_there_are(wanted: str) -> None:
    with pytest.raises(LabError, match="there is: 01-socket-lb"):
        load(wanted)


def test_steps_are_bound_to_their_sections(tmp_path: Path) -> None:
    lab = load_folder(folder(tmp_path, "Ask", "Look"))
    assert [lab.section(step).number for step in lab.steps] == [1, 2]


@pytest.mark.parametrize("titles", [("Look", "Ask"), ("Ask",), ("Ask", "Look", "More")], ids=["order", "fewer", "more"])
def test_a_lab_out_of_step_with_its_readme_does_not_load(tmp_path: Path, titles: tuple[str, ...]) -> None:
    with pytest.raises(LabError, match="tells the steps"):
        load_folder(folder(tmp_path, *titles))


def test_a_step_without_a_check_does_not_load(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"lack an act or a check: \['Ask', 'Look'\]"):
        load_folder(folder(tmp_path, "Ask", "Look", check=""))
