"""Packets as a ladder of at most 80 columns: names for addresses, one line per packet, and a legend below.

#     ms  from             to            what     bytes
1   0.00  client:42880  →  web-2:8080    SYN          0
"""

import textwrap
from collections.abc import Mapping, Sequence

from labs.engine.packet import Endpoint, Packet

WIDTH = 80
FOLD = 12  # a whole small HTTP exchange, with its closing, is 10 to 12 packets

Names = Mapping[str, str]  # address -> its name for readers


def name(endpoint: Endpoint, names: Names) -> str:
    """Return `web-2:8080`; an address without a name stays as it is."""
    known = names.get(endpoint.address)
    if known is None:
        return str(endpoint)
    return known if endpoint.port is None else f"{known}:{endpoint.port}"


def ladder(packets: Sequence[Packet], names: Names, fold: int = FOLD) -> list[str]:
    if not packets:
        return ["no packets"]
    rows = [_row(packet, packets[0].time, names) for packet in packets[:fold]]
    left = max(len("from"), *(len(row[1]) for row in rows))
    right = max(len("to"), *(len(row[2]) for row in rows))
    what = max(len("what"), *(len(row[3]) for row in rows))
    lines = [f"{'#':>2}  {'ms':>7}  {'from':<{left}}     {'to':<{right}}  {'what':<{what}}  bytes"]
    for number, ((ms, source, target, note, size), packet) in enumerate(zip(rows, packets, strict=False), 1):
        lines.append(f"{number:>2}  {ms:>7}  {source:<{left}}  →  {target:<{right}}  {note:<{what}}  {size:>5}")
        if packet.inner:
            lines.append(_carried(packet.inner, names))
    if len(packets) > fold:
        lines.append(f"    … {len(packets) - fold} more")
    return [line.rstrip() for line in lines] + legend(packets[:fold], names)


def legend(packets: Sequence[Packet], names: Names) -> list[str]:
    """Return which name stands for which address, for those in the ladder."""
    shown = [each for packet in packets for each in (packet, packet.inner) if each]
    seen = dict.fromkeys(end.address for packet in shown for end in (packet.source, packet.target))
    pairs = [f"{names[address]} = {address}" for address in seen if address in names]
    return textwrap.wrap(" · ".join(pairs), WIDTH - 4, initial_indent="    ", subsequent_indent="    ")


def _carried(packet: Packet, names: Names) -> str:
    _, source, target, note, size = _row(packet, packet.time, names)
    return f"             carries {source} → {target}  {note}  {size}"


def _row(packet: Packet, start: float, names: Names) -> tuple[str, str, str, str, int]:
    note = packet.note if packet.protocol == "tcp" else f"{packet.protocol.upper()} {packet.note}".strip()
    ms = f"{(packet.time - start) * 1000:.2f}"
    return ms, name(packet.source, names), name(packet.target, names), note, packet.size
