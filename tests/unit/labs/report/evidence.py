"""A lab of three steps and its evidence, written by hand: a control, the step that builds on it, and one with figures.

What the page must not trust stands in it: markup in a command's output and in a claim.
"""

import struct
from pathlib import Path

from labs.engine.capture import Capture
from labs.engine.claims import Claim, Verdict
from labs.engine.evidence import Evidence
from labs.engine.latency import Latencies
from labs.engine.model import Lab
from labs.engine.places import Output
from labs.engine.prose import parse
from labs.engine.rules import Rule
from tests.unit.labs.clusters import local
from tests.unit.labs.frames import ACK, SYN, pcap, tcp, udp

README = """# Bench <b>

See [the design](../design.md) and [the RFC](https://www.rfc-editor.org/rfc/rfc793).

### What you will learn

| a | b |
|---|---|
| 1 | 2 |

```mermaid
flowchart LR
```

## 1. Ask

Why **ask**.

```console
$ lab exec client --unhooked -- curl http://10.96.0.10/
```

## 2. Look

```console
$ lab exec client -- curl http://10.96.0.10/
```

What it means.

## 3. Measure

```console
$ lab exec client -- true
```

## What you have seen

Closing words.
"""
CLIENT, WEB_2, SERVICE, NODE_2 = "10.244.1.2", "10.244.2.3", "10.96.0.10", "172.18.0.4"
RULES = [
    Rule("PREROUTING", "-j KUBE-SERVICES", 1),
    Rule("KUBE-SERVICES", f"-d {SERVICE}/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-X", 1),
    Rule("KUBE-SEP-Y", f"-p tcp -m tcp -j DNAT --to-destination {WEB_2}:8080", 1),
]


def a_lab(folder: Path) -> Lab:
    lab = Lab(minutes=1)
    lab.folder, lab.prose = folder / "99-bench", parse(README)
    ask = lab.step("Ask")
    lab.step("Look", builds_on=[ask])
    lab.step("Measure")
    return lab


def exchange(server: str, port: int) -> bytes:
    there = tcp(CLIENT, 40000, server, port, SYN), tcp(CLIENT, 40000, server, port, ACK, b"GET /")
    return pcap(there[0], tcp(server, port, CLIENT, 40000, SYN | ACK), there[1])


def carried() -> bytes:
    """A packet of flannel's UDP backend, from node to node, with another one in it."""
    inner = tcp(CLIENT, 40000, WEB_2, 8080, SYN)[14:]  # without Ethernet
    return pcap(udp("172.18.0.3", 8285, NODE_2, 8285, inner))


def record(lab: Lab, folder: Path) -> Evidence:
    """Record all three steps: the second has a claim that is false."""
    evidence = Evidence(folder / lab.name)
    evidence.snapshot(local())
    step(evidence, "ask", "pod", exchange(SERVICE, 80))
    step(evidence, "look", "pod", exchange(WEB_2, 8080), Verdict.FALSE)
    step(evidence, "look", "wire", carried(), Verdict.FALSE, place="w2")
    samples = {"in iptables": [200.0, 210.0, 260.0], "in the socket": [60.0, 61.0, 70.0]}
    evidence.of("measure").record(Latencies("connect()", samples))
    evidence.add("measure", "facts", "EarlierRules", {"rules": [rule.__dict__ for rule in RULES]})
    evidence.add("measure", "facts", "Passed", {"at": {"w1": [rule.__dict__ for rule in RULES]}})
    evidence.add("measure", "facts", "Flows", {"at": {"w1": ["TCP </pre>"]}})
    finish(evidence, "measure")
    return evidence


def step(
    evidence: Evidence, key: str, look: str, data: bytes, verdict: Verdict = Verdict.TRUE, place: str = "client"
) -> None:
    seen = evidence.of(key)
    seen.pcap(look).parent.mkdir(parents=True, exist_ok=True)
    seen.pcap(look).write_bytes(data)
    seen.keep(look, Capture(place, "eth0", "tcp", f"pcaps/{key}.{look}.pcap", "lab exec client -- tcpdump", 0, ()))
    seen.typed([Output("lab exec client -- curl", 7, "<script>alert(1)</script>\n", "", "client", ("curl",))])
    finish(evidence, key, verdict)


def finish(evidence: Evidence, key: str, verdict: Verdict = Verdict.TRUE) -> None:
    evidence.of(key).done()
    evidence.of(key).judged([Claim("it holds & <i>", "1 of 3", verdict)], 0.5)


def cut_off(data: bytes) -> bytes:
    """As it stands while tcpdump writes."""
    return data[: -struct.calcsize("I")]
