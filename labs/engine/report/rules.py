"""Rules of iptables in words, with names for addresses, for readers who do not know its options.

    in_words(Rule("KUBE-SERVICES", "-d 10.96.0.10/32 -p tcp … -j KUBE-SVC-X", 1), cluster)
    "TCP packets to svc/web, port 80: go on in KUBE-SVC-X"

Unknown options are left as they are, so that nothing is lost.
"""

import shlex
from collections.abc import Sequence

from labs.engine.cluster import Cluster
from labs.engine.language import gettext as _
from labs.engine.packet import Endpoint
from labs.engine.report.who import who
from labs.engine.rules import Rule

_SILENT = ("-m", "--comment", "--mode", "--random-fully")  # another option says the same
_MARKS = ("--set-xmark", "--or-mark", "--set-mark", "--xor-mark")
_OF_TARGET = ("--to-destination", "--to-source", *_MARKS)
_WITHOUT_VALUE = ("--random-fully", "--rcheck", "--reap", "--set", "!")


def in_words(rule: Rule, cluster: Cluster) -> str:
    options = _options(rule.text)
    about = [_condition(name, value, cluster) for name, value in options]
    return _("{packets}: {deed}").format(packets=_packets(options) + "".join(about), deed=_deed(options, cluster))


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
    return _("{protocol} packets").format(protocol=protocol.upper()) if protocol else _("packets")


def _condition(name: str, value: str, cluster: Cluster) -> str:
    if name in (*_SILENT, "-p", "-j", "-g", *_OF_TARGET):
        return ""
    plain, negated = name.removeprefix("! "), name.startswith("! ")
    known = _conditions().get(plain, _("with {option}"))
    said = known.format(value=_named(plain, value, cluster), option=f"{plain} {value}".strip())
    if negated:
        return _(" not {condition}").format(condition=said)
    return (_(", {condition}") if plain == "--dport" else _(" {condition}")).format(condition=said)


def _named(option: str, value: str, cluster: Cluster) -> str:
    if option == "--probability":
        return f"{float(value) * 100:.0f}"
    return _network(value, cluster) if option in ("-d", "-s") else value


def _deed(options: Sequence[tuple[str, str]], cluster: Cluster) -> str:
    given = dict(options)
    target = given.get("-j") or given.get("-g", "")
    if target == "DNAT":
        return _("their target becomes {end}").format(end=_end(given.get("--to-destination", ""), cluster))
    if target == "SNAT":
        return _("their source becomes {end}").format(end=_end(given.get("--to-source", ""), cluster))
    if target == "MARK":
        mark = next((value for name, value in options if name in _MARKS), "")
        return _("mark them {mark}").format(mark=mark).strip()
    return _does().get(target) or (_("go on in {chain}").format(chain=target) if target else _("only counted"))


def _does() -> dict[str, str]:
    return {
        "ACCEPT": _("let them pass"),
        "DROP": _("drop them"),
        "REJECT": _("refuse them"),
        "RETURN": _("go back to the chain before"),
        "MASQUERADE": _("their source becomes this node's address"),
    }


def _network(value: str, cluster: Cluster) -> str:
    address, _, length = value.partition("/")
    return who(Endpoint(address), cluster).name if length in ("", "32", "128") else value


def _end(value: str, cluster: Cluster) -> str:
    address, _, port = value.rpartition(":")
    if not port.isdigit():
        return who(Endpoint(value), cluster).name
    end = who(Endpoint(address.strip("[]"), int(port)), cluster)
    return f"{end.name}{end.port} ({value})"


def _conditions() -> dict[str, str]:
    return {
        "-d": _("to {value}"),
        "-s": _("from {value}"),
        "-i": _("that come in by {value}"),
        "-o": _("that go out by {value}"),
        "--dport": _("port {value}"),
        "--sport": _("from port {value}"),
        "--probability": _("drawn with a chance of {value} in 100"),
        "--dst-type": _("to an address of type {value}"),
        "--src-type": _("from an address of type {value}"),
        "--mark": _("marked {value}"),
        "--ctstate": _("of connections in state {value}"),
    }
