"""Real resolvers and senders when the DNS server that they have goes: they get their answer from the next one."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rig.agents import AgentUnderTest, endpoint_slice, node, service
from rig.sandbox import BACKENDS4, NODE4, Sandbox, running
from tests.datapath.services import SERVICE4
from tests.datapath.test_following import moved, wait_for

SILENT, ANSWERS = BACKENDS4[:2]
NAME, ADDRESS = "web.example.", "192.0.2.80"
# Those of glibc and c-ares try again with the socket that they have; musl's is not connected, Go takes a new one a try.
RESOLVERS = ["glibc", "c-ares", "musl", *(["Go"] if shutil.which("go") else [])]
PORT = 5353  # of the servers; resolvers ask the Service at 53
# One channel keeps its socket, as in a server that uses c-ares.
C_ARES = """
import pycares, select, sys
channel = pycares.Channel(servers=[sys.argv[1]], timeout=1.0, tries=5, flags=pycares.ARES_FLAG_STAYOPEN)
found = []
channel.gethostbyname(sys.argv[2], 2, lambda result, error: found.append((result, error)))
while not found:
    ready, _, _ = select.select(channel.getsock()[0], [], [], channel.timeout())
    for one in ready or [pycares.ARES_SOCKET_BAD]:
        channel.process_fd(one, pycares.ARES_SOCKET_BAD)
result, error = found[0]
print(result.addresses[0] if result else error)
"""
C = """
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
int main(int argc, char **argv)
{
	struct addrinfo hints = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM }, *found;
	char text[INET_ADDRSTRLEN];
	int error = getaddrinfo(argv[1], NULL, &hints, &found);

	if (error) {
		puts(gai_strerror(error));
		return 1;
	}
	puts(inet_ntop(AF_INET, &((struct sockaddr_in *)found->ai_addr)->sin_addr, text, sizeof(text)));
	return 0;
}
"""
GO = """
package main

import ("context"; "fmt"; "net"; "os")

func main() {
	found, err := (&net.Resolver{PreferGo: true}).LookupHost(context.Background(), os.Args[1])
	fmt.Println(found, err)
}
"""


@pytest.fixture(scope="module", autouse=True)
def servers(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A DNS server that is asked and says nothing, as one that is gone, and one that answers. Gives who was asked."""
    home = tmp_path_factory.mktemp("servers")

    def silent() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind((SILENT, PORT))
            (home / "ready").touch()
            while server.recv(1000):
                (home / "asked").touch()

    def answers() -> None:
        settings = [
            f"--listen-address={ANSWERS}",
            f"--port={PORT}",
            "--bind-interfaces",
            f"--address=/{NAME}/{ADDRESS}",
        ]
        command = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", *settings]
        os.execvp(command[0], [*command, "--user=root", "--pid-file="])

    with running(sandbox, silent), running(sandbox, answers):
        wait_for(home, "ready")
        yield home


def dns(*addresses: str, generation: int = 1) -> dict[str, Any]:
    found = endpoint_slice("dns-4", *addresses, generation=generation)
    return {**found, "ports": [{"name": p.lower(), "port": PORT, "protocol": p} for p in ("TCP", "UDP")]}


@pytest.fixture
def serving(agent: AgentUnderTest, servers: Path) -> AgentUnderTest:
    found = service("dns", SERVICE4)
    found["spec"]["ports"] = [{**port, "port": 53} for port in found["spec"]["ports"]]
    agent.write("dns.yaml", node("w1", NODE4), found)
    agent.write("dns-4.yaml", dns(SILENT))
    (servers / "asked").unlink(missing_ok=True)
    agent.start()
    return agent


def built(folder: Path, how: str) -> list[str]:
    """Return the command of a client that looks a name up."""
    if how == "c-ares":
        return ["/usr/bin/python3", "-c", C_ARES, SERVICE4]  # Debian's, which has pycares
    source, program = folder / ("resolve.go" if how == "Go" else "resolve.c"), folder / "resolve"
    source.write_text(GO if how == "Go" else C)
    compiler = {"glibc": ["clang"], "musl": ["musl-gcc", "-static"], "Go": ["go", "build"]}[how]
    environment = {**os.environ, "CGO_ENABLED": "0"}
    subprocess.run([*compiler, "-o", program, source], check=True, capture_output=True, cwd=folder, env=environment)
    return [str(program)]


@pytest.mark.parametrize("how", RESOLVERS)
def test_a_resolver_that_waits_for_a_server_that_goes_is_answered_by_the_next(
    sandbox: Sandbox, serving: AgentUnderTest, servers: Path, tmp_path: Path, how: str
) -> None:
    command = built(tmp_path, how)
    settings = tmp_path / "resolv.conf"
    settings.write_text(f"nameserver {SERVICE4}\noptions timeout:1 attempts:8\n")

    def look_up() -> str:
        own = f'mount --bind {settings} /etc/resolv.conf && exec "$@"'
        words = ["unshare", "--mount", "sh", "-c", own, "sh", *command, NAME]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=40)
        return done.stdout + done.stderr

    job = sandbox.start(look_up)
    wait_for(servers, "asked")
    serving.write("dns-4.yaml", dns(ANSWERS, generation=2))
    assert ADDRESS in str(job.result())


def test_a_sender_that_never_reads_reaches_the_next_server(
    sandbox: Sandbox, serving: AgentUnderTest, servers: Path
) -> None:
    """As of statsd: one connected socket for ever, of which nobody ever asks for an error."""

    def receive() -> str:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind((BACKENDS4[2], PORT))
            server.settimeout(20)
            (servers / "receives").touch()
            return server.recv(100).decode()

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect((SERVICE4, 53))
            while True:
                sender.send(b"requests:1|c")
                time.sleep(0.005)

    receiver = sandbox.start(receive, hooked=False)
    wait_for(servers, "receives")
    job = sandbox.start(send)
    try:
        wait_for(servers, "asked")
        serving.write("dns-4.yaml", dns(BACKENDS4[2], generation=2))
        assert receiver.result() == "requests:1|c"
        moved(serving, connected=1, destroyed=0, left=0)
    finally:
        job.kill()
