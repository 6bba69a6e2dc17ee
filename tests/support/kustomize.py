"""What `kubectl kustomize` makes of a folder, and both it and Helm's objects without what only one of them adds."""

import copy
import re
import subprocess
from typing import Any

from tests.support.cluster import ROOT
from tests.support.helm import by_name


def kustomized(folder: str) -> dict[tuple[str, str], Any]:
    """Return every object of a folder by its kind and name."""
    programs = subprocess.run([ROOT / "images/programs.sh", "kubectl"], stdout=subprocess.PIPE, text=True, check=True)
    words = [f"{programs.stdout.strip()}/kubectl", "kustomize", ROOT / folder]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return by_name(done.stdout)


def alike(objects: dict[tuple[str, str], Any]) -> dict[tuple[str, str], Any]:
    """Return them by names without kustomize's hash of a ConfigMap, and without Helm's hooks and its own hash."""
    return {(one["kind"], one["metadata"]["name"]): one for one in map(plain, objects.values())}


def plain(original: Any) -> Any:
    one = copy.deepcopy(original)
    if one["kind"] == "ConfigMap":
        one["metadata"]["name"] = re.sub(r"-[a-z0-9]{10}$", "", one["metadata"]["name"])
    without(one["metadata"], "helm.sh/")
    if one["kind"] == "DaemonSet":
        template = one["spec"]["template"]
        without(template["metadata"], "socklb.io/configuration")
        for volume in template["spec"]["volumes"]:
            if "configMap" in volume:
                volume["configMap"]["name"] = re.sub(r"-[a-z0-9]{10}$", "", volume["configMap"]["name"])
    return one


def without(metadata: dict[str, Any], prefix: str) -> None:
    """Remove the annotations that begin so."""
    left = {name: text for name, text in metadata.pop("annotations", {}).items() if not name.startswith(prefix)}
    if left:
        metadata["annotations"] = left
