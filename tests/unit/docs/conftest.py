"""The site of the documents, as `make docs` builds it: once for all tests, and without a network."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def site() -> Path:
    subprocess.run([ROOT / "setup/python.sh", "docs"], check=True)
    alone = ["unshare", "--net"] if os.geteuid() == 0 else []
    words = [*alone, "make", "-o", "setup", "docs"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return ROOT / "build/site"
