"""Times that a step measured, stored so that the report can draw them.

env.record(Latencies("connect() to the first byte", {"in iptables": [212.0, …], "in the socket": [61.0, …]}))
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Latencies:
    what: str
    microseconds: dict[str, list[float]]  # the samples, by what was measured
