"""What machines with internet get Kubernetes from, in a network that has none: pkgs.k8s.io and registry.k8s.io.

    with mirror(tmp_path, {"1.34.4": folder}) as its:    # each folder as images/offline.sh makes it
        its.known_to(machine)

Real servers under the real names: nginx with an apt repository that is signed, and docker-registry. Packages are made
of our builds of the programs, and contain what those of the Kubernetes project do (kubernetes/release,
cmd/krel/templates/latest). Debian's packages come from the folder as well, by plain HTTP.
"""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support import sealed
from tests.support.machines import Machine
from tests.support.sealed import docker, output, run
from tests.support.waiting import until

ADDRESS = "172.31.7.1"  # docker's on the network of the machines
NAMES = ("pkgs.k8s.io", "registry.k8s.io", "debian.example")
REGISTRY = "127.0.0.1:5000"
REVISION = "1.1"
CNI = "1.7.1"
PATIENCE = 600
NGINX = """
daemon off;
user root;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
events {{}}
http {{
  access_log {folder}/access.log;
  client_body_temp_path {folder}/temp; proxy_temp_path {folder}/temp; fastcgi_temp_path {folder}/temp;
  uwsgi_temp_path {folder}/temp; scgi_temp_path {folder}/temp;
  server {{ listen 80; root {folder}/debian; }}
  ssl_certificate {folder}/certificate; ssl_certificate_key {folder}/key;
  server {{ listen 443 ssl; server_name pkgs.k8s.io; root {folder}/packages; }}
  server {{ listen 443 ssl; server_name registry.k8s.io; location / {{ proxy_pass http://{registry}; }} }}
}}
"""
STORAGE = """
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder}/registry}}}}
http: {{addr: "{registry}"}}
"""
UNIT = """[Unit]
Description=kubelet: The Kubernetes Node Agent
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=/usr/bin/kubelet
Restart=always
StartLimitInterval=0
RestartSec=10

[Install]
WantedBy=multi-user.target
"""
DROP_IN = """[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf \
--kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
"""
SYSTEMD = "#!/bin/sh\nif [ -d /run/systemd/system ]; then {command} || true; fi\n"


@dataclass(frozen=True)
class Mirror:
    """One that serves."""

    folder: Path

    def known_to(self, machine: Machine) -> None:
        """Let a machine find it under the names of what it stands for, and trust it; Debian's packages are here too."""
        machine.output("sh", "-c", f"echo {ADDRESS} {' '.join(NAMES)} >>/etc/hosts")
        trusted = "/usr/local/share/ca-certificates/mirror.crt"
        machine.output("install", "-m", "644", "/dev/stdin", trusted, given=(self.folder / "certificate").read_text())
        machine.output("update-ca-certificates")
        suite = machine.output("sh", "-c", ". /etc/os-release; echo $VERSION_CODENAME")
        machine.output("sh", "-c", "rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*")
        self.source(machine, f"deb [trusted=yes] http://{NAMES[2]}/{suite} ./")

    def source(self, machine: Machine, line: str) -> None:
        """Give a machine one more line of sources.list(5)."""
        machine.output("sh", "-c", f"echo '{line}' >>/etc/apt/sources.list")

    def asked(self) -> list[str]:
        """Return the paths that were asked for by HTTP, oldest first."""
        return [line.split('"')[1].split()[1] for line in (self.folder / "access.log").read_text().splitlines()]


@contextmanager
def mirror(folder: Path, folders: Mapping[str, Path]) -> Iterator[Mirror]:
    """Serve these versions while the block runs; the docker of the machines must be there."""
    for name in ("temp", "registry", "debian"):
        (folder / name).mkdir(parents=True)
    for version, source in folders.items():
        _repository(folder / "packages" / f"core:/stable:/v{version.rpartition('.')[0]}/deb", version, source)
    newest = list(folders.values())[-1]
    for suite in (newest / "packages").iterdir():
        (folder / "debian" / suite.name).symlink_to(suite)
    _sign(folder)
    names = ",".join(f"DNS:{name}" for name in NAMES)
    pair = ["-keyout", folder / "key", "-out", folder / "certificate"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    output(
        "openssl", "req", "-x509", *curve, "-nodes", "-subj", "/CN=mirror", "-addext", f"subjectAltName={names}", *pair
    )
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, registry=REGISTRY))
    (folder / "registry.yaml").write_text(STORAGE.format(folder=folder, registry=REGISTRY))
    with ExitStack() as stack, sealed.entered():
        for command in (
            ("docker-registry", "serve", folder / "registry.yaml"),
            ("nginx", "-e", folder / "error.log", "-c", folder / "nginx.conf"),
        ):
            stack.enter_context(_running(*command))
        until(lambda: run("curl", "-fsS", f"http://{REGISTRY}/v2/").returncode == 0)
        for source in folders.values():
            _push(source)
        yield Mirror(folder)


@contextmanager
def _running(*command: str | Path) -> Iterator[None]:
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as one:
        try:
            yield
        finally:
            one.terminate()


