"""Runs a command on another kernel of Debian, in an emulated machine that sees this machine's files.

    with Machine(Kernel(folder), "uname -r") as machine:
        for line in machine.lines(): …
        machine.exit_code       # None: the machine gave none; its console says why

The machine is emulated (TCG), also where /dev/kvm opens: a guest of another distribution hangs under some hosts' KVM.
It has one CPU: before QEMU 10 a guest of Linux 6.12 or later with two ends where programs are attached ("Oops: int3").
It has no network device. What it writes goes to a layer in its memory. Root's files are below that: run only what
you trust.
"""

from __future__ import annotations

import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from socklb.errors import SocklbError
from tests.kernels.initramfs import BUSYBOX, TAG, Kernel, initramfs

QEMU = Path("/usr/bin/qemu-system-x86_64")
VIRTIOFSD = Path("/usr/lib/qemu/virtiofsd")  # Debian 12's, of qemu-system-common
MEMORY = "2G"
PARAMETERS = (
    "console=ttyS0 panic=-1 quiet loglevel=4 mitigations=off nokaslr audit=0 random.trust_cpu=on no_timer_check"
)


class Machine:
    """See the module."""

    def __init__(self, kernel: Kernel, command: str, *, seconds: float) -> None:
        self._kernel, self._command, self._seconds = kernel, command, seconds
        self._opened = ExitStack()
        self.exit_code: int | None = None
        self.console = ""

    def __enter__(self) -> Self:
        for program in (QEMU, VIRTIOFSD, BUSYBOX):
            if not program.exists():
                hint = "on Debian 12: setup/packages.sh setup/apt-kernels.txt"
                raise SocklbError(
                    "other kernels are booted with QEMU 7.2 of Debian 12", value=f"no {program}", hint=hint
                )
        with ExitStack() as opened:
            self._home = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="socklb-kernel-")))
            (self._home / "initramfs").write_bytes(initramfs(self._kernel, self._command))
            self._share(opened)
            self._qemu = subprocess.Popen(
                self._words(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            opened.callback(_end, self._qemu)
            watch = threading.Timer(self._seconds, self._qemu.kill)
            watch.start()
            opened.callback(watch.cancel)
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def lines(self) -> Iterator[str]:
        """Yield what the command prints, as it does, until the machine is off."""
        assert self._qemu.stdout is not None
        for line in self._qemu.stdout:
            yield line.decode(errors="replace").rstrip("\r\n")
        self._qemu.wait()
        self.console = (self._home / "console").read_text(errors="replace")
        code = (self._home / "code").read_text().strip()
        self.exit_code = int(code) if code else None

    def _share(self, opened: ExitStack) -> None:
        """Have a process that shows the machine our files."""
        options = ("source=/", "cache=always", "sandbox=chroot", "no_posix_lock,no_flock")
        words = [f"--socket-path={self._home}/files", *(word for option in options for word in ("-o", option))]
        log = opened.enter_context((self._home / "virtiofsd.log").open("w+"))
        process = subprocess.Popen([VIRTIOFSD, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        opened.callback(_end, process)
        while not (self._home / "files").exists():
            if process.poll() is not None:
                raise SocklbError("virtiofsd did not start", value=(self._home / "virtiofsd.log").read_text()[-300:])
            time.sleep(0.01)

    def _words(self) -> list[str]:
        home = self._home
        return [
            *(str(QEMU), "-accel", "tcg", "-cpu", "max,la57=off", "-machine", "q35", "-smp", "1", "-m", MEMORY),
            *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none"),
            *("-kernel", str(self._kernel.image), "-initrd", f"{home}/initramfs", "-append", PARAMETERS),
            *("-serial", f"file:{home}/console", "-chardev", "stdio,id=out,signal=off", "-serial", "chardev:out"),
            *("-serial", f"file:{home}/code"),
            *("-object", f"memory-backend-memfd,id=memory,size={MEMORY},share=on", "-numa", "node,memdev=memory"),
            *("-chardev", f"socket,id=files,path={home}/files"),
            *("-device", f"vhost-user-fs-pci,chardev=files,tag={TAG}"),
        ]


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
    process.communicate()
