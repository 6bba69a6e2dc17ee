"""pyinfra runs this file first, from the working directory; it makes `pyinfra inventory deploys/cluster.py` work.

pyinfra opens its first argument as a file. Here a folder stands for one file in it: `inventory` means
`inventory/$SOCKLB_INVENTORY.py`, by default `inventory/local.py`, which may also be said in full.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyinfra import config
from pyinfra.api.exceptions import PyinfraError

from inventory import hosts

# The patch below touches a private name, unchanged since 3.0; tests/cluster runs the literal command.
config.REQUIRE_PYINFRA_VERSION = "~=3.10.0"


def chosen_inventory(folder: Path) -> Path:
    try:
        return hosts.path(folder=folder)
    except hosts.UnknownInventoryError as error:
        raise PyinfraError(str(error)) from None


def accept_a_folder() -> None:
    # Not at the top: the command line patches the standard library, and tests import this file without it.
    from pyinfra_cli import inventory as cli_inventory  # noqa: PLC0415
    from pyinfra_cli.exceptions import UnexpectedExternalError  # noqa: PLC0415

    from_file = cli_inventory.make_inventory_from_files

    def make_inventory_from_files(filename: str, *args: Any, **kwargs: Any) -> Any:
        path = Path(filename)
        try:
            return from_file(str(chosen_inventory(path)) if path.is_dir() else filename, *args, **kwargs)
        except UnexpectedExternalError as error:
            if isinstance(error.exception, hosts.InventoryError):  # a line, and no traceback
                raise PyinfraError(f"{filename}: {error.exception}") from None
            raise

    cli_inventory.make_inventory_from_files = make_inventory_from_files


def refuse_what_is_not_there(typed: Sequence[str]) -> None:
    """pyinfra would take a file that is not there for a host, find none, do nothing and call that a success."""
    for word in typed:
        path = Path(word)
        if path.suffix == ".py" and path.parent.name == "inventory" and not path.exists():
            raise PyinfraError(
                f"{word}: no such inventory. Valid: {', '.join(f'inventory/{n}.py' for n in hosts.names())}"
            )


refuse_what_is_not_there(sys.argv[1:])
accept_a_folder()
