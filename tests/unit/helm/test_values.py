"""Every value arrives where it is meant for, and what is not right is refused by a sentence that names it."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from socklb.config import KEYS, Config, load
from tests.support.cluster import ROOT
from tests.support.helm import CHART, SERVERS, helm, rendered

AGENT, CLEANUP = ("DaemonSet", "socklb"), ("DaemonSet", "socklb-cleanup")
OF_THE_CHART = {"bpffs", "cgroup"}  # where its DaemonSet mounts them
OF_THE_POD = {"node", "manifests", "kubeconfig", "objects", "socket"}  # right by default in a pod
# Of every key of the configuration another value than the default.
EVERY_KEY: dict[str, Any] = {
    "apiServers": ["https://[2001:db8::1]:6443", "https://cp.example:443"],
    "podCIDRs": ["10.244.0.0/16", "fd00:10:244::/48"],
    "nativeCIDRs": ["192.0.2.0/24"],
    "nodeRoutes": True,
    "hostRouting": True,
    "podSockets": False,
    "bypassPods": True,
    "bypassCgroups": ["system.slice/proxy-*.service"],
    "externalIPs": ["198.51.100.0/24"],
    "uplinks": ["eth*"],
    "maxFrontends": 16777216,
    "maxBackends": 2000000,
    "maxFlows": 262144,
    "metricsServices": "top:100",
    "logLevel": "debug",
    "healthPort": 10300,
    "metricsAddress": "[::]:10301",
}


def test_lint_finds_nothing() -> None:
    done = helm("lint", "--strict", "--quiet", CHART, values=SERVERS)
    assert (done.returncode, done.stdout.strip()) == (0, "")


def test_the_schema_knows_the_values_that_there_are() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert schema["properties"].keys() - {"global"} == values_yaml().keys()


def values_yaml() -> dict[str, Any]:
    return yaml.safe_load((CHART / "values.yaml").read_text())


def test_every_key_of_the_configuration_can_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_NAME", "worker-1")
    config, default = agents_configuration(EVERY_KEY, tmp_path), Config()
    said = {key for key in KEYS if getattr(config, key) != getattr(default, key)}
    assert said == {*KEYS} - OF_THE_POD - {"packet_path"}
    assert config.api_servers == tuple(EVERY_KEY["apiServers"])
    assert (config.max_frontends, config.max_backends, config.max_flows) == (16777216, 2000000, 262144)
    assert (config.health_address, config.metrics_address) == ("[::]:10300", "[::]:10301")


def agents_configuration(values: dict[str, Any], folder: Path) -> Config:
    file = folder / "socklb.toml"
    file.write_text(rendered(values)["ConfigMap", "socklb"]["data"]["socklb.toml"])
    return load(file)


def test_beside_a_kube_proxy_packets_and_ports_are_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_NAME", "worker-1")
    config = agents_configuration({**SERVERS, "kubeProxyReplacement": False}, tmp_path)
    assert (config.packet_path, config.health_address, config.metrics_address) == (
        False,
        "[::]:10356",
        "127.0.0.1:10349",
    )


@pytest.mark.parametrize(
    ("values", "port"), [({}, 10256), ({"kubeProxyReplacement": False}, 10356), ({"healthPort": 1}, 1)]
)
def test_probes_ask_at_the_port_that_the_agent_has(values: dict[str, Any], port: int) -> None:
    objects = rendered({**SERVERS, **values})
    text = objects["ConfigMap", "socklb"]["data"]["socklb.toml"]
    (agent,) = objects[AGENT]["spec"]["template"]["spec"]["containers"]
    assert tomllib.loads(text)["health_address"] == f"[::]:{port}"
    assert agent["ports"] == [{"name": "health", "containerPort": port}]


def test_what_concerns_pods_is_said_of_the_agents_and_of_what_cleans_up() -> None:
    said: dict[str, Any] = {
        "image": {"repository": "registry.example/socklb/agent", "tag": "mine", "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "registry"}],
        "priorityClassName": "",
        "tolerations": [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}],
        "nodeSelector": {"kubernetes.io/arch": "arm64"},
        "capabilities": ["SYS_ADMIN", "NET_ADMIN"],
        "cgroup": "/sys/fs/cgroup/unified",
    }
    objects = rendered({**SERVERS, **said, "cleanupOnUninstall": True}, "elsewhere")
    for name in (AGENT, CLEANUP):
        pod = objects[name]["spec"]["template"]["spec"]
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            assert container["image"] == "registry.example/socklb/agent:mine"
            assert container["imagePullPolicy"] == "Always"
        assert "priorityClassName" not in pod
        assert all(pod[key] == said[key] for key in ("imagePullSecrets", "tolerations"))
        assert pod["nodeSelector"] == {"kubernetes.io/os": "linux", "kubernetes.io/arch": "arm64"}
        main = (*pod.get("initContainers", ()), *pod["containers"])[0]
        assert main["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": said["capabilities"]}
        paths = {volume["name"]: volume["hostPath"]["path"] for volume in pod["volumes"] if "hostPath" in volume}
        assert paths == {"run": "/run/socklb", "cgroup": "/sys/fs/cgroup/unified", "bpffs": "/sys/fs/bpf"}
    assert "NET_ADMIN" not in str(objects[CLEANUP]["spec"]["template"]["spec"]["containers"])
    (wait,) = objects["Job", "socklb-cleanup"]["spec"]["template"]["spec"]["containers"]
    assert wait["image"] == "registry.example/socklb/agent:mine"


def test_a_release_is_in_its_own_namespace() -> None:
    objects = rendered({**EVERY_KEY, "cleanupOnUninstall": True}, "elsewhere")
    cluster_wide = {kind for (kind, _), one in objects.items() if "namespace" not in one["metadata"]}
    assert cluster_wide == {"ClusterRole", "ClusterRoleBinding"}
    subjects = [subject for one in objects.values() for subject in one.get("subjects", ())]
    assert len(subjects) == 3
    named = [one["metadata"].get("namespace", "elsewhere") for one in objects.values()]
    assert {*named, *(subject["namespace"] for subject in subjects)} == {"elsewhere"}


def test_a_right_is_given_where_its_key_is_set_and_only_there() -> None:
    assert ("ClusterRole", "socklb-bypass") not in rendered(SERVERS)
    assert ("ClusterRole", "socklb-bypass") in rendered({**SERVERS, "bypassPods": True})


def test_another_configuration_rolls_the_agents_and_the_same_one_does_not() -> None:
    templates = [
        rendered(values)[AGENT]["spec"]["template"]
        for values in (SERVERS, {**SERVERS, "logLevel": "debug"}, {**SERVERS, "dashboard": {"enabled": True}})
    ]
    assert templates[0] != templates[1]
    assert templates[0] == templates[2]


def test_each_size_asks_for_what_was_measured() -> None:
    measured = measured_memory()
    for size, services in (("small", 10), ("medium", 30000), ("large", 100000)):
        (agent,) = rendered({**SERVERS, "size": size})[AGENT]["spec"]["template"]["spec"]["containers"]
        asked = {kind: in_megabytes(of["memory"]) for kind, of in agent["resources"].items()}
        assert measured[services] <= asked["requests"] <= 2 * measured[services]
        assert asked["limits"] >= 2 * (measured[services] + TABLES)
    (agent,) = rendered({**SERVERS, "resources": {"limits": {"memory": "512Mi"}}})[AGENT]["spec"]["template"]["spec"][
        "containers"
    ]
    assert agent["resources"] == {"limits": {"memory": "512Mi"}}


TABLES = 91 + 81  # of sockets at their largest, and of 131,072 flows; README.md and docs/benchmarks.md


def measured_memory() -> dict[int, int]:
    """Return the agent's memory in MB by the number of Services, as docs/benchmarks.md states it."""
    text = (ROOT / "docs/benchmarks.md").read_text()
    (head,) = re.findall(r"^\| \| (\d[\d,]* x \d+ \|.*)$", text, re.MULTILINE)
    (row,) = re.findall(r"^\| agent, RSS \|(.*)$", text, re.MULTILINE)
    services = [int(one.replace(",", "")) for one in re.findall(r"([\d,]+) x \d+", head)]
    return dict(zip(services, map(int, re.findall(r"(\d+) MB", row)), strict=True))


