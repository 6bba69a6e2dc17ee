"""Prepare the cluster for a lab's first step, and restore it afterwards.

    deploy("cluster", screen)              deploys/cluster.py on the inventory, with its progress
    prepare(lab, env)                      the lab's deploy, its objects, every node serving them
    serve(lab, env, without=["web-1"])     its objects again: this pod leaves its Services, or comes back
    restore(lab, env)                      back, also after an interrupted lab

While the cluster has another deploy than the ordinary one, its name is in `.lab/<inventory>/deploy`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Collection
from functools import partial

import yaml

from inventory import hosts
from labs.engine.cluster import Service
from labs.engine.env import Env
from labs.engine.errors import CannotRunError
from labs.engine.model import CLUSTER, Lab
from labs.engine.places import ROOT, at
from labs.engine.progress import state_folder
from labs.engine.screen import Screen
from labs.engine.target import Document

UNFINISHED = "unfinished"
NO_AGENT = 3  # the exit code of `socklb status`
OPTIONS = ("-y", "--json", "--fail-percent", "0")


def deploy(name: str, screen: Screen) -> int:
    """Run a deploy and return how many changes it made.

    It uses the command line, because pyinfra as a library merges different operations of different hosts into one.

    Raises:
        CannotRunError: it failed, or reached no host.
    """
    inventory = "inventory" if hosts.path().stem == hosts.DEFAULT else f"inventory/{hosts.path().name}"
    words = [inventory, f"deploys/{name}.py", *OPTIONS]
    screen.line(f"$ {' '.join(['pyinfra', *words])}", "bold cyan")
    # Its log goes to standard error as it runs, which shows the progress. Standard output has the result.
    command = [sys.executable, "-m", "pyinfra", *words]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False, env=os.environ)
    if done.returncode or not done.stdout:
        raise CannotRunError(f"the cluster could not be built (exit status {done.returncode}); the reason stands above")
    totals = json.loads(done.stdout)["results"]["totals"]
    if not totals["hosts"]:  # pyinfra succeeds with an inventory without hosts
        raise CannotRunError("no host was reached: the inventory is empty")
    return totals["success"]


def deployed() -> str:
    """Return the deploy that a lab left the cluster with; UNFINISHED if that was interrupted."""
    mark = state_folder() / "deploy"
    return mark.read_text(errors="replace") if mark.exists() else CLUSTER


def prepare(lab: Lab, env: Env) -> None:
    """Prepare the cluster for the beginning of the lab; what exists stays. Skip a lab whose needs are not met."""
    if any(need.missing(env) for need in lab.needs):
        return
    if lab.deploy != deployed():
        _to(lab.deploy, env)
    if lab.objects.exists():
        serve(lab, env)


def _have_tried(env: Env) -> bool:
    """Return whether the status of each agent that runs says if the hooks translate: it tries a second after its start.

    A busy agent says nothing, with another exit code.
    """
    said = [env.ask(at(node, "socklb", "status")) for node in env.on.nodes]
    return all(one.exit in (0, NO_AGENT) and "not tried yet" not in one.out for one in said)


def serve(lab: Lab, env: Env, without: Collection[str] = ()) -> None:
    """Apply the lab's objects, and wait until every node serves them.

    The pods named `without` are in none of its Services: requests to their own addresses are still answered.
    """
    documents = _documents(lab)
    env.target.apply(f"lab-{lab.number}", documents, without)
    for document in documents:
        if document["kind"] == "Service" and lab.deploy == CLUSTER:
            _until_served(env, document, without)


def _documents(lab: Lab) -> list[Document]:
    return [document for document in yaml.safe_load_all(lab.objects.read_text()) if document]


def restore(lab: Lab, env: Env, deploy: str | None = CLUSTER) -> None:
    """Undo what the lab did, may have left, or brought along; None: the deploy that it asked for stays."""
    for function in lab.undo:
        function(env)
    if lab.objects.exists():
        env.target.remove(f"lab-{lab.number}")
        _until_forgotten(lab, env)
    if deploy and lab.deploy != CLUSTER and deployed() in (lab.deploy, UNFINISHED):
        _to(deploy, env)


def _to(name: str, env: Env) -> None:
    mark = state_folder() / "deploy"
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text(UNFINISHED)  # an interrupted deploy is incomplete: it is repeated, or undone
    deploy(name, env.screen)
    if name == CLUSTER:
        mark.unlink()
    else:
        mark.write_text(name)
    env.target.read()
    env.until("every agent has tried a connect of its own", partial(_have_tried, env))


def _until_served(env: Env, document: Document, without: Collection[str]) -> None:
    """Wait for the agents: each node's must have read the Service and its endpoints."""
    name, to_its_own = document["metadata"]["name"], document["spec"].get("internalTrafficPolicy") == "Local"
    for node in env.on.nodes:
        wanted = [pod.name for pod in env.on.cluster.serving(name) if pod.node == node or not to_its_own]
        wanted = [pod for pod in wanted if pod not in without]
        env.until(f"{node} serves {name}", partial(_serves, env, node, env.on.service(name), wanted, without))


def _serves(env: Env, node: str, service: Service, wanted: Collection[str], without: Collection[str]) -> bool:
    said = env.ask(at(node, "socklb", "service", "list", service.name, "--wide")).out
    ends = env.on.backends(service.name)
    there = [*service.addresses, *(str(ends[pod]) for pod in wanted)]
    return all(text in said for text in there) and not any(str(ends[pod]) in said for pod in without if pod in ends)


def _until_forgotten(lab: Lab, env: Env) -> None:
    """Wait for the running agents: none may have a Service of the lab any more."""
    names = [document["metadata"]["name"] for document in _documents(lab) if document["kind"] == "Service"]
    for node in env.on.nodes if lab.deploy == CLUSTER else ():
        env.until(f"{node} has forgotten {', '.join(names)}", partial(_forgotten, env, node, names))


def _forgotten(env: Env, node: str, names: Collection[str]) -> bool:
    done = env.ask(at(node, "socklb", "service", "list", "--json"))
    return done.exit != 0 or "no agent answers" in done.err or not any(f'/{name}"' in done.out for name in names)
