"""Problems over time: since when each exists, how often it occurred, and one log line for each change.

    book = ProblemBook()
    book.note(problems, logged)     # as they are now; returns them with count, first and last

Those in `logged` are logged by their own source.

Two problems are the same if file, object, field and message are the same, or, for a problem with a name, such as an
alarm, if the name is the same, whatever figures are in the message. Its source may count how often it occurred;
otherwise each time it appears counts.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from itertools import islice

from socklb.api.source import Problem
from socklb.errors import one_line
from socklb.report import ProblemFacts

KEPT = 1000  # past problems that are remembered, for their count
LINES = 20  # logged at one time

log = logging.getLogger(__name__)

Identity = tuple[object, ...]


class ProblemBook:
    """See the module."""

    def __init__(self) -> None:
        """Start without any."""
        self._known: dict[Identity, ProblemFacts] = {}  # oldest first
        self._untold: dict[Identity, Problem] = {}
        self._stands: set[Identity] = set()

    def note(self, problems: Iterable[Problem], logged: Iterable[Problem] = ()) -> list[ProblemFacts]:
        """Record the problems that exist now; return them with their history."""
        now = time.time()
        told = {_identity(problem): problem for problem in logged}
        untold = {_identity(problem): problem for problem in problems}
        found = [self._note(identity, problem, now) for identity, problem in (told | untold).items()]
        _tell("problem: %s", [untold[i] for i in untold if i not in self._untold], logging.WARNING)
        _tell("no longer a problem: %s", [self._untold[i] for i in self._untold if i not in untold], logging.INFO)
        self._untold, self._stands = untold, told.keys() | untold.keys()
        self._forget()
        return found

    def _forget(self) -> None:
        """Remember only the latest of the past problems."""
        over = (identity for identity in self._known if identity not in self._stands)
        for identity in list(islice(over, max(0, len(self._known) - len(self._stands) - KEPT))):
            del self._known[identity]

    def _note(self, identity: Identity, problem: Problem, now: float) -> ProblemFacts:
        before = self._known.pop(identity, None)
        count = before.count + (identity not in self._stands) if before else 1
        file, document, field, message, about = problem[:5]
        place = one_line(file), document, one_line(field), one_line(message), one_line(about)
        first = problem.first or (before.first if before else now)
        facts = ProblemFacts(*place, count=max(count, problem.times), first=first, last=problem.last or now)
        self._known[identity] = facts
        return facts


def _identity(problem: Problem) -> Identity:
    return problem.object, problem.file, problem.document, problem.field, problem.name or problem.message


def _tell(text: str, problems: list[Problem], level: int) -> None:
    for problem in problems[:LINES]:
        log.log(level, text, problem)
    if len(problems) > LINES:
        log.log(level, text, f"{len(problems) - LINES} more; socklb status names them")
