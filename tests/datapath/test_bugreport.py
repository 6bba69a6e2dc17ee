"""`socklb bugreport`: all that a maintainer asks for, and nothing that is secret."""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from rig.agents import AgentUnderTest, endpoint_slice, node, service
from rig.sandbox import BACKENDS4, NODE4
from tests.datapath.services import SERVICE4

FILES = {
    "configuration.txt",
    "versions.txt",
    "status.txt",
    "status.json",
    "services.json",
    "sockets.json",
    "flows.json",
    "hooks.txt",
    "pins.txt",
    "metrics.txt",
    "devices.txt",
    "mounts.txt",
    "log/agent.log",
}
JWT = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.eyJpc3MiOiJrdWJlcm5ldGVzL3NlcnZpY2VhY2NvdW50In0.c2lnbmF0dXJl"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEAplantedkeymaterial\n-----END RSA PRIVATE KEY-----"
# Where each is planted.
IN_KUBECONFIG = ["plantedkubetoken0001", "plantedpassword0002", base64.b64encode(PEM.encode()).decode()]
IN_A_FILE = "plantedtokenfile0003"
IN_ENVIRONMENT = ["planted/environment+0004", "plantedagentenv0005"]
IN_CONFIGURATION = ["plantedunknownkey0006", "plantedcomment0007"]
IN_LOG = [JWT, "MIIEowIBAAKCAQEAplantedkeymaterial", "plantedbearer0008", "plantedurl0009", "abcdef.0123456789abcdef"]
SECRETS = [*IN_KUBECONFIG, IN_A_FILE, *IN_ENVIRONMENT, *IN_CONFIGURATION, *IN_LOG]
PLAIN = "a line of the log that is no secret"


def pieces(archive: Path) -> dict[str, str]:
    with tarfile.open(archive) as opened:
        found = {member.name.partition("/")[2]: opened.extractfile(member) for member in opened}
        return {name: file.read().decode() for name, file in found.items() if file}


def report(agent: AgentUnderTest, **environment: str) -> tuple[dict[str, str], subprocess.CompletedProcess[str]]:
    output = agent.home / "report.tar.gz"
    output.unlink(missing_ok=True)
    done = subprocess.run(
        agent.command("bugreport", "--output", str(output)),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    return pieces(output), done


def kubeconfig(folder: Path) -> Path:
    (folder / "token").write_text(IN_A_FILE)
    token, password, key = IN_KUBECONFIG
    users = [
        {"name": "one", "user": {"token": token, "client-key-data": key}},
        {"name": "two", "user": {"username": "me", "password": password}},
        {"name": "three", "user": {"tokenFile": "token"}},
    ]
    path = folder / "kubeconfig"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "users": users}))
    return path


@pytest.fixture
def served(agent: AgentUnderTest) -> AgentUnderTest:
    agent.write("web.yaml", node("w1", NODE4), service("web", SERVICE4), endpoint_slice("web-4", *BACKENDS4[:2]))
    return agent


def test_everything_is_in_it(served: AgentUnderTest) -> None:
    served.start()
    found, done = report(served)
    assert found.keys() >= FILES
    assert f"{SERVICE4}:80/TCP" in found["services.json"]
    assert json.loads(found["status.json"])["agent"]["running"]
    assert json.loads(found["sockets.json"])["rows"] == 0
    assert "connect4: program" in found["hooks.txt"]
    assert ", ours" in found["hooks.txt"]
    assert "libbpf.so" in found["versions.txt"]
    assert "msgspec" in found["versions.txt"]
    assert "socklb_frontends" in found["metrics.txt"]
    assert "maps/frontends type 1, key 20" in found["pins.txt"]
    assert " lo " in found["devices.txt"]
    assert "in sync" in found["log/agent.log"]
    assert f'bpffs = "{served.bpffs}"' in found["configuration.txt"]
    assert [line for line in done.stderr.splitlines() if "flows.json" not in line] == []  # there is no packet path
    assert "look through it" in done.stdout


