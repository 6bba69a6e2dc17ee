"""What the kernel refuses is told with its reason."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from socklb.datapath import hooks, libbpf
from socklb.datapath.node_datapath import NodeDatapath
from tests.datapath.meddling import compile_object

READS_WITHOUT_A_CHECK = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char _license[] SEC("license") = "GPL";
struct {
  __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 1); __type(key, int); __type(value, int);
} m SEC(".maps");
SEC("cgroup/connect4") int connect4(struct bpf_sock_addr *ctx)
{ int key = 0, *value = bpf_map_lookup_elem(&m, &key); return *value & 1; }
"""
LOAD = """
import sys
from pathlib import Path
from socklb.datapath import libbpf
libbpf.Object.open(Path(sys.argv[1])).load()
"""


def test_a_refused_program_is_told_with_the_verifiers_last_word(tmp_path: Path) -> None:
    path = compile_object(tmp_path, READS_WITHOUT_A_CHECK)
    with libbpf.Object.open(path) as obj, pytest.raises(libbpf.BpfError) as raised:
        obj.load()
    assert str(raised.value).startswith(f"load {path}: Permission denied: R0 invalid mem access 'map_value_or_null'")
    assert "-- BEGIN PROG LOAD LOG --" in raised.value.log


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        ("-all", "CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF"),
        ("-all,+bpf,+perfmon", "CAP_NET_ADMIN"),
        ("-all,+net_admin,+perfmon", "CAP_BPF"),
        ("-all,+net_admin,+bpf", "CAP_PERFMON"),
    ],
    ids=["all", "CAP_NET_ADMIN", "CAP_BPF", "CAP_PERFMON"],
)
def test_a_missing_capability_is_named(objects: Path, kept: str, told: str) -> None:
    drop = ["setpriv", f"--bounding-set={kept}", f"--inh-caps={kept}"]
    python = [sys.executable, "-c", LOAD, str(objects / "socklb.bpf.o")]
    done = subprocess.run([*drop, *python], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"this process lacks {told}: run as root or grant that" in done.stderr


def test_three_capabilities_suffice(objects: Path) -> None:
    kept = "-all,+bpf,+net_admin,+perfmon"
    drop = ["setpriv", f"--bounding-set={kept}", f"--inh-caps={kept}"]
    done = subprocess.run([*drop, sys.executable, "-c", LOAD, str(objects / "socklb.bpf.o")], check=False)
    assert done.returncode == 0


def test_a_file_that_is_no_object_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.bpf.o"
    path.write_text("not ELF")
    with pytest.raises(libbpf.BpfError, match=f"open {path}: "):
        libbpf.Object.open(path)


def test_a_link_of_another_attach_type_is_replaced_and_not_updated(datapath: NodeDatapath, bpffs: Path) -> None:
    """bpf_link_update() itself would put a connect4 program on a connect6 link and report success."""
    links = datapath.pins.links
    (links / "connect4").unlink()
    (links / "connect6").rename(links / "connect4")
    datapath.attach()
    found = {hook.name: hook for hook in hooks.inspect(datapath.cgroup, links)}
    assert found["connect4"].effective
    assert found["connect6"].effective
