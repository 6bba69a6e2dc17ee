"""Operations that several roles use. Each reads one fact and does its work in one or two commands.

They are coarse for speed: a command on a host costs ten to fifty milliseconds, whatever it does.
"""

import hashlib
import io
import shlex
from collections.abc import Generator, Mapping
from pathlib import PurePosixPath

from pyinfra.api.command import FileUploadCommand, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from roles.facts import FileDigests, MissingCommands


@operation()
def barrier() -> Generator[StringCommand, None, None]:
    """Wait until every host has come to this point: call it on all hosts.

    pyinfra keeps the order of operations for each host only; otherwise one group may overtake another.
    """
    yield from ()


def failure(message: str) -> StringCommand:
    """Return what an operation yields to fail on this host with a message; an exception would show a traceback."""
    return StringCommand(f"echo {shlex.quote(message)} >&2; exit 1")


@operation()
def tools(packages: Mapping[str, str]) -> Generator[StringCommand, None, None]:
    """Make sure of these commands; a missing one is installed from the Debian package that it is mapped to.

    A sealed host has no access to a package server: there the package must be installed where its root comes from.
    """
    missing = host.get_fact(MissingCommands, commands=list(packages))
    wanted = sorted({packages[command] for command in missing})
    if not missing:
        host.noop(f"has {', '.join(packages)}")
    elif host.data.get("sealed"):
        yield failure(
            f"{host.name} lacks {', '.join(missing)} and is sealed; it sees what this machine has installed. "
            f"Next: make setup (or: apt-get install {' '.join(wanted)})"
        )
    else:
        install = f"DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends {shlex.join(wanted)}"
        # Without internet, apt's present data may be enough; an update takes a minute there.
        yield StringCommand(f"{install} 2>/dev/null || {{ apt-get update && {install}; }}")


@operation()
def put_files(files: Mapping[str, str], mode: str = "644") -> Generator[StringCommand | FileUploadCommand, None, None]:
    """Write these files (path to text) if their contents differ."""
    yield from write_files(files, mode)


def write_files(
    files: Mapping[str, str], mode: str = "644"
) -> Generator[StringCommand | FileUploadCommand, None, None]:
    """Return the commands of put_files(), for other operations. Each file is replaced atomically: a reader sees old or
    new.
    """
    present = host.get_fact(FileDigests, paths=list(files))
    changed = {path: text for path, text in files.items() if present.get(path) != digest(text)}
    if not changed:
        host.noop(f"{', '.join(files)}: content is as wanted")
        return
    folders = shlex.join(sorted({str(PurePosixPath(path).parent) for path in changed}))
    # The mode is set before the contents: others can never read a token, not even for a moment.
    made = [f"rm -f {new} && install -m {mode} /dev/null {new}" for new in map(shlex.quote, map(_new, changed))]
    yield StringCommand(" && ".join([f"mkdir -p {folders}", *made]))
    for path, text in changed.items():
        yield FileUploadCommand(io.StringIO(text), _new(path))
    moves = [f"chmod {mode} {shlex.quote(_new(path))} && mv {shlex.join([_new(path), path])}" for path in changed]
    yield StringCommand(" && ".join(moves))


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _new(path: str) -> str:
    """Return a name beside the file that no reader of the folder takes for one of its files."""
    target = PurePosixPath(path)
    return str(target.with_name(f".{target.name}.new"))
