"""Machines over SSH: kubeadm's configurations, the folder for machines without internet, the way back."""

import hashlib
import subprocess
from pathlib import Path

import pytest
import yaml
from pyinfra.api.exceptions import OperationError

from inventory.connectors.machine import MachineConnector
from roles import control_plane, worker
from roles.container_runtime.offline import verified
from roles.control_plane.operations import kubeadm, until_it_answers
from roles.machine import operations as machine
from roles.templates import render
from roles.worker.facts import CertificateKey, FreshTicket, Ticket

VALUES = {
    "node": "cp",
    "addresses": ["192.0.2.10", "2001:db8::10"],
    "endpoint": "192.0.2.10:6443",
    "pod_cidrs": ["10.244.0.0/16", "fd00:10:244::/56"],
    "service_cidrs": ["10.96.0.0/16", "fd00:10:96::/112"],
}
TICKET = Ticket("192.0.2.10:6443", "abcdef.0123456789abcdef", "sha256:00")


def role(module: object) -> Path:
    return Path(str(module.__file__)).parent  # type: ignore[attr-defined]


def test_a_control_plane_has_both_families_and_no_token_that_lasts() -> None:
    text = render(role(control_plane), "init.yaml", version="v1.34.4", **VALUES)
    init, cluster, kubelet = yaml.safe_load_all(text)
    assert {init["apiVersion"], cluster["apiVersion"]} == {"kubeadm.k8s.io/v1beta4"}
    assert init["nodeRegistration"]["kubeletExtraArgs"] == [{"name": "node-ip", "value": "192.0.2.10,2001:db8::10"}]
    assert init["bootstrapTokens"] == [{"ttl": "1m0s"}]
    assert cluster["networking"]["podSubnet"] == "10.244.0.0/16,fd00:10:244::/56"
    assert kubelet["failCgroupV1"] is False


def test_a_worker_gives_up_after_half_a_minute_and_knows_the_server_by_its_authority() -> None:
    text = render(role(worker), "join.yaml", ticket=TICKET, node="w1", addresses=["192.0.2.11"], key=None)
    join = yaml.safe_load(text)
    assert join["discovery"]["bootstrapToken"]["caCertHashes"] == ["sha256:00"]
    assert join["timeouts"]["discovery"] == "30s"


def test_a_control_plane_joins_with_the_certificates_of_the_first() -> None:
    text = render(role(worker), "join.yaml", ticket=TICKET, node="cp2", addresses=["192.0.2.21"], key="00" * 32)
    assert yaml.safe_load(text)["controlPlane"] == {
        "certificateKey": "00" * 32,
        "localAPIEndpoint": {"advertiseAddress": "192.0.2.21"},
    }
    assert "controlPlane" not in yaml.safe_load(
        render(role(worker), "join.yaml", ticket=TICKET, node="w1", addresses=[], key=None)
    )


def test_what_kubeadm_prints_of_the_certificates_key_is_understood() -> None:
    assert CertificateKey().process(["ab" * 32]) == "ab" * 32
    assert CertificateKey().process(["error: no API server"]) is None
    assert CertificateKey().process([]) is None


def test_a_token_is_in_no_command_and_in_nothing_that_pyinfra_shows() -> None:
    commands = [*kubeadm("join", "token: abcdef.0123456789abcdef")]
    assert not any("abcdef" in command.get_raw_value() or "abcdef" in str(command) for command in commands)
    assert commands[0].connector_arguments["_stdin"] == "token: abcdef.0123456789abcdef"


def test_what_kubeadm_prints_of_a_token_is_understood() -> None:
    line = f"kubeadm join {TICKET.endpoint} --token {TICKET.token} --discovery-token-ca-cert-hash {TICKET.authority} "
    assert FreshTicket().process([line]) == TICKET
    assert FreshTicket().process([]) is None


@pytest.mark.parametrize(("seconds", "asked"), [(1, 1), (2, 4)])
def test_an_api_server_that_was_away_once_more_is_waited_for(tmp_path: Path, seconds: int, asked: int) -> None:
    calls = tmp_path / "calls"
    for name, does in (("kubectl", f'echo >>{calls}; [ "$(wc -l <{calls})" != 2 ]'), ("sleep", "true")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}:/usr/bin:/bin"
    done = subprocess.run(["sh", "-c", until_it_answers(seconds)], env={"PATH": path}, check=False)
    assert done.returncode == 0
    assert len(calls.read_text().splitlines()) == asked


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs/kubelet").write_text("kubelet")
    digest = hashlib.sha256(b"kubelet").hexdigest()
    (tmp_path / "SHA256SUMS").write_text(f"{digest}  programs/kubelet\n{digest}  images/node.tar\n")
    verified.cache_clear()
    return tmp_path


def test_a_file_of_the_folder_is_used_if_it_is_what_its_checksum_says(folder: Path) -> None:
    assert [*verified(folder, "programs")] == ["programs/kubelet"]


def test_a_wrong_checksum_names_the_file_and_what_to_do(folder: Path) -> None:
    (folder / "programs/kubelet").write_text("another")
    with pytest.raises(OperationError, match=r"programs/kubelet is not what SHA256SUMS says; .* Next: copy the folder"):
        verified(folder, "programs")


@pytest.mark.parametrize(
    ("below", "said"), [("images/node.tar", "No such file or directory"), ("packages/sid", "names no such file")]
)
def test_a_file_that_is_away_is_named(folder: Path, below: str, said: str) -> None:
    with pytest.raises(OperationError, match=said):
        verified(folder, below)


@pytest.mark.parametrize("script", ["record.sh", "put-back.sh"])
def test_the_scripts_that_run_on_machines_are_of_a_plain_shell(script: str) -> None:
    subprocess.run(["dash", "-n", str(machine.SCRIPTS / script)], check=True)


class Connector(MachineConnector):
    def __init__(self, **data: object) -> None:
        self.data = {"ssh_hostname": "192.0.2.11", "ssh_port": 0, "ssh_user": "admin", "ssh_key": "/k/id"}  # type: ignore[assignment,typeddict-item]
        self.data |= {"ssh_known_hosts_file": "/k/known", **data}  # type: ignore[typeddict-item]
        self.host = type("Host", (), {"name": "@machine/w1"})()  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        (
            "Authentication error (username=admin) (Authentication failed.)",
            "ssh-copy-id -i /k/id.pub admin@192.0.2.11, or",
        ),
        (
            "SSH host key error (Host key for 192.0.2.11 does not match.)",
            "if w1 was installed anew: ssh-keygen -R 192.0.2",
        ),
        ("SSH error (StrictPolicy: No host key for 192.0.2.11 found)", "ssh-keyscan -p 22 192.0.2.11 >>/k/known"),
        ("Could not connect (timed out)", "start it, and its sshd, then the same command again; the other machines"),
    ],
)
def test_an_error_of_ssh_names_what_helps(said: str, remedy: str) -> None:
    assert Connector().remedy(said).startswith(remedy)


def test_a_machine_that_dies_in_an_upload_is_its_own_failure_and_not_pyinfras() -> None:
    def dies() -> bool:
        raise EOFError

    with pytest.raises(OSError, match=r"the connection broke .* Next: start it"):
        Connector()._as_its_own(dies)