def test_without_an_agent_there_is_what_the_kernel_has(served: AgentUnderTest) -> None:
    served.start()
    served.stop()
    found, done = report(served)
    assert f"{SERVICE4}:80/TCP" in found["services.json"]
    assert "connect4: program" in found["hooks.txt"]
    assert not json.loads(found["status.json"])["agent"]["running"]
    assert "left out: metrics.txt: no agent serves metrics" in done.stderr


def test_a_report_that_is_there_is_not_overwritten(served: AgentUnderTest) -> None:
    output = served.home / "mine.tar.gz"
    output.write_text("mine")
    done = served.run("bugreport", "--output", str(output))
    assert (done.returncode, done.stderr) == (1, f"socklb: File exists: {output}\n")
    assert output.read_text() == "mine"


def test_no_secret_is_in_it(served: AgentUnderTest) -> None:
    """Beside a control: what stands next to each is there."""
    environment, agents = IN_ENVIRONMENT
    served.around = ["env", f"API_TOKEN={agents}"]
    served.start()
    token, password, key = IN_KUBECONFIG
    with served.log_file.open("a") as log:
        lines = [PLAIN, f"asked with {token} and {password} {key}", f"read {IN_A_FILE}", f"has {environment} {agents}"]
        lines += [f"a token {JWT}", PEM, f"Authorization: Bearer {IN_LOG[2]}", f"GET https://me:{IN_LOG[3]}@10.0.0.1/"]
        log.write(
            "\n".join([*lines, f"joined by {IN_LOG[4]}", *(f"of {text}" for text in IN_CONFIGURATION[:1])]) + "\n"
        )
    said = f'kubeconfig = "{kubeconfig(served.home)}"'
    text = served.config.read_text().replace(f'manifests = "{served.manifests}"', said)
    served.config.write_text(f"{text}# {IN_CONFIGURATION[1]}\n")  # the agent has read it
    found, _ = report(served, DATABASE_PASSWORD=environment)
    assert json.loads(found["status.json"])["agent"]["running"]
    with served.config.open("a") as config:
        config.write(f'password = "{IN_CONFIGURATION[0]}"\n')
    again, _ = report(served, DATABASE_PASSWORD=environment)
    assert_clean(found, [secret for secret in SECRETS if secret != IN_CONFIGURATION[0]])
    assert_clean(again, SECRETS)
    assert PLAIN in found["log/agent.log"]
    assert "Authorization: Bearer [removed]" in found["log/agent.log"]
    assert "@10.0.0.1/" in found["log/agent.log"]
    assert "# left out, as no key of socklb: password" in again["configuration.txt"]
    assert said in found["configuration.txt"]


def assert_clean(found: dict[str, str], secrets: list[str]) -> None:
    whole = "\n".join(found.values())
    for secret in secrets:
        assert secret not in whole
        assert base64.b64encode(secret.encode()).decode() not in whole


def test_each_secret_would_be_in_it(tmp_path: Path) -> None:
    """The control: without the redactor the log brings them all."""
    from socklb.bugreport import logs
    from socklb.bugreport.collecting import Piece, write
    from socklb.bugreport.secrets import Redactor

    class Nothing(Redactor):
        def clean(self, text: str) -> str:
            return text

    path = tmp_path / "agent.log"
    path.write_text("\n".join(SECRETS) + "\n")
    write(tmp_path / "x.tar.gz", "x", [Piece("log", lambda: logs.tail(path))], Nothing([]))
    assert all(secret in pieces(tmp_path / "x.tar.gz")["log"] for secret in SECRETS)


def test_a_configuration_that_is_not_right_leaves_the_rest(served: AgentUnderTest) -> None:
    served.config.write_text("node = [\n")
    found, done = report(served)
    assert "no TOML" in found["configuration.txt"]
    assert "libbpf.so" in found["versions.txt"]
    assert "left out: configuration.txt" in done.stderr
