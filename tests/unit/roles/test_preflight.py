"""roles/preflight: what would fail later is found before, from what a machine says of itself."""

import subprocess
from dataclasses import replace
from typing import Any

import pytest

from roles.preflight.facts import LOOK, Seen, seen
from roles.preflight.judging import Finding, Machine, judged
from roles.preflight.operations import table

SOUND = """\
hostname	w1
os	debian 12
suite	bookworm
kernel	6.1.0-30-amd64
init	systemd
btf	/sys/kernel/btf/vmlinux
cgroup2	/sys/fs/cgroup
bpffs	/sys/fs/bpf
memory_kib	2000000
disk_kib	9000000
time	1000
synchronised	yes
machine_id	0123
python	3.11
nameserver	192.0.2.1
address	192.0.2.11/24
address	2001:db8::11/64
route	192.0.2.0/24
route	2001:db8::/64
mac	02:00:00:00:00:01
listens_hex	0016"""


def machine(changed: dict[str, str] | None = None, **more: Any) -> Machine:
    lines = [line for line in SOUND.splitlines() if line.partition("\t")[0] not in (changed or {})]
    lines += [f"{key}\t{value}" for key, value in (changed or {}).items()]
    name = more.pop("name", "w1")
    cidrs = ["10.244.0.0/16", "fd00:10:244::/56", "10.96.0.0/16"]
    more = {"cidrs": cidrs, "pythons": ["3.11"], "kubernetes": "v1.34.4", **more}
    return Machine(name, seen("\n".join(lines).splitlines(), now=1000), ["192.0.2.11", "2001:db8::11"], **more)


def test_a_sound_machine_has_no_finding() -> None:
    assert judged([machine()]) == []


def test_one_python_with_a_bundle_will_do() -> None:
    several = machine({"python": "3.10\npython\t3.11\npython\t3.9"})
    assert judged([several]) == []
    (finding,) = judged([machine({"python": "3.9\npython\t3.12\npython\t3.13"})])
    assert finding.what == "no bundle of the agent for Python 3.13"


def test_an_image_that_no_registry_has_is_missed_before_pods_wait_for_it() -> None:
    (finding,) = judged([machine(missing_image="socklb/tools:1")])
    assert finding.fatal
    assert finding.what == "no registry has socklb/tools:1, which the workload's pods run"
    assert finding.remedy.startswith("images/tools.sh; or ")


def test_a_version_that_cannot_be_had_is_found_before_anything_is_installed() -> None:
    why = "it cannot get https://pkgs.k8s.io/core:/stable:/v1.99/deb/Release.key (curl: (22) … 404)"
    (finding,) = judged([machine(obstacle=(why, "let it reach that"))])
    assert finding == Finding("w1", why, "let it reach that", fatal=True)


@pytest.mark.parametrize(
    ("changed", "what", "remedy"),
    [
        ({"os": "fedora 43"}, "fedora 43 is no distribution that these roles know", "install one of debian 12, 13;"),
        ({"init": "openrc-init"}, "process 1 is openrc-init", "systemd"),
        ({"hostname": "localhost"}, "it calls itself localhost", "hostnamectl set-hostname w1"),
        ({"python": "3.13"}, "no bundle of the agent for Python 3.13", "setup/build-agent.sh 3.13"),
        ({"python": "3.10"}, "Python 3.10: the agent needs 3.11", "apt-get install python3.11 there"),
        ({"kubelet": "v1.34.3"}, "its kubelet is v1.34.3, and the inventory says v1.34.4", "deploys/upgrade.py"),
        ({"kernel": "5.4.0-200-generic"}, "Linux 5.4.0-200-generic: the agent needs 5.10", "newer kernel"),
        ({"btf": ""}, "no /sys/kernel/btf/vmlinux", "CONFIG_DEBUG_INFO_BTF"),
        ({"cgroup2": ""}, "no cgroup v2 is mounted", "systemd.unified_cgroup_hierarchy=1"),
        ({"bpffs": ""}, "no bpffs at /sys/fs/bpf", "mount -t bpf"),
        ({"noexec": "/opt"}, "/opt is mounted noexec", "mount -o remount,exec /opt"),
        ({"swap": "/dev/sda2"}, "swap is on: /dev/sda2", "swapoff -a"),
        ({"memory_kib": "500000"}, "488 MiB of memory", "700 MiB"),
        ({"disk_kib": "1000000"}, "976 MiB are free in /var/lib", "make room"),
        ({"member": "/etc/kubernetes/kubelet.conf"}, "it is a node of a cluster already", "deploys/adopt.py"),
        ({"kube_proxy": "/usr/local/bin/kube-proxy"}, "a kube-proxy runs", "deploys/adopt.py"),
        ({"cni": "87-podman.conflist"}, "another pod network in /etc/cni/net.d: 87-podman.conflist", "remove"),
        ({"listens_hex": "280A"}, "port 10250 of kubelet is in use", "ss -ltnp"),
        ({"address": "192.0.2.12/24"}, "it does not have its address 192.0.2.11", "one of 192.0.2.12"),
        ({"route": "10.244.7.0/24"}, "its route to 10.244.7.0/24 overlaps with 10.244.0.0/16", "other pod_cidrs"),
        ({"nameserver": ""}, "no name server in /etc/resolv.conf", "coredns"),
        ({"firewalld": "active"}, "firewalld closes 10250/tcp", "firewall-cmd --permanent --add-port=10250/tcp"),
        ({"ufw": "Status: active"}, "ufw closes 10250/tcp", "ufw allow 10250/tcp"),
    ],
)
def test_what_would_fail_later_is_found_with_its_remedy(changed: dict[str, str], what: str, remedy: str) -> None:
    finding, *_ = judged([machine(changed)])
    assert finding.host == "w1"
    assert finding.what.startswith(what)
    assert remedy in finding.remedy
    assert finding.fatal


