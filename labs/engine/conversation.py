"""The exchanges in a capture, complete: client, server, what was sent, and what came back.

    [one] = capture.conversations
    one.server                 Endpoint("10.244.2.3", 8080)
    one.reply                  "web-2": the body of an HTTP answer, without its last newline

It is meant for the short exchanges of a lab, and promises no more: a segment that was sent twice is there twice.
"""

from collections.abc import Sequence
from typing import NamedTuple

from labs.engine.packet import Endpoint, Packet


class Conversation(NamedTuple):
    client: Endpoint  # who sent the first packet
    server: Endpoint
    protocol: str
    packets: tuple[Packet, ...]

    @property
    def reply(self) -> str:
        """Return the server's data as text; for HTTP only the body."""
        said = b"".join(packet.payload for packet in self.packets if packet.source == self.server)
        head, gap, body = said.partition(b"\r\n\r\n")
        text = body if gap and head.startswith(b"HTTP/") else said
        return text.decode(errors="replace").strip()

    @property
    def silent(self) -> bool:
        """Return whether it was established and nobody sent data, for example by a kubelet's probe, which only
        connects.
        """
        came_about = any(packet.source == self.server for packet in self.packets)
        return came_about and not any(packet.payload for packet in self.packets)

    @property
    def handshake(self) -> list[tuple[str, Endpoint]]:
        """Return the flags of the first three packets, and who sent each."""
        return [(packet.note, packet.source) for packet in self.packets[:3]]


def conversations(packets: Sequence[Packet]) -> list[Conversation]:
    """Return those of TCP and UDP. A port that is reused belongs to the same conversation until its next SYN."""
    begun: list[list[Packet]] = []
    latest: dict[tuple[str, frozenset[Endpoint]], list[Packet]] = {}
    for packet in packets:
        if packet.protocol not in ("tcp", "udp"):
            continue
        key = packet.protocol, frozenset((packet.source, packet.target))
        if key not in latest or (packet.note == "SYN" and packet.sequence != latest[key][0].sequence):
            latest[key] = []
            begun.append(latest[key])
        latest[key].append(packet)
    return [Conversation(of[0].source, of[0].target, of[0].protocol, tuple(of)) for of in begun]
