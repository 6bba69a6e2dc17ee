"""pyinfra runs this file first, from the working directory; it makes `pyinfra inventory deploys/cluster.py` work.

pyinfra opens its first argument as a file. Here a folder stands for one file in it: `inventory` means
`inventory/$SOCKLB_INVENTORY.py`, by default `inventory/local.py`, which may also be said in full.
"""

import os
from pathlib import Path
from typing import Any

from pyinfra import config
from pyinfra.api.exceptions import PyinfraError

# The patch below touches a private name, unchanged since 3.0; tests/cluster runs the literal command.
config.REQUIRE_PYINFRA_VERSION = "~=3.10.0"

DEFAULT = "local"
HELPERS = {"__init__", "hosts", "reach"}  # Python modules in inventory/ that are no inventories


def chosen_inventory(folder: Path) -> Path:
    name = os.environ.get("SOCKLB_INVENTORY", DEFAULT)
    names = sorted({file.stem for file in folder.glob("*.py")} - HELPERS)
    if name not in names:
        raise PyinfraError(f"SOCKLB_INVENTORY={name}: no such inventory in {folder}/. Valid: {', '.join(names)}")
    return folder / f"{name}.py"


def accept_a_folder() -> None:
    # Not at the top: the command line patches the standard library, and tests import this file without it.
    from pyinfra_cli import inventory as cli_inventory  # noqa: PLC0415

    from_file = cli_inventory.make_inventory_from_files

    def make_inventory_from_files(filename: str, *args: Any, **kwargs: Any) -> Any:
        path = Path(filename)
        return from_file(str(chosen_inventory(path)) if path.is_dir() else filename, *args, **kwargs)

    cli_inventory.make_inventory_from_files = make_inventory_from_files


accept_a_folder()
