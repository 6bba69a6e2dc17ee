"""What is asked of a kernel, inside the emulated machine. As each part ends, its result is a line of JSON.

    python -m tests.kernels.inside                  what every kernel is asked
    python -m tests.kernels.inside WORDS            tests of your choice, as pytest takes them

A test may be skipped for a feature that the kernel has not, and for nothing else.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec

from socklb.datapath import features, libbpf
from socklb.tc import programs, tcx

ROOT = Path(__file__).parents[2]
MARK = "RESULT "  # before a result; whatever else is printed is for people
DATAPATH, PACKETS, TC = "tests/datapath/test_{}.py", "tests/packets/test_packets.py", "tests/tc/test_links.py"
VARIANTS = {"socklb.bpf.o": "6.1", "socklb-5.12.bpf.o": "5.12", "socklb-5.10.bpf.o": "5.10"}  # as tests are named
# Enough of each tier to see every program, helper and kind of map at work: an emulated CPU is 20 times slower.
SOCKETS = (
    DATAPATH.format("translation"),
    f"{DATAPATH.format('node_ports')}::TestLoopback",
    f"{DATAPATH.format('choice')}::TestLeastLoaded::test_spreads_connections_that_stay_open_evenly",
    f"{DATAPATH.format('choice')}::TestSessionAffinity::test_is_switched_on_and_off_while_clients_ask",
)
ON_THE_WIRE = (
    f"{PACKETS}::test_external_traffic_policy_local_keeps_the_clients_address_and_stays_on_the_node",
    f"{PACKETS}::test_an_unknown_port_of_a_cluster_ip_is_refused_until_it_is_one[10.96.0.10-a-udp-17]",
    f"{PACKETS}::test_an_unknown_port_of_a_cluster_ip_is_refused_until_it_is_one[fd00:10:96::a-node-tcp-6]",
    f"{PACKETS}::test_source_ranges_let_only_their_clients_pass[2001:db8::1-udp-17]",
    f"{PACKETS}::test_affinity_keeps_a_client_at_its_endpoint_until_that_goes[client-192.0.2.1-tcp-6]",
    f"{PACKETS}::test_an_sctp_init_arrives_rewritten",
    f"{TC}::test_every_packet_meets_them_and_goes_on",
    f"{TC}::test_cleanup_leaves_nothing",
)


class Part(msgspec.Struct):
    """How a part went: `failed` and `skipped` are tests with the reason."""

    name: str
    passed: int = 0
    failed: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    skipped: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    seconds: float = 0


class Facts(msgspec.Struct):
    """What this kernel is, and gets."""

    release: str
    hooks: str  # object files
    packets: str
    attached_by: str


def main(words: Sequence[str]) -> None:
    os.chdir(ROOT)
    subprocess.run(["modprobe", "--all", "veth", "bridge", "br_netfilter"], check=False)
    if words:
        tell("part", tests("asked", *words))
        return
    tell("facts", facts())
    variant = VARIANTS[features.object_for(features.missing())]
    others = " and ".join(f"not {other}]" for other in VARIANTS.values() if other != variant)
    tell("part", doctor())
    tell("part", tests("sockets", *SOCKETS, "-k", others))
    tell("part", tests("packets", *ON_THE_WIRE))
    tell("part", tests("agent", "tests/packets/test_agent.py"))


def tell(kind: str, what: msgspec.Struct) -> None:
    print(MARK + json.dumps({"kind": kind, **msgspec.to_builtins(what)}), flush=True)


def facts() -> Facts:
    attached_by = "tcx" if tcx.FEATURE.there() else "clsact"
    hooks = features.object_for(features.missing())
    return Facts(platform.release(), hooks, next(loadable(programs.OBJECT_FILES), "none"), attached_by)


def loadable(files: tuple[str, ...]) -> Iterator[str]:
    """Yield those that the verifier takes."""
    for file in files:
        with libbpf.Object.open(ROOT / "socklb/datapath" / file) as opened:
            try:
                opened.load()
            except libbpf.BpfError as error:
                print(error, flush=True)
                continue
            yield file


def doctor() -> Part:
    """Have `make doctor`: it says what is missing, and must miss nothing."""
    began = time.monotonic()
    said = subprocess.run(["setup/doctor.sh"], capture_output=True, text=True, check=False)
    print(said.stdout, flush=True)
    missing = {line.split()[1]: line for line in said.stdout.splitlines() if line.startswith("MISSING")}
    found = sum(line.startswith(("ok", "NOTE")) for line in said.stdout.splitlines())
    return Part("doctor", found, missing, seconds=time.monotonic() - began)


def tests(name: str, *words: str) -> Part:
    """Run tests; say how they went."""
    began = time.monotonic()
    environment = {**os.environ, "SOCKLB_TEST_WAIT": "120", "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("CI", None)  # where every skip is a failure
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        argv = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "--color=no",
            "-p",
            "no:cacheprovider",
            f"--junit-xml={report.name}",
            *words,
        ]
        subprocess.run(argv, env=environment, check=False)
        part = outcome(name, Path(report.name).read_text())
    part.seconds = time.monotonic() - began
    return part


def outcome(name: str, report: str) -> Part:
    """Read a report of JUnit's kind. No test at all is a failure."""
    part = Part(name)
    for case in ET.fromstring(report).iter("testcase") if report else ():
        test = f"{case.get('classname')}::{case.get('name')}"
        bad, skipped = case.find("failure"), case.find("skipped")
        bad = case.find("error") if bad is None else bad
        reason = "" if skipped is None else skipped.get("message", "")
        if bad is not None:
            part.failed[test] = bad.get("message", "")
        elif skipped is None:
            part.passed += 1
        elif re.search(r"\(Linux \d+\.\d+\)", reason):
            part.skipped[test] = reason
        else:
            part.failed[test] = f"skipped, and not for a feature of kernels: {reason}"
    if not part.passed and not part.failed:
        part.failed["all"] = "no test ran"
    return part


if __name__ == "__main__":
    main(sys.argv[1:])
