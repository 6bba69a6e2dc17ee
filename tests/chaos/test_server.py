"""The walk's server: who asked by DNS is answered by DNS, whatever the query's random number is."""

import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from rig.ports import free_ports
from tests.chaos import server

HERE, NAME = "127.0.0.1", "web-1:0:4"


@pytest.fixture
def port() -> Iterator[int]:
    (number,) = free_ports(1)
    command = [sys.executable, server.__file__, f"{NAME}={HERE}={number}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield number
        process.kill()


@pytest.mark.parametrize("number", [0x0000, 0x3F31, 0x3F3F, 0xFFFF])
def test_dig_is_answered_whatever_number_its_query_has(port: int, number: int) -> None:
    ask = ["dig", "+short", "+tries=1", "+time=5", f"+qid={number}", "-p", str(port), f"@{HERE}", "who", "TXT"]
    assert subprocess.run(ask, capture_output=True, text=True, check=False).stdout == f'"{NAME}"\n'


def test_another_datagram_comes_back_with_the_name_before_it(port: int) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.connect((HERE, port))
        client.send(b"?123")
        assert client.recv(100) == f"{NAME} ?123".encode()
