"""Helm on the chart of deploys/helm: without a cluster, or on kind's.

rendered({"apiServers": ["https://192.0.2.10:6443"]})     every object by kind and name
helm("lint", str(CHART))
"""

import functools
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

from inventory.place import Text
from tests.support.cluster import ROOT

CHART = ROOT / "deploys" / "helm"
SERVERS = {"apiServers": ["https://192.0.2.10:6443"]}  # the one value that must be given


@functools.cache
def program() -> Path:
    """The program helm, built from its Go module where it was not: some 90 s, once."""
    done = subprocess.run([ROOT / "images" / "programs.sh", "helm"], stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.strip()) / "helm"


def helm(*words: str | Path, values: dict[str, Any] | None = None, through: tuple[Path, ...] = ()) -> Text:
    """Run it with these values, perhaps through another program; nothing of the user's own Helm is read."""
    given = ("--values", "-") if values is not None else ()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HELM_")}
    return subprocess.run(
        [*through, program(), *words, *given],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        check=False,
        env={**environment, "HELM_CONFIG_HOME": "/nonexistent", "HELM_DATA_HOME": "/nonexistent"},
    )


def text_of(values: dict[str, Any], namespace: str = "kube-system") -> str:
    done = helm("template", "socklb", CHART, "--namespace", namespace, values=values)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rendered(values: dict[str, Any], namespace: str = "kube-system") -> dict[tuple[str, str], Any]:
    """Return every object that a release with these values has, hooks too, by its kind and name."""
    return by_name(text_of(values, namespace))


def by_name(text: str) -> dict[tuple[str, str], Any]:
    documents = [document for document in yaml.safe_load_all(text) if document]
    found = {(one["kind"], one["metadata"]["name"]): one for one in documents}
    assert len(found) == len(documents)
    return found
