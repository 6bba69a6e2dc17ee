"""Pods as far as sockets know of them: a process in a cgroup as the kubelet names it, in a network of its own."""

from __future__ import annotations

import ctypes as ct
import os
import pickle
import signal
import socket
import subprocess
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rig.sandbox import CLONE_NEWNET, PORT, remove_cgroup

LINKS = """link set lo up
route add local 10.244.1.0/24 dev lo
route add local fd00:10:244:1::/64 dev lo
"""


class Pod:
    """Runs `work` once it is there, keeps what `work` opened, and gives what it returns."""

    def __init__(self, node: Path, number: int, work: Callable[[], Any]) -> None:
        self.uid = f"00000000-0000-4000-8000-{number:012x}"
        self.container = f"{number:064x}"
        self.slice = node / f"kubepods-besteffort-pod{self.uid.replace('-', '_')}.slice"
        self.cgroup = self.slice / f"cri-containerd-{self.container}.scope"
        self.cgroup.mkdir(parents=True)
        self._reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid:
            os.close(writing)
            return
        try:
            self._be_there()
            result: tuple[str, object] = ("gave", work())
        except BaseException:  # noqa: BLE001 - the parent raises it again
            result = ("raised", traceback.format_exc())
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(result, pipe)
        while True:
            signal.pause()

    def result(self) -> Any:
        """Wait until the work is done."""
        with os.fdopen(self._reading, "rb") as pipe:
            kind, value = pickle.loads(pipe.read())
        assert kind == "gave", value
        return value

    def remove(self) -> None:
        """End the process, and with it its network."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        for directory in (self.cgroup, self.slice):
            remove_cgroup(directory)

    def _be_there(self) -> None:
        (self.cgroup / "cgroup.procs").write_text("0")
        if ct.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
            raise OSError(ct.get_errno(), "unshare")
        subprocess.run(["ip", "-batch", "-"], input=LINKS, text=True, check=True, capture_output=True)
        for family, any_address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            server = socket.socket(family, socket.SOCK_STREAM)
            if family == socket.AF_INET6:
                server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            server.bind((any_address, PORT))
            server.listen(4096)
            server.detach()  # it lives as long as the process
