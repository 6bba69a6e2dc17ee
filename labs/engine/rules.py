"""The chain of iptables rules that a packet passed, found by their counters.

    lab.step(..., before=read_the_counters, observe=follow_the_jumps)     on the client's node
    seen[Passed].rules                             the rules that counted packets since, in the order of the path
    hop(seen, "KUBE-SERVICES", "KUBE-SVC-", must)  a claim: a rule in this chain that jumps to that one was passed

The nat table sees only the first packet of a connection, so each rule on its path counts one packet. Other traffic at
the same time counts as well: `chain(passed, "PREROUTING")` follows the jumps from a hook and leaves the rest out.
`read_rules` and `grown` do the same step by step, for another node or table. Rules of nftables itself, such as those of
kube-proxy's nftables mode, are not read.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from labs.engine import claims
from labs.engine.env import Env
from labs.engine.errors import CannotRunError
from labs.engine.evidence import Seen
from labs.engine.places import at

_RULE = re.compile(r"\[(\d+):(\d+)\] -A (\S+) ?(.*)")
_JUMP = re.compile(r"(?:-j|-g) (\S+)")
NAT = "nat"


@dataclass(frozen=True)
class Rule:
    """A rule of one table, and how many packets it has counted."""

    chain: str
    text: str  # without its chain and counters
    packets: int

    @property
    def target(self) -> str:
        """Return the chain that it jumps to, or its action: DNAT, MARK, MASQUERADE."""
        found = _JUMP.search(self.text)
        return found[1] if found else ""


@dataclass(frozen=True)
class EarlierRules:
    """The rules of the client's node before the reader acted."""

    rules: list[Rule]


@dataclass(frozen=True)
class Passed:
    """The rules that counted packets since, starting at the hook where a pod's packets arrive."""

    rules: list[Rule]


def read_the_counters(env: Env) -> None:
    """Record EarlierRules: for before()."""
    env.record(EarlierRules(read_rules(env, env.on.client_node)))


def follow_the_jumps(env: Env) -> None:
    """Record Passed: for observe()."""
    now = read_rules(env, env.on.client_node)
    env.record(Passed(chain(grown(env.seen[EarlierRules].rules, now), "PREROUTING")))


def hop(seen: Seen, here: str, to: str, must: str, text: str = "") -> claims.Claim:
    """Claim that a rule with this text was passed that jumps from one chain to another (each: how its name begins)."""
    passed = [rule for rule in seen[Passed].rules if rule.chain.startswith(here) and rule.target.startswith(to)]
    found = next((f"{rule.chain} {rule.text}" for rule in passed if text in rule.text), "")
    return claims.true(must, bool(found), found or "no such rule counted a packet")


def read_rules(env: Env, node: str, table: str = NAT, *, family: int = 4) -> list[Rule]:
    """Return the rules of a table in order.

    Raises:
        CannotRunError: the node cannot list them. An empty result would look like "nothing there".
    """
    program = "iptables-save" if family == 4 else "ip6tables-save"
    done = env.ask(at(node, program, "--counters", "--table", table))
    if done.exit:
        raise CannotRunError(f"exit status {done.exit} from:\n  $ {done.typed}\n  {done.err.strip()}")
    return [*parse(done.out)]


def parse(saved: str) -> Iterator[Rule]:
    for line in saved.splitlines():
        if found := _RULE.fullmatch(line.strip()):
            yield Rule(found[3], found[4], int(found[1]))


def grown(before: Sequence[Rule], after: Sequence[Rule]) -> list[Rule]:
    """Return the rules that counted packets in between, with how many. A rule that did not exist before counted from
    zero.
    """
    known = {(rule.chain, rule.text): rule.packets for rule in before}
    counted = [Rule(rule.chain, rule.text, rule.packets - known.get((rule.chain, rule.text), 0)) for rule in after]
    return [rule for rule in counted if rule.packets > 0]


def chain(passed: Sequence[Rule], hook: str) -> list[Rule]:
    """Follow the jumps from a hook's chain through these rules, each where it is jumped to."""
    followed: list[Rule] = []
    for rule in passed:
        if rule.chain == hook and rule not in followed:
            followed += [rule, *chain(passed, rule.target)]
    return followed
