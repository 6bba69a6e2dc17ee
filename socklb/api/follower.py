"""What all followers of a resource have in common: they continue until stopped, whatever fails.

Any exception is a failure like the others: it is reported, and the next try comes after a longer pause. What was known
stays known meanwhile.
"""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from typing import Generic

from socklb.api.asking import Asker
from socklb.api.backoff import Backoff
from socklb.api.connection import Connection
from socklb.api.failures import (
    AheadError,
    ApiError,
    BriefError,
    ExpiredError,
    ForbiddenError,
    NotServedError,
    UnexpectedError,
    unexpected,
)
from socklb.api.resources import Found, Resource, Sink

RETRY_FIRST, RETRY_MOST, RETRY_RESET = 0.8, 30.0, 120.0  # seconds, as client-go's reflector
# After this many seconds of failures, a resource is tried as soon as another one works again. Were it sooner, a server
# that ends each watch after a second would be asked each second.
HASTENED = 10.0
WITHOUT_RETRY = 300.0  # until an optional resource that was refused is tried again
MOVE_AFTER = 3  # failures in a row, whatever the server answers: another server may be healthy
WITHOUT_TRIES = 3  # after this many other failures, nothing waits for an optional resource any more
PROVEN = 1.0  # seconds that a watch must last (client-go's "very short watch")
STALE = (ExpiredError, AheadError, NotServedError, UnexpectedError)  # the resource version is of no use any more

log = logging.getLogger(__name__)


class Follower(ABC, Generic[Found]):
    """See the module. `run` needs a thread of its own; `stop` may be called from any thread."""

    def __init__(self, resource: Resource, connection: Connection, sink: Sink[Found]) -> None:
        self.resource = resource
        self._asker = Asker(connection)
        self._sink = sink
        self._backoff = Backoff(RETRY_FIRST, RETRY_MOST, RETRY_RESET)
        self._troubled = False  # the last failure is not over yet
        self._listed = False  # at least once
        self._without = False  # the long wait after a refusal
        self._lost = 0.0  # since when it has failed (monotonic)
        self._left_alone = False  # as the server wants to be
        self._again = threading.Event()  # ends a pause

    def run(self) -> None:
        """Follow the server until stopped."""
        while not self._asker.stopped.is_set():
            try:
                self._follow()
            except Exception as error:  # noqa: BLE001  (one that ended this thread would be an agent that is deaf)
                if not self._asker.stopped.is_set():
                    self._pause(self._failed(unexpected(error)))

    def _pause(self, seconds: float) -> None:
        """Wait; if another resource works again meanwhile, no longer than until HASTENED, or at all after a refusal."""
        end = time.monotonic() + seconds
        self._again.clear()
        while not self.stopped and (left := end - time.monotonic()) > 0:
            if self._again.wait(left):
                self._again.clear()
                end = min(end, 0.0 if self._without else self._lost + HASTENED)

    def stop(self) -> None:
        """End `run`, even while it waits for the server."""
        self._asker.stop()
        self._again.set()

    @property
    def stopped(self) -> bool:
        """Return whether `run` is to end."""
        return self._asker.stopped.is_set()

    def hasten(self) -> None:
        """Try again soon: another resource works again, and this one may have failed for the same reason."""
        if not self._left_alone:
            self._again.set()

    @abstractmethod
    def _follow(self) -> None:
        """Do the next thing that is due."""

    @abstractmethod
    def _start_anew(self) -> None:
        """Forget the position in the server's history: it is of no use."""

    def _failed(self, error: ApiError) -> float:
        """Report a failure, and return the seconds until the next try."""
        if not self._troubled:
            self._lost = time.monotonic()
        self._troubled, self._left_alone = True, error.retry_after > 0
        seconds = self._backoff.failed(at_least=error.retry_after)
        if isinstance(error, STALE):
            self._start_anew()
        if (
            isinstance(error, ExpiredError | BriefError) and self._backoff.failures == 1
        ):  # happens with a healthy server
            log.info("%s: %s; asked again in %.1f s", self.resource.name, error, seconds)
            return seconds
        if self._backoff.failures % MOVE_AFTER == 0:
            self._asker.connection.failed(self._asker.connection.server)
        without = self._is_served_without(error)
        self._without = without and isinstance(error, ForbiddenError | NotServedError)
        if self._without:
            seconds = WITHOUT_RETRY
        try:
            self._sink.failed(self.resource, error, seconds, without=without)
        except Exception:
            log.exception("%s: a failure could not be told: %s", self.resource.name, error)
        return seconds

    def _is_served_without(self, error: ApiError) -> bool:
        if not self.resource.optional or not error.status:
            return False
        refused = isinstance(error, ForbiddenError | NotServedError)
        return refused or (not self._listed and self._backoff.failures >= WITHOUT_TRIES)

    def _works(self) -> None:
        """Note that the server works: an earlier failure is over."""
        self._backoff.well()
        if self._troubled:
            self._troubled = False
            self._sink.reached(self.resource)

    @contextmanager
    def _proving(self) -> Generator[None]:
        """Call `_works` after PROVEN seconds within the block; needed only after a failure."""
        timer = threading.Timer(PROVEN, self._works)
        timer.daemon = True
        if self._troubled:
            timer.start()
        try:
            yield
        finally:
            timer.cancel()
            if timer.is_alive():
                timer.join()  # its report must come before the next one