def _push(source: Path) -> None:
    """Fill the registry with what is registry.k8s.io's."""
    for name in ("node", "control-plane"):
        said = docker("load", "--quiet", "--input", str(source / "images" / f"{name}.tar"), timeout=PATIENCE)
        for image in (line.partition(": ")[2] for line in said.splitlines()):
            if image.startswith("registry.k8s.io/"):
                there = image.replace("registry.k8s.io", REGISTRY, 1)
                docker("tag", image, there)
                docker("push", "--quiet", there, timeout=PATIENCE)
                docker("rmi", there)
            docker("rmi", image)


def _repository(place: Path, version: str, source: Path) -> None:
    """Make one as pkgs.k8s.io has it: a folder for each minor version."""
    place.mkdir(parents=True)
    full = f"{version}-{REVISION}"
    programs = {name: source / "programs" / name for name in ("kubelet", "kubeadm", "kubectl")}
    for name, program in programs.items():
        files: dict[str, tuple[bytes, int]] = {f"usr/bin/{name}": (program.read_bytes(), 0o755)}
        depends = "util-linux"
        if name == "kubelet":
            depends = "kubernetes-cni (>= 1.2.0), mount, util-linux"
            files |= {
                "usr/lib/systemd/system/kubelet.service": (UNIT.encode(), 0o600),
                "etc/default/kubelet": (b"KUBELET_EXTRA_ARGS=\n", 0o644),
                "var/lib/kubelet/.kubelet-keep": (b"", 0o644),
                "etc/kubernetes/manifests/.kubelet-keep": (b"", 0o644),
            }
        if name == "kubeadm":
            files["usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf"] = (DROP_IN.encode(), 0o644)
        _package(place, name, full, files, depends)
    kubectl = {"usr/bin/kubectl": (programs["kubectl"].read_bytes(), 0o755)}
    _package(place, "kubectl", f"{version}0-{REVISION}", kubectl, "util-linux")  # 1.34.40: a later patch than 1.34.4
    _package(place, "kubernetes-cni", f"{CNI}-{REVISION}", _plugins(place, source), "util-linux")


def _plugins(place: Path, source: Path) -> dict[str, tuple[bytes, int]]:
    """Return the network plugins of Debian's package, where the Kubernetes project's has them."""
    (package,) = (source / "packages" / "bookworm").glob("containernetworking-plugins_*.deb")
    output("dpkg-deb", "--extract", package, place / "work")
    plugins = {f"opt/cni/bin/{one.name}": (one.read_bytes(), 0o755) for one in (place / "work/usr/lib/cni").iterdir()}
    output("rm", "-r", place / "work")
    return {**plugins, "etc/cni/net.d/.kubernetes-cni-keep": (b"", 0o644)}


def _package(place: Path, name: str, version: str, files: Mapping[str, tuple[bytes, int]], depends: str) -> None:
    work, architecture = place / "work", output("dpkg", "--print-architecture")
    for path, (content, mode) in files.items():
        (work / path).parent.mkdir(parents=True, exist_ok=True)
        (work / path).write_bytes(content)
        (work / path).chmod(mode)
    control = work / "DEBIAN"
    control.mkdir()
    (control / "control").write_text(
        f"Package: {name}\nVersion: {version}\nArchitecture: {architecture}\nDepends: {depends}\n"
        "Maintainer: socklb's tests <tests@example.org>\nDescription: what pkgs.k8s.io has under this name\n"
    )
    (control / "conffiles").write_text("".join(f"/{path}\n" for path in files if path.startswith("etc/default/")))
    if name == "kubelet":
        for script, command in (("prerm", "systemctl stop kubelet.service"), ("postinst", "systemctl daemon-reload")):
            (control / script).write_text(SYSTEMD.format(command=command))
            (control / script).chmod(0o755)
    output("dpkg-deb", "--build", "--root-owner-group", "-Znone", work, place, timeout=PATIENCE)
    output("rm", "-r", work)


def _sign(folder: Path) -> None:
    """Index and sign the repositories with a new key; whoever asks gets it as Release.key."""
    home = folder / "gnupg"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", home, "--batch", "--quiet", "--yes"]
    try:
        output(*gpg, "--passphrase", "", "--quick-generate-key", "packages@example.org", "rsa3072", "sign", "never")
        for place in (folder / "packages").glob("*/*/*/deb"):
            (place / "Packages").write_text(output("sh", "-c", f"cd '{place}' && apt-ftparchive packages ."))
            (place / "Release").write_text(output("sh", "-c", f"cd '{place}' && apt-ftparchive release ."))
            output(*gpg, "--armor", "--output", place / "Release.key", "--export")
            output(*gpg, "--armor", "--output", place / "Release.gpg", "--detach-sign", place / "Release")
            output(*gpg, "--output", place / "InRelease", "--clearsign", place / "Release")
    finally:
        output("gpgconf", "--homedir", home, "--kill", "all")
