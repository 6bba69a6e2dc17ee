"""The node's cgroup-v2 root is found from mountinfo, whatever kind of machine it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from socklb.datapath.mounts import cgroup2_root, check_bpffs, read_mounts
from socklb.errors import SocklbError

ROOT = "21 1 8:1 / / rw - ext4 /dev/sda1 rw"
CASES = {
    "systemd, v2 alone": (["30 21 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw"], "/sys/fs/cgroup"),
    "hybrid: v2 beside v1": (
        [
            "30 21 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw",
            "31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory",
            "32 30 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
        ],
        "/sys/fs/cgroup/unified",
    ),
    "v2 is mounted twice": (
        [
            "30 21 0:26 / /run/somebody/elses/cgroup2 rw - cgroup2 cgroup2 rw",
            "31 21 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw",
        ],
        "/sys/fs/cgroup",
    ),
    "a part is mounted elsewhere": (
        [
            "30 21 0:26 /system.slice /mnt rw - cgroup2 cgroup2 rw",
            "31 21 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw",
        ],
        "/sys/fs/cgroup",
    ),
    "only a part is mounted": (["30 21 0:26 /system.slice /mnt rw - cgroup2 cgroup2 rw"], None),
    "no v2 at all": (["31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"], None),
    "a space in the path": ([r"30 21 0:26 / /mnt/c\040g rw - cgroup2 cgroup2 rw"], "/mnt/c g"),
}


@pytest.fixture
def mountinfo(tmp_path: Path) -> Path:
    return tmp_path / "mountinfo"


@pytest.mark.parametrize(("lines", "expected"), CASES.values(), ids=CASES)
def test_the_root_is(mountinfo: Path, lines: list[str], expected: str | None) -> None:
    mountinfo.write_text("\n".join([ROOT, *lines, ""]))
    assert cgroup2_root(read_mounts(mountinfo)) == (Path(expected) if expected else None)


def test_pins_on_another_file_system_are_refused_with_the_command_that_helps(mountinfo: Path) -> None:
    mountinfo.write_text(f"{ROOT}\n30 21 0:26 / /sys/fs/bpf rw - bpf bpf rw\n")
    check_bpffs(Path("/sys/fs/bpf"), read_mounts(mountinfo))
    with pytest.raises(SocklbError, match="next: mount -t bpf bpf /var/bpf -o mode=0700"):
        check_bpffs(Path("/var/bpf"), read_mounts(mountinfo))
