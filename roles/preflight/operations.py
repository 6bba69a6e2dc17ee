"""Reports what was found, once, and stops every machine if anything of it is fatal."""

from collections.abc import Generator, Sequence

from pyinfra import logger
from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.api.state import StateStage
from pyinfra.context import host

from roles.operations import failure
from roles.preflight.judging import Finding, Machine, judged

looked: dict[str, Machine] = {}  # of this run; complete before the first operation is executed
_told: list[str] = []


@operation()
def nothing_is_fatal() -> Generator[StringCommand, None, None]:
    """Fail on every machine if one has a fatal finding."""
    if host.state.current_stage != StateStage.Execute:
        return
    found = judged([*looked.values()])
    _tell_once(found)
    if fatal := [finding for finding in found if finding.fatal]:
        of = ", ".join(sorted({finding.host for finding in fatal}))
        yield failure(f"preflight: not before {len(fatal)} findings are mended (of {of}); nothing was changed")
    else:
        host.noop("nothing stands in the way")


def _tell_once(found: Sequence[Finding]) -> None:
    text = table(found)
    if found and text not in _told:
        _told.append(text)
        logger.warning("\n%s", text)


def table(found: Sequence[Finding]) -> str:
    rows = [("machine", "found", "what to do"), *((one.host, one.what, one.remedy) for one in found)]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]}" for row in rows)
