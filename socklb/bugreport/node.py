"""The part of a report about the node itself: versions, mounts, programs and who owns them, devices."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from socklb import __version__
from socklb.config import Config
from socklb.datapath import features, foreign, libbpf
from socklb.datapath.libbpf import BpfError
from socklb.datapath.links import HOOKS, opened, pinned_info
from socklb.datapath.maps import pinned_shape
from socklb.datapath.pins import Pins
from socklb.errors import reason
from socklb.model import address_text
from socklb.status.collected import find_cgroup
from socklb.tc import clsact, rtnetlink, tcx

LIBRARIES = ("kubernetes", "msgspec", "prometheus-client", "pyyaml", "watchfiles")
SETTINGS = ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", "net/core/bpf_jit_enable", "kernel/osrelease")


def versions() -> str:
    """Return the versions of the software here."""
    libbpf.library()
    lines = [f"socklb {__version__}", f"kernel {platform.release()} {platform.version()} {platform.machine()}"]
    lines += [f"Python {platform.python_version()}", *_distribution(), *_libbpf_files()]
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            lines.append(f"{name} {metadata.version(name)}")
    lines += [f"the kernel lacks: {feature}" for feature in features.missing()]
    for name in SETTINGS:
        with suppress(OSError):
            lines.append(f"{name} = {Path('/proc/sys', name).read_text().strip()}")
    return _text(lines)


def mounted() -> str:
    """Return the mounts of BPF file systems and cgroups."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return _text(line for line in lines if " - bpf " in line or " - cgroup" in line)


def hook_programs(config: Config) -> str:
    """Return the programs at each hook of the node's cgroup, ours and those of others, with their owners."""
    pins, cgroup = Pins(Path(config.bpffs)), find_cgroup(config)
    lines = [f"cgroup {cgroup}"]
    with opened(cgroup) as descriptor:
        for hook, attach_type in HOOKS.items():
            pinned = pinned_info(pins.links / hook)
            effective = libbpf.attached_programs(descriptor, attach_type, effective=True)
            lines += [f"{hook}: none"] * (not effective)
            lines += [
                f"{hook}: program {number}, ours" if pinned and number == pinned.prog_id else f"{hook}: {owner}"
                for number in effective
                for owner in [_owner(number)]
            ]
    return _text(lines)


def device_programs() -> str:
    """Return the devices, their addresses, and the programs at them: by tcx links, and by filters."""
    there, lines = rtnetlink.read(), list[str]()
    by_links = tcx.FEATURE.there()
    for device in there.devices:
        addresses = [address_text(own.address) for own in there.addresses if own.device == device.ifindex]
        lines.append(f"{device.ifindex} {device.name} {device.kind or 'device'} {' '.join(addresses)}".rstrip())
        lines += [f"    filter: {text}" for text in clsact.filters_of(device.ifindex)]
        lines += [f"    {text}" for text in (_at_device(device.ifindex) if by_links else ())]
    return _text(lines)


def pins(config: Config) -> str:
    """Return what is pinned, and the size of every table."""
    root = Pins(Path(config.bpffs)).root
    return _text(f"{pin} {_shape(pin)}".rstrip() for pin in sorted(root.rglob("*")) if not pin.is_dir())


def _at_device(ifindex: int) -> Iterator[str]:
    for way, attach_type in (("ingress", tcx.TCX_INGRESS), ("egress", tcx.TCX_EGRESS)):
        for number in libbpf.query_programs(ifindex, attach_type)[0]:
            yield f"tcx {way}: {_owner(number)}"


def _owner(number: int) -> str:
    try:
        return foreign.describe(number)
    except BpfError as error:
        return f"program {number} ({reason(error)})"


def _shape(pin: Path) -> str:
    if pin.parent.name != "maps":
        return ""
    try:
        shape = pinned_shape(pin)
    except BpfError as error:
        return reason(error)
    return f"type {shape.type}, key {shape.key_size}, value {shape.value_size}, entries {shape.max_entries}"


def _distribution() -> Iterator[str]:
    with suppress(OSError):
        yield platform.freedesktop_os_release()["PRETTY_NAME"]


def _libbpf_files() -> Iterator[str]:
    lines = Path("/proc/self/maps").read_text().splitlines()
    yield from sorted({os.path.realpath(line.split()[-1]) for line in lines if "libbpf" in line})


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"
