"""Connections that kube-proxy's rules translate, in a network namespace of their own, as a deploy finds them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cluster import ROOT

DEPLOY = """
from roles.kubernetes.operations import translated_live_on

translated_live_on(name="Connections outlive kube-proxy's rules")
"""
# One connection by a rule of kube-proxy's shape, which lives until the deploys have ended.
SCRIPT = """
ip link set lo up
ip route add local 10.96.0.10/32 dev lo
iptables -t nat -N KUBE-SERVICES
iptables -t nat -A KUBE-SERVICES -d 10.96.0.10/32 -p tcp --dport 80 -j DNAT --to-destination 127.0.0.1:8080
iptables -t nat -A OUTPUT -j KUBE-SERVICES
{others}
exec {python} -c '
import socket, subprocess, sys
server = socket.create_server(("127.0.0.1", 8080))
client = socket.create_connection(("10.96.0.10", 80), 10)
sys.exit(subprocess.run([sys.executable, "-m", "pyinfra", "@local", "{deploy}", "-y"]).returncode)
'
"""
MASQUERADE = "iptables -t nat -A POSTROUTING -s 10.244.0.0/16 -j MASQUERADE"


@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root")
@pytest.mark.parametrize(("others", "ends"), [("", True), (MASQUERADE, False)], ids=["alone", "beside a masquerade"])
def test_where_kube_proxys_rules_are_the_last_that_translate_they_stay(tmp_path: Path, others: str, ends: bool) -> None:
    deploy = tmp_path / "deploy.py"
    deploy.write_text(DEPLOY)
    script = SCRIPT.format(others=others, python=sys.executable, deploy=deploy)
    command = ["unshare", "--net", "sh", "-ec", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    said = done.stdout + done.stderr
    assert (done.returncode != 0) == ends, said
    assert ("would end with kube-proxy's rules" in said and "-> 10.96.0.10:80" in said) == ends, said
    assert ("No changes" in said) != ends, said
