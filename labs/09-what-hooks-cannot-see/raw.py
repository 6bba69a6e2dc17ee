"""Ask a DNS server by a raw socket, which writes UDP's header itself: python3 raw.py ADDRESS PORT."""

import socket
import struct
import sys

OWN = 40053
QUERY = struct.pack(">6H", 9, 0x100, 1, 0, 0, 0) + b"\x06whoami\x07example\x04test\0" + struct.pack(">2H", 16, 1)

server, port = sys.argv[1], int(sys.argv[2])
# Nothing goes by this one. Without it the kernel would tell the server that nobody is at the port.
reserved = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
reserved.bind(("", OWN))
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
raw.settimeout(3)
header = struct.pack(">4H", OWN, port, 8 + len(QUERY), 0)  # 0: without a checksum
raw.sendto(header + QUERY, (server, 0))
while True:
    packet, (sender, _) = raw.recvfrom(65535)
    datagram = packet[(packet[0] & 15) * 4 :]
    source, target = struct.unpack_from(">2H", datagram)
    if target == OWN:
        break
answer = datagram[8 + len(QUERY) + 12 :]  # the record's head, then a string with its length before it
print(answer[1 : 1 + answer[0]].decode(), "answers from", f"{sender}:{source}")
