"""A configuration that is not right names the file, the key and what would be valid."""

from __future__ import annotations

from pathlib import Path

import pytest

from socklb.cli import main
from socklb.config import load
from socklb.errors import SocklbError

GOOD = 'node = "w1"\nmanifests = "/etc/socklb/manifests"\n'


def test_two_keys_are_enough(tmp_path: Path) -> None:
    path = tmp_path / "socklb.toml"
    path.write_text(GOOD)
    found = load(path)
    assert (found.node, found.bpffs, found.cgroup) == ("w1", "/sys/fs/bpf", None)


def test_a_pod_knows_its_node_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "socklb.toml"
    path.write_text("")
    monkeypatch.setenv("NODE_NAME", "w7")
    assert load(path).node == "w7"
    path.write_text(GOOD)
    assert load(path).node == "w1"


@pytest.mark.parametrize(
    "server", ["https://172.18.0.2:6443", "https://[fd00::1]:443", "https://cp-1.example.com:6443"]
)
def test_servers_are_addresses_or_names_with_a_port(tmp_path: Path, server: str) -> None:
    path = tmp_path / "socklb.toml"
    path.write_text(f'node = "w1"\napi_servers = ["{server}"]\n')
    assert load(path).api_servers == (server,)


def test_external_ips_are_allowed_nowhere_unless_it_says_so(tmp_path: Path) -> None:
    path = tmp_path / "socklb.toml"
    path.write_text(GOOD)
    assert load(path).external_ips == ()
    path.write_text(GOOD + 'external_ips = ["198.51.100.0/24", "2001:db8::/32"]\n')
    assert load(path).external_ips == ("198.51.100.0/24", "2001:db8::/32")


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("", ()),
        ('"top:100"', "top:100"),
        ('["shop/web", "kube-system/kube-dns"]', ("shop/web", "kube-system/kube-dns")),
    ],
)
def test_connections_are_counted_of_no_service_unless_it_says_so(
    tmp_path: Path, said: str, found: str | tuple[str, ...]
) -> None:
    path = tmp_path / "socklb.toml"
    path.write_text(GOOD + (f"metrics_services = {said}\n" if said else ""))
    assert load(path).metrics_services == found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('manifests = "/etc/socklb/manifests"\n', "`node`"),
        (GOOD + 'kubeconfig = "/etc/socklb/kubeconfig"\n', "one source: `manifests` or the API - at `$.kubeconfig`"),
        (
            GOOD + 'host_routing = true\npacket_path = false\npod_cidrs = ["10.0.0.0/8"]\n',
            "it needs packet_path = true - at `$.host_routing`",
        ),
        (
            GOOD + 'metrics_services = "top:0"\n',
            "'top:0' says not which Services; valid: a list of NAMESPACE/NAME, or top:N",
        ),
        (GOOD + 'metrics_services = "all"\n', "'all' says not which Services"),
        (GOOD + 'metrics_services = ["shop/web", "web"]\n', "'web' says not which Services"),
        (GOOD + "host_routing = true\n", "only pod_cidrs says which those are - at `$.host_routing`"),
        ('node = "w1"\napi_servers = ["172.18.0.2"]\n', "'172.18.0.2' is not like https://172.18.0.2:6443"),
        ('node = "w1"\napi_servers = ["http://172.18.0.2:6443"]\n', "is not like https://172.18.0.2:6443"),
        ('node = "w1"\napi_servers = ["https://172.18.0.2:99999"]\n', "is not like https://172.18.0.2:6443"),
        ('node = "w1"\napi_servers = ["https://<control-plane>:6443"]\n', "'https://<control-plane>:6443' is not like"),
        (
            GOOD + 'api_servers = ["172.18.0.2"]\npod_cidrs = ["10"]\nhealth_address = "x"\n',
            (
                "there can be one source: `manifests` or the API - at `$.api_servers`; "
                "'172.18.0.2' is not like https://172.18.0.2:6443 - at `$.api_servers`; "
                "'10' is not a CIDR like 10.244.0.0/16 - at `$.pod_cidrs`; health_address cannot be listened at ('x')"
            ),
        ),
        (GOOD + "bpffs = 7\n", "`$.bpffs`"),
        (GOOD + 'log_level = "loud"\n', "'loud' is none of debug, info, warning, error - at `$.log_level`"),
        (GOOD + "bypass_pods = true\n", "the API alone says which Pods there are, not `manifests`"),
        (
            GOOD + 'bypass_cgroups = ["system.slice", "/", "a/../b", "**"]\n',
            "'/' is not like system.slice/proxy-*.service, without .. and ** - at `$.bypass_cgroups`; 'a/../b' is not",
        ),
        (
            GOOD + 'external_ips = ["198.51.100.7"]\n',
            "'198.51.100.7' is not a CIDR like 10.244.0.0/16 - at `$.external_ips`",
        ),
        (GOOD + "bpffs", "key/value pair"),
        (GOOD + 'socket = "a\\u0000"\n', r"'a\x00' is no path - at `$.socket`"),
        (
            GOOD + "max_flows = 5\nuplinks = [7]\n",
            "(5) - at `$.max_flows`; Expected `str`, got `int` (7) - at `$.uplinks[0]`",
        ),
        (GOOD + f"x = {'[' * 5000}", "no TOML: nested too deep"),
        (GOOD + f"max_flows = {'9' * 5000}", "no TOML: an integer of thousands of digits"),
        (GOOD + f'log_level = "{"x" * 5000}"', f"'{'x' * 79}… is none of debug, info, warning, error"),
    ],
    ids=[
        "a key is missing",
        "two sources",
        "host routing without eBPF",
        "connections of no Service",
        "connections of a word",
        "connections of a name without namespace",
        "host routing of nobody",
        "no server",
        "a server that would get the token in the clear",
        "no port",
        "a placeholder",
        "several mistakes",
        "a wrong type",
        "no level",
        "Pods of a folder",
        "no cgroups below",
        "no network",
        "no TOML",
        "no path",
        "two wrong types",
        "too deep",
        "too many digits",
        "a long value",
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "socklb.toml"
    path.write_text(text)
    with pytest.raises(SocklbError, match="the configuration is not right") as raised:
        load(path)
    assert told in str(raised.value)
    assert str(path) in str(raised.value)
    assert "keys" not in str(raised.value)  # they are for those who took a wrong one


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('nod = "w1"\n', "unknown key `nod`, did you mean `node`?"),
        (GOOD + 'Manifest = "x"\n', "unknown key `Manifest`, did you mean `manifests`?"),
        (GOOD + 'pod_cidr = ["10.0.0.0/8"]\nxyz = 1\n', "did you mean `pod_cidrs`?; unknown key `xyz` ("),
        (GOOD + '"a\\nb" = 1\n', "unknown key `a b` ("),
        (GOOD + "xyz = 1\nbpffs = 7\n", "unknown key `xyz`; Expected `str`, got `int` (7) - at `$.bpffs`"),
    ],
)
def test_an_unknown_key_is_told_with_the_one_that_was_meant_and_all_that_there_are(
    tmp_path: Path, text: str, told: str
) -> None:
    path = tmp_path / "socklb.toml"
    path.write_text(text)
    with pytest.raises(SocklbError, match="the configuration is not right") as raised:
        load(path)
    assert told in str(raised.value)
    assert "; valid: the keys node, manifests, kubeconfig, " in str(raised.value)


def test_a_verb_without_its_configuration_ends_with_1_and_the_next_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert main(["status", "--config", str(tmp_path / "none.toml")]) == 1
    told = capsys.readouterr().err
    assert told.startswith("socklb: cannot read the configuration: No such file or directory")
    assert "next: name another with --config FILE" in told


@pytest.mark.parametrize("socket", ["7", "[]", '"a\\u0000"'])
def test_a_command_that_only_asks_the_agent_says_that_its_socket_is_no_path(
    tmp_path: Path, socket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "socklb.toml"
    path.write_text(GOOD + f"socket = {socket}\n")
    assert main(["status", "--config", str(path)]) == 1
    assert "is no path - at `$.socket`" in capsys.readouterr().err
