"""What a step or a lab requires, and why it is skipped if that is missing.

    lab.step("Look inside", needs=[program("w1", "bpftool")])

A need is a function from the step's environment to the reason why it is not met; empty if it is. A reason that could be
removed on a machine does not count on a test machine (`lab run --ci`): there the step is false.
"""

import shlex
from collections.abc import Callable
from dataclasses import dataclass

from inventory.reach import NotSupportedError
from labs.engine.env import Env
from labs.engine.errors import CannotRunError
from labs.engine.places import at


@dataclass(frozen=True)
class Need:
    missing: Callable[[Env], str]
    excuses_ci: bool  # also counts on a test machine: it is another kind of cluster


def program(place: Callable[[Env], str], name: str, install: str) -> Need:
    """Require a program on PATH at a place. `install` says how to install it."""

    def missing(env: Env) -> str:
        where = place(env)
        found = env.ask(at(where, "sh", "-c", f"command -v {shlex.quote(name)}")).exit == 0
        return "" if found else f"{where} has no program {name}. Next: {install}"

    return Need(missing, excuses_ci=False)


def inventories(*names: str, because: str) -> Need:
    """Require one of these inventories."""

    def missing(env: Env) -> str:
        here = env.on.cluster.inventory
        return "" if here in names else f"not on the inventory '{here}' ({because}); on {', '.join(names)}"

    return Need(missing, excuses_ci=True)


def _outside(env: Env) -> str:
    return "" if env.on.outside else f"the inventory '{env.on.cluster.inventory}' has no client outside the cluster"


def _unhooked(env: Env) -> str:
    """Check only that there is a way: nothing is run."""
    try:
        env.target.place(env.on.client).argv("true", hooked=False)
    except NotSupportedError as error:
        return str(error)
    return ""


def _third(env: Env) -> str:
    try:
        env.on.third  # noqa: B018
    except CannotRunError as error:
        return str(error)
    return ""


client_outside = Need(_outside, excuses_ci=True)
unhooked = Need(_unhooked, excuses_ci=True)
third_node = Need(_third, excuses_ci=True)
