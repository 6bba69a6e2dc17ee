"""The positions of arrows in a packet ladder: a column for each name, a row for each packet, time downwards.

A name may have several addresses, for example a pod's of IPv4 and of IPv6; a node's own address and a NodePort on it
are two columns, because labs distinguish them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from labs.engine.cluster import Cluster
from labs.engine.ladder import FOLD
from labs.engine.language import gettext as _
from labs.engine.packet import Packet
from labs.engine.report.who import Kind, Who, what, who

COLUMN, LEFT, EDGE, HEAD = 210.0, 52.0, 62.0, 58.0
ROW, CARRIED = 36.0, 18.0


@dataclass(frozen=True)
class Column:
    name: str
    kind: Kind
    called: str
    x: float


@dataclass(frozen=True)
class Arrow:
    y: float
    start: float
    end: float
    ms: str
    source: str  # the port
    target: str
    what: str
    carried: str
    to_service: bool  # one of its ends is a Service's address

    @property
    def middle(self) -> float:
        return (self.start + self.end) / 2

    @property
    def to_right(self) -> bool:
        return self.start <= self.end


@dataclass(frozen=True)
class Ladder:
    columns: Sequence[Column]
    arrows: Sequence[Arrow]
    width: float
    height: float
    left_out: int

    @property
    def asks_services(self) -> bool:
        return any(arrow.to_service for arrow in self.arrows)

    @property
    def told(self) -> str:
        """Return the drawing in a sentence, for readers who do not see it."""
        names = ", ".join(f"{column.called} {column.name}".strip() for column in self.columns)
        count = _("1 packet") if len(self.arrows) == 1 else _("{count} packets").format(count=len(self.arrows))
        told = (
            _("{packets} between {names}; {left} more are not drawn.")
            if self.left_out
            else _("{packets} between {names}.")
        )
        return told.format(packets=count, names=names, left=self.left_out)


def ladder(packets: Sequence[Packet], cluster: Cluster, fold: int = FOLD) -> Ladder:
    start = _start(packets, cluster, fold)
    drawn = packets[start : start + fold]
    ends = [end for packet in drawn for end in (who(packet.source, cluster), who(packet.target, cluster))]
    keys = [*dict.fromkeys((end.name, end.kind, end.called) for end in ends)]
    columns = {key[:2]: Column(*key, LEFT + EDGE + COLUMN * at) for at, key in enumerate(keys)}
    arrows: list[Arrow] = []
    y = HEAD
    for packet in drawn:
        y += ROW + (CARRIED if packet.inner else 0)
        arrows.append(_arrow(packet, cluster, columns, y - (CARRIED if packet.inner else 0), drawn[0].time))
    width = LEFT + 2 * EDGE + COLUMN * max(0, len(columns) - 1)
    return Ladder([*columns.values()], arrows, width, y + 14, len(packets) - len(drawn))


def _start(packets: Sequence[Packet], cluster: Cluster, fold: int) -> int:
    """Return the first packet to draw: in a long capture, the first with a Service's address, if any has one."""
    asked = (at for at, packet in enumerate(packets) if _asks_a_service(packet, cluster))
    first = next(asked, 0)
    return first if first >= fold else 0


def _asks_a_service(packet: Packet, cluster: Cluster) -> bool:
    return Kind.SERVICE in (who(packet.source, cluster).kind, who(packet.target, cluster).kind)


def _arrow(packet: Packet, cluster: Cluster, columns: dict[tuple[str, Kind], Column], y: float, began: float) -> Arrow:
    source, target = who(packet.source, cluster), who(packet.target, cluster)
    return Arrow(
        y=y,
        start=columns[source.name, source.kind].x,
        end=columns[target.name, target.kind].x,
        ms=f"{(packet.time - began) * 1000:.2f}",
        source=source.port,
        target=target.port,
        what=sized(packet),
        carried=_carried(packet.inner, cluster) if packet.inner else "",
        to_service=Kind.SERVICE in (source.kind, target.kind),
    )


def sized(packet: Packet) -> str:
    """Return a packet's kind and size in a few characters, without words."""
    return what(packet).replace(" bytes", " B")


def _carried(packet: Packet, cluster: Cluster) -> str:
    return f"{_short(who(packet.source, cluster))} → {_short(who(packet.target, cluster))} {packet.note}".strip()


def _short(end: Who) -> str:
    return f"{end.name}{end.port}"
