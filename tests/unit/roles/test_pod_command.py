"""roles/pods/files/pod.py: the command line; what it does is in tests/cluster/test_pods.py."""

import subprocess
import sys
from pathlib import Path

import pytest

import roles

POD = Path(roles.__file__).parent / "pods" / "files" / "pod.py"


def pod(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-I", POD, *words], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "the following arguments are required: verb"),
        (["exec", "client"], "exec: no command. Example: pod exec client -- ip address"),
        (["exec", "client", "--"], "exec: no command"),
        (["exec", "client", "--hooked", "--", "true"], "unrecognized arguments: --hooked"),
        (["exec", "--", "true"], "the following arguments are required: NAME"),
        (["add"], "the following arguments are required: NAME"),
    ],
)
def test_wrong_usage_is_explained(words: list[str], said: str) -> None:
    done = pod(*words)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_pod_that_is_not_there_is_named() -> None:
    done = pod("exec", "ghost", "--", "true")
    assert done.returncode == 1
    assert "no pod 'ghost' here" in done.stderr
