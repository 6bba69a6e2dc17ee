"""README's picture: drawn from the figures of docs/benchmarks.md, and from no others."""

import re
from xml.etree import ElementTree as ET

import pytest

from setup.picture import DARK, FILES, LIGHT, PAGE, PICTURES, ROOT, WAYS, drawn, figures

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("name", FILES)
def test_it_is_what_the_figures_give(name: str) -> None:
    found = (PICTURES / name).read_text()
    assert found == drawn(PAGE.read_text(), FILES[name]), (
        f"docs/pictures/{name} is older than the figures: `make format`"
    )


def test_the_figures_are_those_of_the_row_with_ten_thousand_services() -> None:
    row = "| 9 µs | 1 ± 0 | 1.201 ± 0.009 | 1.098 ± 0.012 | - | 1.420 ± 0.012 | 11.002 ± 0.012 | 1.20 | 1.06 |  |"
    begin = r"(\| \*\*outside to NodePort, pod here\*\* .*\n\| TCP connect, p50 ).*"
    read = figures(
        re.sub(begin, rf"\1{row}", PAGE.read_text(), count=1), "outside to NodePort, pod here", "TCP connect, p50"
    )
    assert read["socklb, as deployed"] == 1.201
    assert read["nftables rules"] == 1.42
    assert read["iptables rules"] == 11.002


def test_another_figure_gives_another_picture() -> None:
    text = PAGE.read_text()
    shown = figures(text, "pod to pod, same node", "TCP connect, p50")["nftables rules"]
    assert drawn(text, LIGHT).count("+77 %") == 0
    assert drawn(text.replace(f"{shown:.3f} ±", "1.774 ±", 1), LIGHT).count("+77 %") == 1


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_each_bar_has_its_number_and_stays_within_the_picture(theme: dict[str, object]) -> None:
    picture = ET.fromstring(drawn(PAGE.read_text(), theme))
    _, _, width, height = map(float, picture.attrib["viewBox"].split())
    numbers = [text for text in picture.iter(f"{SVG}text") if re.fullmatch(r"\+[\d,.]+ %", text.text or "")]
    assert len(numbers) == len(WAYS) * 2 * 3
    assert all(float(one.attrib["x"]) < width - 60 and float(one.attrib["y"]) < height for one in numbers)
    assert picture.find(f"{SVG}title") is not None


@pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md"])
def test_both_readmes_show_it_as_the_page_is_light_or_dark(readme: str) -> None:
    text = (ROOT / readme).read_text()
    assert (
        f'media="(prefers-color-scheme: dark)" srcset="docs/pictures/{next(n for n in FILES if "dark" in n)}"' in text
    )
    assert f'src="docs/pictures/{next(n for n in FILES if "light" in n)}"' in text
