"""Which pods answered: from the connections of a capture, or from the output of a command.

answers(seen)                                  the pods that answered the client, one after the other
yield pod_answers(seen, "a pod answers")       a claim: one of the Service's pods answered `curl`
"""

from labs.engine import claims
from labs.engine.evidence import Seen
from labs.engine.packet import Endpoint


def answers(seen: Seen, capture: str = "pod", asked: Endpoint | None = None) -> list[str]:
    """Return who answered the connections of a capture, in order; only connections with this endpoint, if given."""
    found = seen.capture(capture).conversations
    return [seen.on.pod_called(one.reply) for one in found if one.reply and asked in (None, one.server)]


def pod_answers(seen: Seen, must: str, by: str = "curl") -> claims.Claim:
    return claims.within(must, [seen.on.pod_called(seen.said(by).out)], seen.on.backends())
