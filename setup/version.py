"""Carry the version from socklb/__init__.py, its only place, to the files that state it: `make format`.

    carried(text)       # the text, with this version wherever it names socklb's

The wheel, the bundles and everything that the agent prints read it there themselves.
"""

from __future__ import annotations

import re
from pathlib import Path

from socklb import __version__

ROOT = Path(__file__).resolve().parents[1]
FILES = (
    ".github/ISSUE_TEMPLATE/bug.yml",
    "deploys/helm/Chart.yaml",
    "deploys/kubernetes/cleanup/kustomization.yaml",
    "deploys/kubernetes/kustomization.yaml",
    "docs/operations.md",
    "docs/status.md",
    "images/Containerfile",
    "images/images.toml",
)
NAMED = re.compile(
    r"(^version: |^appVersion: |app\.kubernetes\.io/version: |newTag: |socklb/agent:|socklb "
    r'|image\.version"? ?= ?")\d+\.\d+\.\d+\b',
    re.MULTILINE,
)


def carried(text: str) -> str:
    """Return the text with this version in each place."""
    return NAMED.sub(rf"\g<1>{__version__}", text)


def main() -> None:
    for name in FILES:
        file = ROOT / name
        file.write_text(carried(file.read_text()))


if __name__ == "__main__":
    main()
