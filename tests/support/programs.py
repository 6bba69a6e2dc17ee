"""Raw packets for tests on the cluster: an SCTP association's first, and segments that fit no window. Scripts."""

# argv: 4 or 6. Prints the destination ports of the SCTP packets that come in within 2 seconds, once each.
SCTP_WATCH = """
import socket, sys, time
six = sys.argv[1] == "6"
raw = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_SCTP)
print("ready", flush=True)
end, seen = time.monotonic() + 2, set()
while (left := end - time.monotonic()) > 0 and not seen:
    raw.settimeout(left)
    try:
        packet = raw.recv(2048)
    except TimeoutError:
        break
    start = 0 if six else (packet[0] & 15) * 4
    if packet[start + 12] == 1:  # INIT
        seen.add(int.from_bytes(packet[start + 2 : start + 4], "big"))
print(*sorted(seen))
"""
# argv: address, port, own port. An INIT with its checksum from a raw socket, for the kernel may have no SCTP sockets.
SCTP_INIT = """
import socket, struct, sys
def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
chunk = struct.pack(">BBHIIHHI", 1, 0, 20, 7, 65536, 1, 1, 7)
header = struct.pack(">HHI", int(sys.argv[3]), int(sys.argv[2]), 0)
packet = header + struct.pack("<I", crc32c(header + bytes(4) + chunk)) + chunk
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_SCTP) as raw:
    raw.sendto(packet, (sys.argv[1], 0))
"""
# argv: data or reset, port. Echoes; each segment with data that comes in is answered besides by one that the client has
# not asked for: data far before its window, or a reset within it.
INVALID_SERVER = """
import socket, struct, sys, threading, time
injected, port = sys.argv[1], int(sys.argv[2])

def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF

def inject():
    while True:
        packet = raw.recv(65536)
        start = (packet[0] & 15) * 4
        source, target, seq, ack, offset = struct.unpack_from(">HHIIB", packet, start)
        if target != port or len(packet) <= start + (offset >> 4) * 4:
            continue
        at, flags, text = ((ack - 100000) % 2**32, 0x18, b"boom!!!!") if injected == "data" else (ack, 0x04, b"")
        head = struct.pack(">HHIIBBHHH", port, source, at, seq, 5 << 4, flags, 1024, 0, 0)
        pseudo = packet[16:20] + packet[12:16] + struct.pack(">BBH", 0, 6, len(head + text))
        whole = head[:16] + struct.pack(">HH", checksum(pseudo + head + text), 0) + text
        raw.sendto(whole, (socket.inet_ntoa(packet[12:16]), 0))

def echo(connection):
    try:
        while data := connection.recv(4096):
            time.sleep(0.02)  # what is injected comes first: behind the answer a reset would be out of the window
            connection.sendall(data)
    except OSError:
        pass

raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
server = socket.create_server(("", port))
threading.Thread(target=inject, daemon=True).start()
print("ready", flush=True)
while True:
    threading.Thread(target=echo, args=[server.accept()[0]], daemon=True).start()
"""
# argv: address, port. Says whether a connection held for ten exchanges.
INVALID_CLIENT = """
import errno, socket, sys, time
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), 5) as client:
        for n in range(10):
            client.sendall(b"%d" % n)
            assert client.recv(100) == b"%d" % n
            time.sleep(0.05)
    print("held")
except OSError as error:
    print(errno.errorcode.get(error.errno, "TIMEOUT"))
"""
