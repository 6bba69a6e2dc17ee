"""Traces connect() with bcc: who asked, for what, which backend the hook put in its place, how long the call took.

    /usr/bin/python3 connects.py ADDRESS:PORT COUNT     # ends after so many, or after 20 s
    /usr/bin/python3 connects.py --check                # says what is missing, or nothing

Debian's python3-bpfcc belongs to Debian's Python, so this is a process of its own. It stands on tracepoints alone,
whose arguments bcc reads from the running kernel: syscalls:sys_enter_connect has what the application asked for, then
sock:inet_sock_set_state has where the first SYN goes, behind the hook, and syscalls:sys_exit_connect the time.
"""

import ctypes as ct
import importlib
import os
import platform
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PATIENCE = 20.0  # seconds
TRACEFS = "/sys/kernel/tracing"
BPF_CALL, ENABLE_STATS = {"x86_64": 321, "aarch64": 280}.get(platform.machine(), 0), 32
PROGRAM = r"""
#include <uapi/linux/in.h>

struct connect {
    u64 began, took, cgroup;
    u32 asked, backend;
    u16 asked_port, backend_port;
    char command[16];
};
BPF_HASH(connects, u64, struct connect);
BPF_RINGBUF_OUTPUT(seen, 8);

TRACEPOINT_PROBE(syscalls, sys_enter_connect) {
    u64 thread = bpf_get_current_pid_tgid();
    struct sockaddr_in to = {};
    struct connect c = {};

    bpf_probe_read_user(&to, sizeof(to), args->uservaddr);
    if (to.sin_family != AF_INET || to.sin_addr.s_addr != ASKED || to.sin_port != PORT)
        return 0;
    c.began = bpf_ktime_get_ns();
    c.cgroup = bpf_get_current_cgroup_id();
    c.asked = to.sin_addr.s_addr;
    c.asked_port = to.sin_port;
    bpf_get_current_comm(&c.command, sizeof(c.command));
    connects.update(&thread, &c);
    return 0;
}

TRACEPOINT_PROBE(sock, inet_sock_set_state) {
    u64 thread = bpf_get_current_pid_tgid();
    struct connect *c = connects.lookup(&thread);

    if (c && args->newstate == 2) {                  /* TCP_SYN_SENT */
        __builtin_memcpy(&c->backend, args->daddr, 4);
        c->backend_port = args->dport;
    }
    return 0;
}

TRACEPOINT_PROBE(syscalls, sys_exit_connect) {
    u64 thread = bpf_get_current_pid_tgid();
    struct connect *c = connects.lookup(&thread);

    if (!c)
        return 0;
    c->took = bpf_ktime_get_ns() - c->began;
    seen.ringbuf_output(c, sizeof(*c), 0);
    connects.delete(&thread);
    return 0;
}
"""


def main() -> int:
    if sys.argv[1:] == ["--check"]:
        print(missing(), end="")
        return 0
    host, _, port = sys.argv[1].rpartition(":")
    wanted, mounted = int(sys.argv[2]), mount_tracefs()
    try:
        trace(host, int(port), wanted)
    finally:
        if mounted:
            subprocess.run(["umount", TRACEFS], check=False)
    return 0


def missing() -> str:
    try:
        importlib.import_module("bcc")
    except ImportError:
        return "Debian's Python has no bcc. Next: apt-get install python3-bpfcc"
    return "" if headers() else "no kernel headers for bcc. Next: setup/kernel-headers.sh"


def headers() -> str:
    """The running kernel's, or those that setup/kernel-headers.sh fetched; of them bcc needs types alone here."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "socklb" / "kernel-headers"
    own = Path(f"/lib/modules/{os.uname().release}/build")
    return str(next((path for path in (own, *sorted(cache.glob("*/merged"))) if path.exists()), ""))


def mount_tracefs() -> bool:
    """A node in a container has a /sys of its own."""
    if Path(TRACEFS, "events").exists():
        return False
    subprocess.run(["mount", "-t", "tracefs", "tracefs", TRACEFS], check=True)
    return True


def trace(host: str, port: int, wanted: int) -> None:
    os.environ["BCC_KERNEL_SOURCE"] = headers()
    (address,) = struct.unpack("=I", socket.inet_aton(host))
    text = PROGRAM.replace("ASKED", str(address)).replace("PORT", str(socket.htons(port)))
    bcc: Any = importlib.import_module("bcc")
    bpf: Any = bcc.BPF(text=text)
    stats, rows = enable_stats(), list[int]()
    pods = cgroups()

    def event(_cpu: object, data: object, _size: int) -> None:
        one = bpf["seen"].event(data)
        pod = pods.get(one.cgroup) or cgroups().get(one.cgroup)
        if pod is None:
            return  # not of this node: tracepoints see the whole machine
        asked = f"{text_of(one.asked)}:{socket.ntohs(one.asked_port)}"
        backend = f"{text_of(one.backend)}:{one.backend_port}"
        rows.append(one.took)
        print(f"{pod:24} {one.command.decode():8} {asked:20} {backend:20} {one.took / 1000:8.1f}", flush=True)

    bpf["seen"].open_ring_buffer(event)
    print(f"{'CGROUP':24} {'COMMAND':8} {'ASKED':20} {'BACKEND':20} {'MICROSECONDS':>8}", flush=True)
    end = time.monotonic() + PATIENCE
    while len(rows) < wanted and time.monotonic() < end:
        bpf.ring_buffer_poll(200)
    print(
        f"{len(rows)} connects; the tracer's programs cost {cost(bpf) if stats else 'what this kernel does not tell'}"
    )


def text_of(address: int) -> str:
    return socket.inet_ntoa(struct.pack("=I", address))


def cgroups() -> dict[int, str]:
    """The cgroups that this process can see, by the number that the kernel gives them: of the directory."""
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    root = next(Path(words[4]) for words in mounts if words[words.index("-") + 1] == "cgroup2")
    return {path.stat().st_ino: f"/{path.relative_to(root)}" for path in (root, *root.rglob("*")) if path.is_dir()}


def enable_stats() -> bool:
    """BPF_ENABLE_STATS, while this process lives (bpf(2)): the kernel takes the time of every eBPF program."""
    attributes = ct.create_string_buffer(64)
    return ct.CDLL(None).syscall(BPF_CALL, ENABLE_STATS, attributes, 4) >= 0


def cost(bpf: Any) -> str:
    """Time and runs of our programs, which the kernel writes into fdinfo."""
    time_, runs = 0, 0
    for function in bpf.funcs.values():
        found = dict(line.split(":\t") for line in Path(f"/proc/self/fdinfo/{function.fd}").read_text().splitlines())
        time_, runs = time_ + int(found["run_time_ns"]), runs + int(found["run_cnt"])
    return f"{time_ // max(runs, 1)} ns a run"


if __name__ == "__main__":
    sys.exit(main())
