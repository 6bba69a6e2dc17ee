"""Ways to a machine that differ from a key, port 22 and sudo without a password; and those that are closed."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.bare_metal import BareMetal
from tests.support.machines import CONFIG, KNOWN_HOSTS, Machines
from tests.support.sealed import output

ASKS_FOR_ONE = "echo 'admin ALL=(ALL) ALL' >/etc/sudoers.d/admin && echo admin:s3cret | chpasswd"
Inventory = Callable[..., BareMetal]


@pytest.fixture(scope="module")
def ways(machines: Machines) -> Iterator[Machines]:
    machines.start(gate="12", inner="12")
    machines.start(port=2222, odd="13")
    machines["gate"].output("sh", "-c", ASKS_FOR_ONE)
    only = f"AllowUsers admin@{machines['gate'].addresses[0]}"
    machines["inner"].output("sh", "-c", f"echo '{only}' >/etc/ssh/sshd_config.d/only.conf && systemctl reload ssh")
    yield machines
    machines.remove("gate", "inner", "odd")


@pytest.fixture
def inventory(ways: Machines, source: Path, tmp_path: Path) -> Inventory:
    """Make an inventory of one machine, with other settings than the tests' own."""
    return lambda name, **settings: BareMetal(ways, tmp_path, source).write([name], **settings)


def test_a_port_of_its_own(inventory: Inventory) -> None:
    assert "root" in inventory("odd").whoami().stderr


def test_sudo_with_a_password(inventory: Inventory) -> None:
    assert "root" in inventory("gate", sudo_password="s3cret").whoami().stderr


@pytest.mark.parametrize("settings", [{}, {"sudo_password": "wrong"}], ids=["none", "wrong"])
def test_without_the_right_password_the_line_says_so(inventory: Inventory, settings: dict[str, str]) -> None:
    done = inventory("gate", **settings).whoami()
    assert done.returncode != 0
    assert "sudo" in done.stderr
    assert "password" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_password_that_no_program_in_tmp_can_give_is_told_with_what_to_type(
    inventory: Inventory, ways: Machines
) -> None:
    ways["gate"].output("mount", "-o", "remount,noexec", "/tmp")
    try:
        done = inventory("gate", sudo_password="s3cret").whoami()
    finally:
        ways["gate"].output("mount", "-o", "remount,exec", "/tmp")
    assert done.returncode != 0
    assert "mount -o remount,exec /tmp" in done.stderr
    assert "Traceback" not in done.stderr


def test_by_way_of_a_bastion(inventory: Inventory, tmp_path: Path) -> None:
    direct = inventory("inner")
    assert direct.whoami().returncode != 0  # the control: it lets in only who comes from there
    jump = tmp_path / "config"
    jump.write_text(f"Host {direct.machines['inner'].addresses[0]}\n  ProxyJump gate\n{CONFIG.read_text()}")
    done = inventory("inner", ssh_config_file=str(jump)).whoami()
    assert done.returncode == 0, done.stderr
    assert "root" in done.stderr


def test_the_wrong_key_is_told_with_what_to_type(inventory: Inventory, tmp_path: Path) -> None:
    other = tmp_path / "other"
    output("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other)
    told(inventory("odd", ssh_key=str(other)), "ssh-copy-id")


def test_root_who_may_not_log_in_is_told_so(inventory: Inventory) -> None:
    told(inventory("odd", ssh_user="root"), "another ssh_user")


def test_a_changed_host_key_is_told_and_nothing_is_run(inventory: Inventory, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    keys = [line.split()[-1] for line in KNOWN_HOSTS.read_text().splitlines()]
    known.write_text(KNOWN_HOSTS.read_text().replace(keys[-1], keys[0]))
    told(inventory("odd", ssh_known_hosts_file=str(known)), "ssh-keygen -R")


def test_an_unknown_host_key_is_told_and_nothing_is_run(inventory: Inventory, tmp_path: Path) -> None:
    empty = tmp_path / "known_hosts"
    empty.touch()
    told(inventory("odd", ssh_known_hosts_file=str(empty)), "ssh-keyscan")
    assert empty.read_text() == ""


def told(metal: BareMetal, remedy: str) -> None:
    done = metal.whoami()
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if "Next:" in line]
    assert remedy in line
    assert "odd" in line or "172.31.7." in line
    assert "Traceback" not in done.stderr