def in_megabytes(quantity: str) -> float:
    number, unit = re.fullmatch(r"(\d+)([MG]i)", quantity).groups()  # type: ignore[union-attr]
    return int(number) * {"Mi": 2**20, "Gi": 2**30}[unit] / 1e6


def test_labels_by_which_an_operator_chooses_are_added() -> None:
    chosen = {"enabled": True, "labels": {"release": "prometheus"}}
    objects = rendered(
        {
            **SERVERS,
            "metricsAddress": "0.0.0.0:9999",
            "podMonitor": chosen,
            "prometheusRule": chosen,
            "dashboard": chosen,
        }
    )
    for name in (("PodMonitor", "socklb"), ("PrometheusRule", "socklb"), ("ConfigMap", "socklb-dashboard")):
        assert objects[name]["metadata"]["labels"]["release"] == "prometheus"
    assert objects["ConfigMap", "socklb-dashboard"]["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert objects["PodMonitor", "socklb"]["spec"]["podMetricsEndpoints"][0]["portNumber"] == 9999


def test_cleaning_up_is_nothing_of_a_release_but_what_follows_its_end() -> None:
    extra = {
        name: one
        for name, one in rendered({**SERVERS, "cleanupOnUninstall": True}).items()
        if name not in rendered(SERVERS)
    }
    assert {one["metadata"]["annotations"]["helm.sh/hook"] for one in extra.values()} == {"post-delete"}
    weights = {name: int(one["metadata"]["annotations"]["helm.sh/hook-weight"]) for name, one in extra.items()}
    assert max(weights, key=weights.__getitem__) == ("Job", "socklb-cleanup")
    assert len(set(weights.values())) == len(weights) == 6


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"podCidrs": ["10.0.0.0/8"]}, "additional properties 'podCidrs' not allowed"),
        ({"kubeProxyReplacement": "strict"}, "at '/kubeProxyReplacement': got string, want boolean"),
        ({"apiServers": ["http://192.0.2.10:6443"]}, "at '/apiServers/0': 'http://192.0.2.10:6443' does not match"),
        ({"apiServers": ["https://<control-plane>:6443"]}, "at '/apiServers/0': 'https://<control-plane>:6443' does"),
        ({"podCIDRs": ["10.0.0.0"]}, "at '/podCIDRs/0': '10.0.0.0' does not match"),
        ({"logLevel": "loud"}, "at '/logLevel': value must be one of 'debug', 'info', 'warning', 'error'"),
        ({"maxFlows": 1000}, "at '/maxFlows': value must be one of 1024, 2048"),
        ({"maxBackends": 0}, "at '/maxBackends': minimum: got 0, want 1"),
        ({"healthPort": 70000}, "at '/healthPort': maximum: got 70,000, want 65,535"),
        ({"metricsAddress": "everywhere"}, "at '/metricsAddress': 'everywhere' does not match"),
        ({"metricsServices": "some"}, "at '/metricsServices': 'some' does not match"),
        ({"size": "huge"}, "at '/size': value must be one of 'small', 'medium', 'large'"),
        ({"image": {"name": "x"}}, "at '/image': additional properties 'name' not allowed"),
    ],
)
def test_the_schema_refuses(values: dict[str, Any], sentence: str) -> None:
    assert sentence in refused({**SERVERS, **values})


def refused(values: dict[str, Any]) -> str:
    done = helm("template", "socklb", CHART, values=values)
    assert done.returncode == 1
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"apiServers": []}, "apiServers is empty: give the addresses of control plane nodes"),
        ({"nodeRoutes": True}, "nodeRoutes is true, and podCIDRs is empty"),
        ({"hostRouting": True}, "hostRouting is true, and podCIDRs is empty"),
        (
            {"hostRouting": True, "podCIDRs": ["10.0.0.0/8"], "kubeProxyReplacement": False},
            "hostRouting is true, and kubeProxyReplacement is false",
        ),
        ({"podMonitor": {"enabled": True}}, 'metricsAddress is "127.0.0.1:10249", where no Prometheus reaches it'),
        ({"podMonitor": {"enabled": True}, "metricsAddress": ""}, 'metricsAddress is "", where no Prometheus'),
        ({"networkPolicy": {"enabled": True}}, "a NetworkPolicy has no effect on pods in the node's network"),
    ],
)
def test_values_that_do_not_do_together_are_refused(values: dict[str, Any], sentence: str) -> None:
    assert sentence in refused({**SERVERS, **values})
