"""The packet path: eBPF programs at the uplinks (tc), maintained by a thread of its own.

    path = TcPath(config, pins, objects)
    async with path.kept_whole():
        path.serve()                        # once everything has been read: from now on packets are served
        path.facts

The programs read the tables of the socket hooks, so a change of a Service is written only once, and not here. The
thread follows devices, addresses and routes through netlink, checks every few seconds whether the programs still run,
and restores what somebody removed. A failure is one log line and a problem in `socklb status` until it is over; what
failed is tried again, at growing intervals.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import shutil
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from pathlib import Path

from msgspec import structs

from socklb.api.addresses import Network
from socklb.api.source import Problem
from socklb.config import Config
from socklb.datapath.dump import Fill
from socklb.datapath.libbpf import BpfError, Program
from socklb.datapath.pins import Pins
from socklb.errors import SocklbError, reason
from socklb.model import Difference
from socklb.report import PacketFacts, RunningFacts, of_thread
from socklb.tc import links
from socklb.tc.attached import Attached
from socklb.tc.events import Unhooked
from socklb.tc.lo import may_be_needed
from socklb.tc.passed_by import PassedBy
from socklb.tc.programs import Programs
from socklb.tc.resets import IsGone, reset_flows
from socklb.tc.rtnetlink import Changes

EVERY = 3.0  # seconds between two checks: the next one repairs damage
SETTLE = 0.05  # seconds: a new device is followed by its addresses and routes
SWEEP_EVERY = 10.0  # seconds
LATELY = 600.0  # seconds
LONGEST = 60.0  # seconds between two tries
STOPPING = 3.0  # seconds that the agent waits for the thread when it stops
STUCK = 60.0  # seconds for one check; loading the programs takes less than one
LOST = ("lost_no_room", "lost_no_port")
log = logging.getLogger(__name__)


class TcPath:
    """See the module."""

    def __init__(self, config: Config, pins: Pins, objects: Path, *, served: bool = False) -> None:
        """Attach nothing yet. `served`: the tables hold what an earlier agent served, so there is no need to wait."""
        self._config, self._pins, self._objects = config, pins, objects
        self._facts = PacketFacts(config.packet_path, there=False, whole=False, since=time.time())
        self._facts.host_routing = config.host_routing
        self._wanted, self._closing = served, False
        self._tried = False  # whether attaching the programs has been tried
        self._waiting = deque[Callable[[], None]]()  # what is called then
        self._moved = False  # whether the tables that the programs read were replaced
        self._stale = True  # devices, addresses or routes may have changed
        self._changes: Changes | None = None
        self._at: Attached | None = None
        self._programs: Programs | None = None
        self._loaded = ExitStack()
        self._events: Unhooked | None = None
        self._said: list[str] = []
        self._networks = [Network.parse(text) for text in config.pod_cidrs]
        self._passed_by = PassedBy(config.host_routing)
        self._swept, self._lost, self._lost_at = 0.0, -1, -LATELY  # when (monotonic), and how many packets were lost
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread: threading.Thread | None = None
        self._in_use = threading.Lock()  # the programs: they may not be closed
        self._taking_over = threading.Lock()  # they are being loaded, and may not be attached yet
        self._busy: float | None = None  # since when the present check has been running (monotonic)
        self._failures = 0

    @property
    def facts(self) -> PacketFacts:
        """Return the present state of the programs."""
        with self._taking_over:
            return self._facts_now()

    def _facts_now(self) -> PacketFacts:
        attached, programs = self._at, self._programs
        if attached is None or programs is None:
            return self._facts
        try:
            devices, counters = attached.facts, programs.counters()
        except Exception as error:  # noqa: BLE001 - it is asked by the report, which must come
            return structs.replace(self._facts, there=None, whole=None, error=self._facts.error or reason(error))
        whole = any(not device.of_pods for device in devices) and not any(device.trouble for device in devices)
        losing = time.monotonic() - self._lost_at < LATELY
        known = {"devices": devices, "counters": counters, "losing": losing}
        return structs.replace(self._facts, there=bool(devices), whole=whole, **known)

    @property
    def fills(self) -> list[Fill]:
        """Return how full the table of flows is."""
        programs = self._programs
        return [Fill("flows", programs.used, programs.max_flows)] if programs else []

    @property
    def running(self) -> list[RunningFacts]:
        """Return the state of its thread."""
        if self._thread is None:
            return []
        return [of_thread("packet path", self._thread, self._busy, STUCK, self._failures)]

    @property
    def problems(self) -> list[Problem]:
        """Return what is wrong at present."""
        texts = [self._facts.error, *self._troubles()]
        return [Problem("", 0, "", f"packet path: {text}") for text in texts if text]

    def _troubles(self) -> list[str]:
        return [*(self._at.problems if self._at else []), *self._passed_by.problems]

    def serve(self) -> None:
        """Serve packets, too, from now on: everything is in the tables."""
        self._wanted = True
        self._look_now()

    def apply(self, difference: Difference) -> None:
        """Note a difference, which is in the tables already."""
        if difference.add.own or difference.remove.own:
            self._look_now()

    def after(self, then: Callable[[], None]) -> None:
        """Call this in the event loop: at once, or if attaching the programs has not been tried yet, after that."""
        loop = asyncio.get_running_loop()

        def call() -> None:
            with suppress(RuntimeError):  # the loop is closed: the agent has ended
                loop.call_soon_threadsafe(then)

        if not self._wanted or not self._config.packet_path or self._tried:
            then()
            return
        self._waiting.append(call)
        if self._tried:
            self._call_waiting()

    def tables_moved(self) -> None:
        """Make the programs read the larger tables that replaced the previous ones."""
        self._moved = True
        self._look_now()

    def reset(self, is_gone: IsGone) -> int:
        """Reset the flows for which `is_gone` is true; return how many. Threads may call this."""
        with self._in_use:
            return reset_flows(self._programs, self._pins.tc_maps, is_gone) if self._programs else 0

    def _look_now(self) -> None:
        os.eventfd_write(self._wake, 1)

    @asynccontextmanager
    async def kept_whole(self) -> AsyncGenerator[None]:
        """Serve and maintain the programs within the block; after it they continue to serve.

        With `packet_path = false` in the configuration, all programs are removed from the devices.
        """
        if not self._config.packet_path:
            self._leave()
            yield
            return
        self._thread = threading.Thread(target=self._work, name="packet-path", daemon=True)
        self._thread.start()
        try:
            yield
        finally:
            self._closing = True
            self._look_now()
            await asyncio.to_thread(self._thread.join, STOPPING)
            if not self._thread.is_alive():
                os.close(self._wake)

    def _leave(self) -> None:
        if not self._pins.tc.is_dir():
            return
        try:
            count = links.remove(self._pins.tc_links)
            shutil.rmtree(self._pins.tc)
        except (BpfError, OSError) as error:
            log.warning("packet path: what an earlier agent attached stays: %s; next: socklb cleanup", reason(error))
        else:
            log.info("packet path: %d programs at devices are removed, for packet_path is false", count)

    def _work(self) -> None:
        """Run the checks. No failure may end the thread: it is reported, and the check is tried again."""
        with ExitStack() as opened:
            opened.callback(self._let_go)
            while not self._closing:
                try:
                    self._pass(opened)
                except Exception as error:  # noqa: BLE001 - where memory ends, it may not even be told
                    self._facts.error = type(error).__name__
                    time.sleep(EVERY)

    def _pass(self, opened: ExitStack) -> None:
        self._busy, wanted = time.monotonic(), self._wanted
        try:
            self._look(opened)
        except Exception as error:  # noqa: BLE001
            self._fail(error)
        else:
            self._heal()
        self._busy, self._tried = None, wanted
        if wanted:
            self._call_waiting()
        self._wait()

    def _call_waiting(self) -> None:
        with suppress(IndexError):
            while True:
                self._waiting.popleft()()

    def _look(self, opened: ExitStack) -> None:
        if self._changes is None:
            self._changes = opened.enter_context(Changes())
        if not self._wanted:
            return
        if self._at is None or self._moved:
            self._moved = False
            try:
                self._load()
            except BaseException:
                self._moved = True
                raise
        assert self._at
        assert self._programs
        unpinned = self._programs.pin_again()  # before others are loaded beside these
        if self._stale:
            self._at.follow()
            self._stale = False
        for event in {event.ifindex for event in self._events.read()} if self._events else ():
            self._at.serve_pods(event)
        if damage := [text for text in (unpinned, self._at.mend()) if text]:
            self._damaged("; ".join(damage))
        self._passed_by.look()
        self._say(self._troubles())
        self._sweep()

    def _say(self, problems: list[str]) -> None:
        """Log each problem once."""
        for text in problems:
            if text not in self._said:
                log.warning("packet path: %s", text)
        self._said = problems

    def _load(self) -> None:
        pins, config, before = self._pins, self._config, self._loaded
        pins.tc_maps.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._programs:
            self._programs.pin_again()  # what is not pinned would be made anew
        with ExitStack() as stack:
            programs = stack.enter_context(self._programs_of())
            events = stack.enter_context(Unhooked(programs.maps["unhooked"]))
            served = Attached(
                programs.by_name,
                pins,
                config.uplinks,
                load_l3=self._load_l3,
                networks=self._networks,
                host_routing=config.host_routing,
                all_pods=not config.pod_sockets,
                at_lo=may_be_needed(config),
            )
            attached = stack.enter_context(closing(served))
            self._loaded = stack.pop_all()
        with self._taking_over:  # neither alone is damage
            with self._in_use:
                self._programs, self._events, self._at, self._stale = programs, events, attached, True
                before.close()
            attached.follow()
            self._stale = False

    def _programs_of(self, *, l3: bool = False) -> Programs:
        if not self._pins.exist():
            raise SocklbError("not pinned: the tables of the hooks", hint="the agent pins them again within seconds")
        pins, room, routing = self._pins, self._config.max_flows, self._config.host_routing and not l3
        return Programs.load(self._objects, pins.maps, pins.tc_maps, room, host_routing=routing, l3=l3)

    def _load_l3(self) -> Mapping[str, Program]:
        return self._loaded.enter_context(self._programs_of(l3=True)).by_name

    def _let_go(self) -> None:
        with self._in_use:
            self._programs = None
            self._loaded.close()

    def _sweep(self) -> None:
        """Free the rows of expired flows now and then, and check whether packets were lost because no row was free."""
        programs, now = self._programs, time.monotonic()
        if programs is None:
            return
        if now - self._swept >= SWEEP_EVERY:
            self._swept = now
            programs.sweep()
        counters = programs.counters()
        lost = sum(counters[name] for name in LOST)
        if lost > self._lost >= 0:
            self._lost_at = now
        self._lost = lost

    def _wait(self) -> None:
        """Wait for a change, an event, an order, or the time of the next check."""
        pause = min(EVERY * 2 ** max(0, self._failures - 1), LONGEST)
        others = [one for one in (self._changes, self._events) if one and not self._failures]
        ready, _, _ = select.select([self._wake, *others], [], [], pause)
        if self._wake in ready:
            os.eventfd_read(self._wake)
        if self._changes and self._changes in ready:
            time.sleep(SETTLE)
            self._changes.forget()
        self._stale = self._stale or self._wake in ready or self._changes in ready

    def _damaged(self, damage: str) -> None:
        log.warning("packet path: damaged from outside: %s; it is put back", damage)
        facts = self._facts
        self._facts = structs.replace(facts, damages=facts.damages + 1, damage=damage, damaged=time.time())

    def _fail(self, error: Exception) -> None:
        self._failures, facts, text = min(self._failures + 1, 10), self._facts, reason(error)
        if text != facts.error:
            log.error("packet path: %s", text)
        self._facts = structs.replace(facts, error=text, since=facts.since if facts.error else time.time())

    def _heal(self) -> None:
        self._failures, facts = 0, self._facts
        if facts.error:
            log.info("packet path: it works again")
            self._facts = structs.replace(facts, error="", since=time.time())
