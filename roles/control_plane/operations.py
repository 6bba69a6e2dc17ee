"""kubeadm as operations: done once, begun again after an interrupted attempt, never on a cluster that serves."""

import shlex
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from roles.control_plane.facts import BEGUN, ApiAnswers, Release, Stage
from roles.kubectl import KUBECTL
from roles.machine.paths import SNAPSHOTS
from roles.templates import render

HERE = Path(__file__).parent
SAVE = HERE / "files" / "save.sh"
KEPT = 5  # snapshots of etcd
# First end a kubeadm that an interrupted run has left running.
RESET = "{ pkill -x kubeadm && sleep 1; kubeadm reset --force --cleanup-tmp-dir; }"
LOG = "/var/log/socklb-kubeadm.log"
PATIENCE = 120  # seconds for an API server after a reboot


@operation()
def initialised(values: Mapping[str, Any]) -> Generator[StringCommand, None, None]:
    """Make a control plane, or wait for the existing one."""
    stage = host.get_fact(Stage)
    if stage == "done":
        if host.get_fact(ApiAnswers):
            host.noop("the API server answers")
        else:
            yield StringCommand(until_it_answers())
        return
    if stage == "begun":
        yield StringCommand(f"{RESET} >{LOG} 2>&1")
    # Only now: a bare machine has no kubeadm before the operations above have run.
    version = host.get_fact(Release)
    config = render(HERE, "init.yaml", version=version, **values)
    yield from kubeadm("init --skip-phases addon/kube-proxy --skip-token-print", config)


@operation(is_idempotent=False)
def saved(node: str) -> Generator[StringCommand, None, None]:
    """Save what etcd has, as a file on this machine; the newest KEPT of them stay."""
    yield StringCommand(shlex.join(["sh", "-c", SAVE.read_text(), "save.sh", node, SNAPSHOTS, str(KEPT)]))


def kubeadm(words: str, config: str) -> Generator[StringCommand, None, None]:
    """Yield the command that runs kubeadm with a configuration that may contain a token: on standard input, so that no
    process list shows it.
    """
    file = "/run/socklb/kubeadm.yaml"
    yield StringCommand(f"mkdir -p /run/socklb && umask 077 && cat >{file} && touch {BEGUN}", _stdin=config)
    yield StringCommand(f"{{ {logged(f'kubeadm {words} --config {file}')}; }} || {{ rm -f {file}; exit 1; }}")
    yield StringCommand(f"rm -f {file} {BEGUN}")


def logged(command: str) -> str:
    """Return the command with its output in LOG, of which the end is shown if it fails."""
    return f"{command} >{LOG} 2>&1 || {{ echo 'kubeadm failed; the end of {LOG}:' >&2; tail -n 20 {LOG} >&2; false; }}"


def until_it_answers(seconds: int = 1) -> str:
    """Return a command that waits until the API server answers, and has answered for so many seconds on end."""
    told = shlex.quote(
        f"the API server of this machine did not answer in {PATIENCE} s. Next: journalctl -u kubelet -n 50, and "
        "crictl ps -a or ctr --namespace k8s.io containers list"
    )
    ask = f"{KUBECTL} get --raw /readyz >/dev/null 2>&1"
    counts = f"if {ask}; then n=$((n + 1)); else n=0; fi; [ $n -lt {seconds} ] || exit 0"
    return f"n=0; for i in $(seq {PATIENCE}); do {counts}; sleep 1; done; echo {told} >&2; exit 1"
