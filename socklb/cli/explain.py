"""`socklb explain`: show what the hooks and the packet path would do with a new connection, and why. Each step has the
table, the key and the value; then come the verdict and its reason, and where the tables differ from what the API wants.

socklb explain 10.96.0.10:80                            # asked by this command itself, over TCP
socklb explain 10.96.0.53:53/udp --from shop/web-0      # by a pod of this node
socklb explain 172.18.0.3:32000 --from outside
"""

from __future__ import annotations

import argparse
import re
from typing import Any

from socklb import config
from socklb.cli import output
from socklb.cli.output import Verbs
from socklb.cli.usage import usage
from socklb.explain.asker import VALID
from socklb.explain.explanation import Explanation, explain
from socklb.model import PROTOCOLS, Frontend, endpoint_text, frontend_text, pack_address

ASKED = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<four>[^:/\[\]]+)):(?P<port>[0-9]{1,5})(?:/(?P<protocol>\w+))?")


def add(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    """Add the verb."""
    verb = verbs.add_parser(
        "explain", parents=[common], help="say what would become of a connection, and why", **usage(__doc__)
    )
    verb.add_argument(
        "asked", type=asked, metavar="ADDRESS:PORT[/PROTOCOL]", help="the protocol is tcp (the default), udp or sctp"
    )
    verb.add_argument(
        "--from", dest="who", default="", metavar="WHO", help=f"{VALID}; the default is this command itself"
    )
    verb.add_argument("--json", action="store_true", help="print JSON")
    verb.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the steps and the verdict."""
    found = explain(config.load(arguments.config), arguments.asked, arguments.who)
    if arguments.json:
        output.json(_document(arguments.asked, found))
        return 0
    output.say(f"{frontend_text(arguments.asked)}, asked for by {found.asker.text}\n")
    output.columns([("AT", "TABLE", "KEY", "FOUND"), *found.steps])
    output.say(f"\n{found.sentence}")
    if found.host_routing:
        output.say(found.host_routing)
    _say_differences(found)
    return 0


def _say_differences(found: Explanation) -> None:
    if found.differences is None:
        output.say("No agent runs: whether the API wants it so is not known; names are as the last one knew them.")
    for text in found.differences or ():
        output.say(f"Not as the API wants it: {text}")


def _document(wanted: Frontend, found: Explanation) -> dict[str, Any]:
    verdict = found.verdict
    return {
        "asked": frontend_text(wanted),
        "from": found.asker.text,
        "steps": [step._asdict() for step in found.steps],
        "verdict": verdict.outcome,
        "by": verdict.by,
        "why": verdict.why,
        "backends": [endpoint_text(backend) for backend in verdict.backends],
        "chosen": verdict.chosen,
        "service": found.service or None,
        "sentence": found.sentence,
        "host_routing": found.host_routing or None,
        "differences": found.differences,
    }


def asked(text: str) -> Frontend:
    """Read what is asked for.

    Raises:
        ArgumentTypeError: it is no address with a port.
    """
    found, numbers = ASKED.fullmatch(text), {name.lower(): number for number, name in PROTOCOLS.items()}
    protocol = (found["protocol"] or "tcp").lower() if found else ""
    if not found or not 1 <= int(found["port"]) <= 65535 or protocol not in numbers:
        valid = "10.96.0.10:80, [fd00::a]:53/udp; protocols: " + ", ".join(numbers)
        raise argparse.ArgumentTypeError(f"no address with a port ({text!r}); valid: {valid}")
    try:
        return Frontend(pack_address(found["six"] or found["four"]), int(found["port"]), numbers[protocol])
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
