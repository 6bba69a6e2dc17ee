"""Captures as tshark reads them."""

import shutil
import subprocess
from pathlib import Path

import pytest


def tshark(file: Path, *fields: str) -> list[list[str]]:
    """Return these fields of each packet."""
    if shutil.which("tshark") is None:
        pytest.skip("no tshark. Next: setup/packages.sh setup/apt-browser.txt")
    words = ["tshark", "-n", "-r", str(file), "-T", "fields", *(word for field in fields for word in ("-e", field))]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return [line.split("\t") for line in done.stdout.splitlines()]
