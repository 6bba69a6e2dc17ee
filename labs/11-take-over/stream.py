"""One connection that stays: each question is a line, and each answer is the name of the pod that gives it.

python3 - serve NAME PORT              the pod's part
python3 - ask ADDRESS PORT             the client's part: asks five times a second, and each answer is a line
"""

import socket
import socketserver
import sys
import time
from datetime import datetime

HOUR = 3600  # seconds; nobody waits longer for the reader
PATIENCE = 3  # seconds without an answer


class Answering(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for _ in self.rfile:
            self.wfile.write(f"{name}\n".encode())


def ask(address: str, port: int) -> None:
    end = time.monotonic() + HOUR
    with socket.create_connection((address, port), PATIENCE) as connection:
        own = connection.getsockname()
        print(f"{own[0]}:{own[1]}", flush=True)
        answers = connection.makefile("r")
        while time.monotonic() < end:
            try:
                connection.sendall(b"?\n")
                said = answers.readline().strip() or "FAILED: closed"
            except OSError as error:
                said = f"FAILED: {error}"
            print(f"{datetime.now().astimezone():%H:%M:%S.%f} {said}", flush=True)
            if said.startswith("FAILED"):
                return
            time.sleep(0.2)


part, name, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
if part == "serve":
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    socketserver.ThreadingTCPServer(("", port), Answering).serve_forever()
else:
    ask(name, port)
