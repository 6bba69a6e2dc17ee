"""The lab that docs/labs.md shows, as a folder."""

import re
from pathlib import Path

from tests.support.cluster import ROOT

PAGE = ROOT / "docs" / "labs.md"


def write(parent: Path) -> Path:
    """Write README.md and lab.py as they stand in the page, and return their folder."""
    text = PAGE.read_text()
    readme, *_ = re.findall(r"^````markdown\n(.*?)^````$", text, re.MULTILINE | re.DOTALL)
    (code,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    folder = parent / "13-example"
    folder.mkdir()
    (folder / "README.md").write_text(readme)
    (folder / "lab.py").write_text(code)
    return folder
