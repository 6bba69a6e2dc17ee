"""Rules of iptables in words, with names for addresses: what a reader who does not know its options can follow.

    in_words(Rule("KUBE-SERVICES", "-d 10.96.0.10/32 -p tcp … -j KUBE-SVC-X", 1), cluster)
    "TCP packets to svc/web, port 80: go on in KUBE-SVC-X"

What it does not know stays as it is written, so that nothing is left out.
"""

import shlex
from collections.abc import Callable, Sequence

from labs.engine.cluster import Cluster
from labs.engine.packet import Endpoint
from labs.engine.report.who import who
from labs.engine.rules import Rule

_DOES = {
    "ACCEPT": "let them pass",
    "DROP": "drop them",
    "REJECT": "refuse them",
    "RETURN": "go back to the chain before",
    "MASQUERADE": "their source becomes this node's address",
    "MARK": "mark them",
}
_SILENT = ("-m", "--comment", "--mode", "--random-fully")  # what they say is said by another option
_WITHOUT_VALUE = ("--random-fully", "--rcheck", "--reap", "--set", "!")


def in_words(rule: Rule, cluster: Cluster) -> str:
    options = _options(rule.text)
    about = [_condition(name, value, cluster) for name, value in options]
    return f"{_packets(options)}{''.join(about)}: {_deed(options, cluster)}"


def _options(text: str) -> list[tuple[str, str]]:
    """Return options with their values; `!` belongs to the name that follows."""
    words, found, negated = shlex.split(text), list[tuple[str, str]](), ""
    while words:
        name = words.pop(0)
        if name == "!":
            negated = "! "
            continue
        has_value = name not in _WITHOUT_VALUE and bool(words)
        found.append((negated + name, words.pop(0) if has_value else ""))
        negated = ""
    return found


def _packets(options: Sequence[tuple[str, str]]) -> str:
    protocol = dict(options).get("-p", "")
    return f"{protocol.upper()} packets" if protocol else "packets"


def _condition(name: str, value: str, cluster: Cluster) -> str:
    if name in (*_SILENT, "-p", "-j", "-g", *_OF_TARGET):
        return ""
    plain, negated = name.removeprefix("! "), name.startswith("! ")
    known = _CONDITIONS.get(plain)
    said = known(value, cluster) if known else f"with {plain} {value}".strip()
    return f" not {said}" if negated else f"{',' if plain.startswith('--dport') else ''} {said}"


def _deed(options: Sequence[tuple[str, str]], cluster: Cluster) -> str:
    given = dict(options)
    target = given.get("-j") or given.get("-g", "")
    if target == "DNAT":
        return f"their target becomes {_end(given.get('--to-destination', ''), cluster)}"
    if target == "SNAT":
        return f"their source becomes {_end(given.get('--to-source', ''), cluster)}"
    if target == "MARK":
        mark = next((f" {value}" for name, value in options if name in _MARKS), "")
        return f"mark them{mark}"
    return _DOES.get(target) or (f"go on in {target}" if target else "only counted")


def _network(value: str, cluster: Cluster) -> str:
    address, _, length = value.partition("/")
    return who(Endpoint(address), cluster).name if length in ("", "32", "128") else value


def _end(value: str, cluster: Cluster) -> str:
    address, _, port = value.rpartition(":")
    if not port.isdigit():
        return who(Endpoint(value), cluster).name
    end = who(Endpoint(address.strip("[]"), int(port)), cluster)
    return f"{end.name}{end.port} ({value})"


def _chance(value: str, _: Cluster) -> str:
    return f"drawn with a chance of {float(value) * 100:.0f} in 100"


_MARKS = ("--set-xmark", "--or-mark", "--set-mark", "--xor-mark")
_OF_TARGET = ("--to-destination", "--to-source", *_MARKS)
_CONDITIONS: dict[str, Callable[[str, Cluster], str]] = {
    "-d": lambda value, cluster: f"to {_network(value, cluster)}",
    "-s": lambda value, cluster: f"from {_network(value, cluster)}",
    "-i": lambda value, _: f"that come in by {value}",
    "-o": lambda value, _: f"that go out by {value}",
    "--dport": lambda value, _: f"port {value}",
    "--sport": lambda value, _: f"from port {value}",
    "--probability": _chance,
    "--dst-type": lambda value, _: f"to an address of type {value}",
    "--src-type": lambda value, _: f"from an address of type {value}",
    "--mark": lambda value, _: f"marked {value}",
    "--ctstate": lambda value, _: f"of connections in state {value}",
}
