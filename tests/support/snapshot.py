"""Everything of a machine that a provisioning changes, to compare: files, processes, the network, the kernel.

before = snapshot(machine)
…
assert differences(before, snapshot(machine)) == []

What any use of a machine moves, such as logs, is not in it: whole_machine.py.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from tests.support.machines import Machine

Snapshot = Mapping[str, str]  # kind and name -> how it is
SCRIPT = Path(__file__).with_name("whole_machine.py")


def snapshot(machine: Machine) -> Snapshot:
    """At the console: an SSH session would be a process of its own."""
    said: Snapshot = json.loads(machine.output("python3", "-", given=SCRIPT.read_text(), timeout=180))
    return said


def differences(before: Snapshot, after: Snapshot) -> list[str]:
    """What came, went or changed, one line each."""
    gone = [f"- {key}: {before[key]}" for key in before.keys() - after.keys()]
    come = [f"+ {key}: {after[key]}" for key in after.keys() - before.keys()]
    both = before.keys() & after.keys()
    changed = [f"! {key}: {before[key]} -> {after[key]}" for key in both if before[key] != after[key]]
    return sorted(gone + come + changed, key=lambda line: line[2:])
