"""`socklb flow list`: list each connection that packets of this node are translated for. A row has the client, the
frontend, the backend, the address that the backend sees, the state, and the seconds since the first and last packet.

socklb flow list                                # every flow
socklb flow list --service shop/web --protocol tcp
socklb flow list --client 192.0.2.7 --json
"""

from __future__ import annotations

import argparse
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from socklb import config
from socklb.cli import output
from socklb.cli.output import Verbs
from socklb.cli.usage import usage
from socklb.datapath.pins import Pins
from socklb.desired.names import names_of_frontends
from socklb.errors import SocklbError
from socklb.model import ANY4, ANY6, PROTOCOLS, Frontend, endpoint_text, frontend_text, is_ipv4, pack_address
from socklb.tc.flows import Shown, flows

ICMP = {socket.IPPROTO_ICMP: "ICMP", socket.IPPROTO_ICMPV6: "ICMPv6"}
NAMES = {**PROTOCOLS, **ICMP}


def add(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    """Add the verb."""
    verb = verbs.add_parser("flow", help="show what is translated on the packet")
    acts = verb.add_subparsers(metavar="ACT", required=True)
    act = acts.add_parser(
        "list", parents=[common], help="list connections that packets are translated for", **usage(__doc__)
    )
    act.add_argument("--service", metavar="NAMESPACE/NAME", help="only those to this Service")
    act.add_argument("--client", type=_address, metavar="ADDRESS", help="only those of this client")
    act.add_argument("--backend", type=_address, metavar="ADDRESS", help="only those that this address answers")
    act.add_argument("--protocol", type=_protocol, metavar="PROTOCOL", help="only tcp, udp, sctp, icmp or icmpv6")
    act.add_argument("--json", action="store_true", help="print JSON")
    act.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print a line a flow."""
    settings = config.load(arguments.config)
    pins = Pins(Path(settings.bpffs))
    if not pins.tc_maps.is_dir():
        hint = "set packet_path = true and start the agent"
        raise SocklbError("no flows of ours on this node", value=settings.bpffs, hint=hint)
    rows = list(_rows(pins, names_of_frontends(settings), arguments))
    if arguments.json:
        output.json(rows)
        return 0
    lines = [("PROTOCOL", "CLIENT", "FRONTEND", "BACKEND", "SEEN AS", "STATE", "AGE", "IDLE", "SERVICE")]
    output.columns([*lines, *map(_line, rows)])
    return 0


def _rows(pins: Pins, names: Mapping[str, str], wanted: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for flow in flows(pins):
        service = _service(flow, names)
        if (
            wanted.service in (None, service)
            and wanted.client in (None, flow.client.address)
            and wanted.backend in (None, flow.backend.address)
            and wanted.protocol in (None, flow.protocol)
        ):
            yield {
                "protocol": NAMES.get(flow.protocol, str(flow.protocol)),
                "client": endpoint_text(flow.client),
                "frontend": None if flow.plain else endpoint_text(flow.frontend),
                "backend": endpoint_text(flow.backend),
                "seen_as": endpoint_text(flow.node) if flow.node else None,
                "state": flow.state,
                "age": round(flow.age),
                "idle": round(flow.idle),
                "service": service,
            }


def _service(flow: Shown, names: Mapping[str, str]) -> str | None:
    if flow.plain:
        return None
    asked = Frontend(*flow.frontend, flow.protocol)
    anywhere = asked._replace(address=ANY4 if is_ipv4(asked.address) else ANY6)
    return names.get(frontend_text(asked)) or names.get(frontend_text(anywhere))


def _line(row: Mapping[str, Any]) -> tuple[str, ...]:
    shown = {**row, "age": f"{row['age']} s", "idle": f"{row['idle']} s"}
    return tuple(str(value or "-") for value in shown.values())


def _address(text: str) -> bytes:
    try:
        return pack_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _protocol(text: str) -> int:
    numbers = {name.lower(): number for number, name in NAMES.items()}
    if text.lower() not in numbers:
        raise argparse.ArgumentTypeError(f"no protocol ({text!r}); valid: {', '.join(numbers)}")
    return numbers[text.lower()]
