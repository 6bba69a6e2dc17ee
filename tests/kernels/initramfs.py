"""What an emulated machine begins with: a few modules of its kernel, busybox, and a script that puts this machine's
files below a layer that is thrown away, and runs a command there.

    kernel = Kernel(folder)                     # as get.sh unpacks it
    initramfs(kernel, "cd /checkout && make")   # bytes for `qemu -initrd`

Nothing but a kernel of Debian is expected: no udev, no systemd, no network. What the command prints goes to the second
serial line, its exit code to the third, and the kernel's console is the first.
"""

from __future__ import annotations

import lzma
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

BUSYBOX = Path("/bin/busybox")  # of busybox-static
TAG = "root"  # of the virtiofs device
MODULES = ("virtio_pci", "virtiofs", "overlay")  # built in from 6.12 on, but for the last

INIT = f"""#!/bin/busybox sh
busybox=/bin/busybox
$busybox mkdir -p /proc /sys /dev /lower /layer /new
$busybox mount -t proc proc /proc
$busybox mount -t sysfs sysfs /sys
$busybox mount -t devtmpfs devtmpfs /dev
for module in $($busybox cat /modules/order); do $busybox insmod /modules/$module; done
$busybox mount -t virtiofs -o ro {TAG} /lower || $busybox poweroff -f
$busybox mount -t tmpfs tmpfs /layer
$busybox mkdir /layer/upper /layer/work
layers=lowerdir=/lower,upperdir=/layer/upper,workdir=/layer/work
$busybox mount -t overlay -o $layers overlay /new || $busybox poweroff -f
$busybox mkdir -p /new/lib/modules/$($busybox uname -r)
$busybox mount --bind /lower$($busybox cat /modules/folder) /new/lib/modules/$($busybox uname -r)
for folder in proc sys dev; do $busybox mount --move /$folder /new/$folder; done
$busybox mkdir -p /new/dev/pts /new/dev/shm
$busybox mount -t devpts devpts /new/dev/pts
$busybox mount -t tmpfs tmpfs /new/dev/shm
$busybox mount -t tmpfs tmpfs /new/run
$busybox mount -t cgroup2 cgroup2 /new/sys/fs/cgroup
$busybox mount -t bpf bpf /new/sys/fs/bpf
$busybox cp /bin/busybox /second /command /new/run/
exec $busybox switch_root /new /run/busybox sh /run/second
"""
SECOND = """
busybox=/run/busybox
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
$busybox hostname emulated
$busybox ip link set lo up
$busybox stty -F /dev/ttyS1 raw -echo
$busybox setsid /bin/sh /run/command </dev/null >/dev/ttyS1 2>&1
echo $? >/dev/ttyS2
$busybox poweroff -f
"""


class Entry(NamedTuple):
    """A file, folder or device of the archive."""

    name: str
    mode: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)


class Kernel:
    """A kernel's image and modules, unpacked in a folder."""

    def __init__(self, folder: Path) -> None:
        (self.modules,) = (folder / "lib" / "modules").resolve().iterdir()
        self.release = self.modules.name
        in_boot = folder / "boot" / f"vmlinuz-{self.release}"  # from 6.19 on it is beside the modules
        self.image = in_boot if in_boot.exists() else self.modules / "vmlinuz"
        lines = (self.modules / "modules.dep").read_text().splitlines()
        self._needs = {
            module_name(file): [file, *needs.split()] for file, _, needs in (x.partition(":") for x in lines)
        }

    def in_order(self, names: Iterable[str]) -> list[str]:
        """Return the files of these modules and of those they need, each after what it needs; none of built-in ones."""
        files = [file for name in names for file in reversed(self._needs.get(name, []))]
        return list(dict.fromkeys(files))

    def module(self, file: str) -> bytes:
        """Return a module as busybox can load it."""
        content = (self.modules / file).read_bytes()
        return lzma.decompress(content) if file.endswith(".xz") else content


def module_name(file: str) -> str:
    """Return the name of a module's file: `virtio_pci` of `kernel/drivers/virtio/virtio-pci.ko.xz`."""
    return Path(file).name.partition(".ko")[0].replace("-", "_")


def initramfs(kernel: Kernel, command: str) -> bytes:
    """Return the archive for a kernel, and a command for `sh`."""
    return archive(_entries(kernel, command))


def _entries(kernel: Kernel, command: str) -> Iterator[Entry]:
    folder, program, text = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o755, stat.S_IFREG | 0o644
    yield from (Entry(name, folder) for name in ("bin", "dev", "modules"))
    yield Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    yield Entry("bin/busybox", program, BUSYBOX.read_bytes())
    yield Entry("init", program, INIT.encode())
    yield Entry("second", text, SECOND.encode())
    yield Entry("command", text, command.encode() + b"\n")
    files = kernel.in_order(MODULES)
    yield from (Entry(f"modules/{module_name(file)}", text, kernel.module(file)) for file in files)
    yield Entry("modules/order", text, " ".join(map(module_name, files)).encode())
    yield Entry("modules/folder", text, str(kernel.modules).encode())


def archive(entries: Iterable[Entry]) -> bytes:
    """Return them in the format "newc" of cpio (Documentation/driver-api/early-userspace/buffer-format.rst)."""
    parts: list[bytes] = []
    for number, entry in enumerate([*entries, Entry("TRAILER!!!", 0)], start=1):
        name = entry.name.encode() + b"\0"
        fields = (number, entry.mode, 0, 0, 1, 0, len(entry.content), 0, 0, *entry.device, len(name), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
        parts += [_whole(head), _whole(entry.content)]
    return b"".join(parts)


def _whole(data: bytes) -> bytes:
    """Fill up to a multiple of four bytes."""
    return data + bytes(-len(data) % 4)
