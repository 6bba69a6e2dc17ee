"""Make the kernel forget UDP flows that lead to a backend that is none any more, or that began unserved.

    forgetter = Forgetter()
    forgetter.changed({frontend: serving})    # returns at once; None: nobody serves it any more
    forgetter.close()

A UDP flow has no end that conntrack could see: as long as the client sends, it goes where its first datagram went. It
works in a thread, one look for all changes that came in meanwhile, so that nobody waits for it. What fails is tried
again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

from socklb.packets import flows
from socklb.serving import Backend, Frontend, Serving

RETRY = 5.0  # seconds; twice as long after each failure, up to a minute
LONGEST = 60.0

log = logging.getLogger(__name__)


class Forgetter:
    """A thread that deletes stale flows, started with the first change."""

    def __init__(self) -> None:
        self._changed: dict[Frontend, Serving | None] = {}
        self._wake = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None
        self.problem = ""

    def changed(self, servings: Mapping[Frontend, Serving | None]) -> None:
        """Look after the flows to these frontends, soon."""
        if not servings:
            return
        with self._wake:
            self._changed.update(servings)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="forget-flows", daemon=True)
                self._thread.start()
            self._wake.notify()

    def close(self) -> None:
        """Do what is left, and end."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(10)

    def _work(self) -> None:
        pause = RETRY
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._changed or self._closed)
                changed, self._changed = self._changed, {}
            if not changed:
                return
            if self._forget(changed):
                pause = RETRY
                continue
            with self._wake:
                self._changed = changed | self._changed
                if self._wake.wait_for(lambda: self._closed, pause):
                    return
            pause = min(2 * pause, LONGEST)

    def _forget(self, changed: Mapping[Frontend, Serving | None]) -> bool:
        """Say whether it was done. Whatever is wrong with one attempt must not end the thread."""
        try:
            for flow in [flow for flow in flows.to(changed) if stale(flow, changed[flow.asked])]:
                flows.delete(flow)
        except Exception as error:  # noqa: BLE001
            if not self.problem:
                log.warning("cannot look through the UDP flows of conntrack: %r; tried again", error)
            self.problem = f"UDP flows to removed endpoints may live on: {error}"
            return False
        self.problem = ""
        return True


def stale(flow: flows.Flow, serving: Serving | None) -> bool:
    """Say whether a flow goes where it would not go today."""
    if serving is None:
        return flow.answers != Backend(flow.asked.address, flow.asked.port)
    return flow.answers not in (*serving.backends, *(serving.outside or ()))