def test_a_clock_without_a_source_is_told_and_no_reason_to_stop() -> None:
    (finding,) = judged([machine({"synchronised": "no"})])
    assert (finding.what, finding.fatal) == ("its clock is not synchronised", False)


def test_a_port_that_is_opened_is_not_closed_by_a_firewall() -> None:
    (finding,) = judged([machine({"ufw": "Status: active", "opened": "10250/tcp"})])
    assert not finding.fatal


def test_a_control_plane_needs_more() -> None:
    found = judged([machine({"memory_kib": "1000000", "listens_hex": "192B"}, control_plane=True)])
    assert [finding.what for finding in found] == ["976 MiB of memory", "port 6443 of kube-apiserver is in use"]


def test_what_an_earlier_run_made_is_no_finding() -> None:
    made = {
        "recorded": "yes",
        "member": "/etc/kubernetes/kubelet.conf",
        "cni": "10-socklb.conflist",
        "listens_hex": "280A",
        "route": "10.244.1.0/24",
        "disk_kib": "1000000",
    }
    assert judged([machine(made)]) == []


def test_machines_that_were_cloned_are_told_apart_by_neither_identity() -> None:
    other = replace(machine({"hostname": "w2"}, name="w2"))
    found = {(finding.host, finding.what) for finding in judged([machine(), other])}
    assert found == {
        ("w2", "its machine-id 0123 is also that of w1"),
        ("w2", "its hardware address 02:00:00:00:00:01 is also that of w1"),
    }


def test_the_one_clock_that_is_wrong_is_the_one_that_is_told() -> None:
    def at(name: str, ahead: float) -> Machine:
        own = machine({"hostname": name, "machine_id": name, "mac": name}, name=name)
        known: Seen = {"said": own.seen["said"], "ahead": ahead}
        return replace(own, seen=known)

    (finding,) = judged([at("cp", 0.2), at("w1", 75.0), at("w2", 0.9)])
    assert (finding.host, finding.what) == ("w1", "its clock is +74 s off the others'")


def test_the_table_has_a_line_for_each_finding() -> None:
    text = table(judged([machine({"swap": "/dev/sda2", "btf": ""})]))
    assert text.splitlines()[0].split() == ["machine", "found", "what", "to", "do"]
    assert [line.split()[0] for line in text.splitlines()] == ["machine", "w1", "w1"]


def test_a_machine_says_all_of_it_and_is_not_changed() -> None:
    done = subprocess.run(["sh", "-c", LOOK.read_text()], capture_output=True, text=True, check=True)
    said = seen(done.stdout.splitlines(), now=0)["said"]
    assert done.stderr == ""
    assert {"hostname", "os", "kernel", "init", "memory_kib", "disk_kib", "time", "address"} <= said.keys()


def test_a_folder_for_programs_that_runs_none_is_seen() -> None:
    covered = "mount -t tmpfs -o noexec none /opt && " + LOOK.read_text()
    done = subprocess.run(["unshare", "--mount", "sh", "-c", covered], capture_output=True, text=True, check=True)
    assert seen(done.stdout.splitlines(), now=0)["said"]["noexec"] == ["/opt"]
