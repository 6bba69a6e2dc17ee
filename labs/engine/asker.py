"""Connect to a Service again and again. Each line of output has the time, and who answered or what failed.

python3 asker.py ADDRESS PORT
"""

import socket
import sys
import time
from datetime import datetime

HOUR = 3600  # seconds; the load does not wait longer for the reader


def ask(address: str, port: int) -> str:
    try:
        with socket.create_connection((address, port), timeout=2) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
    except OSError as error:
        return f"FAILED: {error}"
    return answer.split()[-1].decode() if answer else "FAILED: closed without an answer"


end = time.monotonic() + HOUR
while time.monotonic() < end:
    print(f"{datetime.now().astimezone():%H:%M:%S.%f} {ask(sys.argv[1], int(sys.argv[2]))}", flush=True)
    time.sleep(0.02)
