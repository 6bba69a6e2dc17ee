"""The machines themselves: plain, apart from one another and from this machine, and gone afterwards."""

import pytest

from tests.support.cluster import HostSettings
from tests.support.machines import KNOWN_HOSTS, Machine, Machines
from tests.support.sealed import at_home, docker, run


@pytest.fixture(scope="module")
def plain(machines: Machines) -> Machines:
    machines.start(plain12="12", plain13="13", ubuntu="24.04")
    return machines


@pytest.fixture(params=["plain12", "plain13", "ubuntu"])
def machine(request: pytest.FixtureRequest, plain: Machines) -> Machine:
    return plain[request.param]


def test_it_is_the_release_that_was_asked_for_with_nothing_of_kubernetes(machine: Machine) -> None:
    told = machine.ssh("cat", "/etc/os-release").stdout
    assert f'VERSION_ID="{machine.release}"' in told
    assert machine.ssh("systemctl", "is-system-running").stdout == "running\n"
    look = "for program in sshd containerd runc kubelet kubeadm iptables nft; do command -v $program; done"
    assert machine.ssh("sudo", "sh", "-c", look).stdout == "/usr/sbin/sshd\n"


def test_only_the_user_with_the_key_is_let_in_and_has_sudo(machine: Machine) -> None:
    assert machine.ssh("sudo", "id", "-un").stdout == "root\n"
    refused = run(*machine.argv("true", options=("-l", "root")))
    assert (refused.returncode, "Permission denied (publickey)" in refused.stderr) == (255, True)
    without_key = run(*machine.argv("true", options=("-o", "PubkeyAuthentication=no")))
    assert (without_key.returncode, "Permission denied (publickey)" in without_key.stderr) == (255, True)


def test_a_machine_with_another_host_key_is_not_taken_for_it(plain: Machines) -> None:
    known = run("ssh-keygen", "-F", plain["plain12"].addresses[0], "-f", KNOWN_HOSTS).stdout
    assert plain["plain12"].output("cut", "-d ", "-f2", "/etc/ssh/ssh_host_ed25519_key.pub") in known
    assert plain["plain13"].output("cut", "-d ", "-f2", "/etc/ssh/ssh_host_ed25519_key.pub") not in known


def test_they_reach_one_another_and_nothing_else(machine: Machine, plain: Machines) -> None:
    other = next(one for one in plain.values() if one is not machine)
    for address in other.addresses:
        assert machine.ssh("ping", "-c1", "-W2", address).returncode == 0
    assert machine.ssh("ping", "-c1", "-W1", "192.0.2.1").returncode == 1
    route = run("ip", "route", "get", "192.0.2.1")
    assert "unreachable" in route.stderr


def test_no_two_are_taken_for_one(machines: Machines, machine: Machine) -> None:
    machines.start(second=machine.release)
    second = machines["second"]
    for identity in ("/etc/machine-id", "/sys/class/net/eth0/address", "/etc/ssh/ssh_host_ed25519_key.pub"):
        assert second.output("cat", identity) != machine.output("cat", identity)
    machines.remove(second.name)


@pytest.mark.parametrize("how", ["reboot", "power_cut"])
def test_after_a_reboot_it_has_its_address_its_files_and_its_keys(how: str, machine: Machine) -> None:
    before = machine.output("sha256sum", "/etc/hosts", "/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key")
    machine.ssh("sudo", "sh", "-c", "echo net.ipv4.conf.all.forwarding=1 >/etc/sysctl.d/test.conf; echo x >/var/lib/x")
    if how == "reboot":
        machine.reboot()
    else:
        machine.power_off()
        assert machine.ssh("true").returncode == 255
        machine.power_on()
    assert machine.output("sha256sum", "/etc/hosts", "/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key") == before
    assert machine.output("cat", "/var/lib/x") == "x"
    assert machine.output("cat", "/proc/sys/net/ipv4/conf/all/forwarding") == "1"
    assert machine.output("stat", "-f", "-c", "%T", "/sys/fs/bpf") == "bpf_fs"


def test_one_that_hangs_answers_nothing_until_it_goes_on(machine: Machine) -> None:
    with machine.hanging():
        assert "timed out" in machine.ssh("true").stderr
    assert machine.ssh("true").returncode == 0


def test_files_that_a_container_may_not_replace_can_be_replaced(machine: Machine) -> None:
    for file in ("hosts", "hostname", "resolv.conf"):
        assert machine.ssh("sudo", "sh", "-c", f"cp /etc/{file} /etc/.new && mv /etc/.new /etc/{file}").returncode == 0


def test_a_port_of_its_own(machines: Machines) -> None:
    machines.start(port=2222, other_port="12")
    machine = machines["other_port"]
    assert machine.ssh("id", "-un").stdout == "admin\n"
    assert "refused" in run(*machine.argv("true", options=("-p", "22"))).stderr
    machines.remove("other_port")


def test_this_machines_own_settings_are_as_before(plain: Machines, settings_before: HostSettings) -> None:
    with at_home():
        assert HostSettings.now() == settings_before


def test_what_a_killed_session_left_is_gone(left_half_made: str, plain: Machines) -> None:
    if not left_half_made:
        pytest.skip("the machines were kept")
    assert left_half_made not in docker("ps", "--all", "--no-trunc", "--quiet")
