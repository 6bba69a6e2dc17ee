"""What the packet path of this node is to serve. Pure: it knows no nftables.

    touched = wanted.update(difference)
    for frontend in touched:
        wanted.written(frontend, {})

A NodePort is a frontend at each address of this node; a Service that has such an address and port for itself goes
before.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import NamedTuple

from socklb.packets.chains import family_of
from socklb.packets.elements import OUTSIDE_TOKENS, Tokens
from socklb.serving import ANY4, ANY6, Addresses, Backend, Difference, Frontend, Serving

NO_TOKENS: Tokens = {}


class Written(NamedTuple):
    """What the elements of a frontend are made of; the tokens are its own, and stay as they are."""

    serving: Serving
    tokens: Tokens


class Wanted:
    """Frontends, addresses, and the tokens of backends with session affinity."""

    def __init__(self) -> None:
        self.frontends: dict[Frontend, Serving] = {}
        self.addresses = Addresses()
        self._tokens: dict[Frontend, dict[tuple[Backend, bool], int]] = {}
        self._last_token = 0

    def update(self, difference: Difference) -> set[Frontend]:
        """Take over a difference; give the frontends, each with an address of its own, that it is about."""
        own = self.addresses.own
        moved = difference.add.own | difference.remove.own
        for frontend in difference.delete:
            self.frontends.pop(frontend, None)
        self.frontends.update(difference.put)
        kept = self.addresses.without(difference.remove)
        self.addresses = Addresses(*(had | new for had, new in zip(kept, difference.add, strict=True)))
        touched = difference.put.keys() | difference.delete
        return self._at(touched, own | moved) | (self._at(self._node_ports(), moved) if moved else set[Frontend]())

    def everything(self) -> set[Frontend]:
        """Give all frontends, each with an address of its own."""
        return self._at(self.frontends.keys(), self.addresses.own)

    def serving(self, frontend: Frontend) -> Serving | None:
        """Say how a frontend is served."""
        found = self.frontends.get(frontend)
        if found is None and frontend.address in self.addresses.own:
            found = self.frontends.get(frontend._replace(address=_any(frontend.address)))
        return found

    def written(self, frontend: Frontend, left: Tokens) -> Written | None:
        """Give what the elements of a frontend are made of. `left`: tokens that its clients may have."""
        serving = self.serving(frontend)
        if serving is None or not serving.affinity:
            self._tokens.pop(frontend, None)
        if serving is None:
            return None
        return Written(serving, self._keep_tokens(frontend, serving, left))

    def _keep_tokens(self, frontend: Frontend, serving: Serving, left: Tokens) -> Tokens:
        if not serving.affinity:
            return NO_TOKENS
        before = self._tokens.get(frontend) or left
        self._last_token = max(self._last_token, *(token & ~OUTSIDE_TOKENS for token in before.values()), 0)
        sides = [(backend, False) for backend in serving.backends]
        sides += [(backend, True) for backend in serving.outside or ()]
        self._tokens[frontend] = {side: before.get(side) or self._new_token(outside=side[1]) for side in sides}
        return self._tokens[frontend]

    def _new_token(self, *, outside: bool) -> int:
        self._last_token += 1
        return self._last_token | (OUTSIDE_TOKENS if outside else 0)

    def _node_ports(self) -> set[Frontend]:
        return {frontend for frontend in self.frontends if frontend.address in (ANY4, ANY6)}

    def _at(self, frontends: AbstractSet[Frontend], addresses: frozenset[bytes]) -> set[Frontend]:
        """Give frontends with NodePorts at these addresses of the node."""
        found = {frontend for frontend in frontends if frontend.address not in (ANY4, ANY6)}
        for frontend in frontends - found:
            found |= {frontend._replace(address=a) for a in addresses if _any(a) == frontend.address}
        return found


def _any(address: bytes) -> bytes:
    return ANY4 if family_of(address) == 4 else ANY6
