"""What others do to our hooks: detach them, unpin them, put programs of their own in the way."""

from __future__ import annotations

import ctypes as ct
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from socklb.datapath import libbpf
from socklb.datapath.links import HOOKS

ALLOW_OVERRIDE, ALLOW_MULTI = 1, 2
THEIRS = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char _license[] SEC("license") = "GPL";
SEC("cgroup/connect4") int theirs4(struct bpf_sock_addr *ctx) { return 1; }
SEC("cgroup/connect6") int theirs6(struct bpf_sock_addr *ctx) { return 1; }
"""


def compile_object(directory: Path, source: str) -> Path:
    path = directory / "x.bpf.o"
    include = f"-I/usr/include/{os.uname().machine}-linux-gnu"
    command = ["clang", "-O2", "-g", "--target=bpf", include, "-x", "c", "-", "-c", "-o", path]
    subprocess.run(command, input=source, text=True, check=True)
    return path


@contextmanager
def others_program(cgroup: Path, scratch: Path, hook: str, flags: int) -> Iterator[int]:
    """Somebody's program at a hook of a cgroup while the block runs, as one attaches without links; give its number."""
    with libbpf.Object.open(compile_object(scratch, THEIRS)) as obj:
        obj.load()
        program = obj.program(f"theirs{hook[-1]}")
        descriptor = os.open(cgroup, os.O_RDONLY)
        try:
            prog_attach(program.fd, descriptor, hook, flags)
            try:
                yield program.id
            finally:
                libbpf.library().bpf_prog_detach2(program.fd, descriptor, HOOKS[hook])
        finally:
            os.close(descriptor)


def prog_attach(program: int, cgroup: int, hook: str, flags: int) -> None:
    attach = ct.CDLL("libbpf.so.1", use_errno=True).bpf_prog_attach
    assert attach(program, cgroup, HOOKS[hook], ct.c_uint(flags)) == 0, os.strerror(ct.get_errno())


def detach(pin: Path) -> None:
    """Do what `bpftool link detach pinned PIN` does."""
    link = libbpf.get_pinned(pin)
    try:
        libbpf.call(f"detach {pin}", "bpf_link_detach", link)
    finally:
        os.close(link)


def replace_program(pin: Path, scratch: Path) -> None:
    """Have a link run somebody else's program."""
    with libbpf.Object.open(compile_object(scratch, THEIRS)) as obj:
        obj.load()
        link = libbpf.get_pinned(pin)
        try:
            libbpf.update_link(link, obj.program("theirs4").fd, pin.name)
        finally:
            os.close(link)
