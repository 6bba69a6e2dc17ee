"""The datapath of one node: its objects, its pins, its hooks and its tables, opened for writing."""

from __future__ import annotations

import logging
import struct
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from socklb.datapath import counts, dump, features, growth, kernel, layout, libbpf, loading, mounts
from socklb.datapath.keeper import Keeper
from socklb.datapath.left_out import LeftOut
from socklb.datapath.maps import RowTable
from socklb.datapath.observing import Observing, beside
from socklb.datapath.own_network import OwnNetwork
from socklb.datapath.pins import Pins
from socklb.datapath.sizes import Sizes
from socklb.datapath.writer import MapWriter
from socklb.errors import SocklbError

OBJECTS = Path(__file__).parent  # the wheel has them here
END_SOCKET = "end_socket"
NOTHING = (b"", 0)  # decisions, and how many were lost
OBJECT_FILES = tuple(features.OBJECTS)

log = logging.getLogger(__name__)


class NodeDatapath:
    """Load, read back, write, attach. After it is closed, everything that is pinned stays at work.

    with NodeDatapath(bpffs, cgroup, objects) as datapath:
        datapath.tables.apply(…)
        datapath.attach()
    """

    def __init__(
        self,
        bpffs: Path,
        cgroup: Path,
        objects: Path = OBJECTS,
        sizes: Sizes = Sizes(),  # noqa: B008
        run: Path | None = None,
        *,
        packets: bool = False,
        pod_sockets: bool = True,
        leave_out: bool = False,
        count_connects: bool = False,
        most: Sizes | None = None,
    ) -> None:
        """Become the node's only writer, create or take over the maps, and read back what they hold.

        packets: whether the packet path serves Service addresses that a hook lets pass, so that a hook may leave to it
        what it could serve only under a wrong name.
        pod_sockets: whether hooks serve sockets outside this process' network namespace, the node's.
        leave_out: whether cgroups may be left out, which costs the hooks some nanoseconds.
        count_connects: whether hooks count connects by Service and backend.
        sizes: the capacity that is needed at least.
        most: what the tables may grow to (`room.Room`); None: they do not grow.

        Raises:
            SocklbError: another agent serves the node, the file system is not bpffs, or an object is missing.
            BpfError: the kernel refused the programs or the maps.
        """
        mounts.check_bpffs(bpffs, mounts.read_mounts())
        self.cgroup, self.objects = cgroup, objects
        self.pins = Pins(bpffs, run)
        with ExitStack() as opened:
            self.pins.make()
            self.pins.lock()
            opened.callback(self.pins.unlock)
            self.missing = features.missing()
            self.object_file = features.object_for(self.missing)
            growth.settle(self.pins.maps)
            self._network = opened.enter_context(closing(OwnNetwork()))
            self._facts = kernel.read()._replace(
                packets=int(packets),
                leave_pods=int(not pod_sockets),
                leave_out=int(leave_out),
                count_connects=int(count_connects),
                asking=self._network.asking,
            )
            self._path = objects / self.object_file
            self._loaded = loading.load(self._path, self.pins, sizes, self._facts.packed)
            self.keeper = Keeper(self._loaded.object, cgroup, self.pins)
            opened.callback(self._let_go)
            self.most = (most or sizes).at_least(self.sizes)
            self.larger_than_asked = loading.larger_than(most or sizes, self.sizes)
            if self.larger_than_asked:
                log.info("%s", self.larger_than_asked)
            self._attached = False
            self._observing: Observing | None = None
            self._last_told = NOTHING
            self.tables = MapWriter(self.pins.maps)
            opened.callback(self.tables.close)
            self.left_out = opened.enter_context(closing(LeftOut(self.pins.maps)))
            self._this_node = opened.enter_context(closing(RowTable(self.pins.maps, "this_node", layout.NODE.size)))
            self.netns = self._network.cookie or self._this_node.word(0, 0)  # an earlier agent may have stored it
            self._this_node.publish(0, 0, self.netns)
            self._bookkeeping = RowTable(self.pins.maps, "bookkeeping", layout.BOOKKEEPING.size)
            opened.callback(self._bookkeeping.close)
            self._counts = opened.enter_context(closing(RowTable(self.pins.maps, "hook_counts", layout.COUNT.size)))
            self._opened = opened.pop_all()

    @property
    def sizes(self) -> Sizes:
        """Return the capacity of the tables."""
        return self._loaded.sizes

    @property
    def records(self) -> dump.Bookkeeping:
        """Return what happened to the records of sockets, even while the pins are unmounted."""
        return dump.Bookkeeping(*layout.BOOKKEEPING.unpack(self._bookkeeping.read(0)))

    @property
    def refused(self) -> dict[str, int]:
        """Return how many calls the hooks refused, by reason."""
        return counts.refusals(self._counts)

    @property
    def uncounted(self) -> int:
        """Return for how many connects the count by Service and backend had no room."""
        return self._counts.word(layout.UNCOUNTED, 0)

    def attach(self) -> None:
        """Attach the hooks, or swap the programs that an earlier agent left. All or none."""
        self._swap()
        self.pins.retire_older()
        if self._network.asking:
            self._network.tell_hooks()
            self.netns = self._this_node.word(0, 0)

    def end_socket(self, cookie: int) -> bool:
        """Give back the slot of a socket that ended while no release hook ran; return whether it had one."""
        program = self._loaded.object.program(END_SOCKET)
        return bool(libbpf.run(END_SOCKET, program.fd, struct.pack("=Q", cookie)))

    def observe(self) -> None:
        """Make the hooks report what they decide, until `unobserve`.

        Raises:
            SocklbError: they are not attached.
            BpfError, OSError: the programs cannot be swapped; the previous ones run.
        """
        if not self._attached:
            raise SocklbError("the hooks are not attached, so there is nothing to see", hint="socklb status")
        observing = Observing(beside(self._path), self.keeper.maps, self._facts.packed)
        try:
            self.keeper.run(observing.object)
        except BaseException:
            with suppress(SocklbError, OSError):
                self.keeper.run(self._loaded.object)
            observing.close()
            raise
        self._observing = observing

    def unobserve(self) -> None:
        """Make the hooks run the ordinary programs again, which report nothing.

        Raises:
            SocklbError, OSError: one could not be swapped, and is damage that the keeper repairs.
        """
        observing, self._observing, self._last_told = self._observing, None, NOTHING
        if observing:
            try:
                self.keeper.run(self._loaded.object)
            finally:
                observing.close()

    def decisions(self) -> tuple[bytes, int]:
        """Return what the hooks reported since the last call (`decisions.unpack`), and how many decisions were lost."""
        before, self._last_told = self._last_told, NOTHING
        now = self._observing.take() if self._observing else NOTHING
        return before[0] + now[0], before[1] + now[1]

    def grow(self, sizes: Sizes) -> None:
        """Replace the tables with larger ones and add what waited for room; nobody else writes meanwhile.

        Raises:
            BpfError: the kernel refused the tables, and nothing was changed; or the programs, which the keeper
                restores.
        """
        if self._observing is None:
            self._grow(sizes)
            return
        last_told = self.decisions()
        self.unobserve()
        try:
            self._grow(sizes)
        finally:
            self._last_told = last_told
            self._observe_again()

    def _grow(self, sizes: Sizes) -> None:
        before, keeper = self._loaded, self.keeper
        keeper.pin_maps()  # what is not pinned would be made anew
        self._loaded = loading.grow(self._path, self.pins.maps, sizes, self._facts.packed)
        self._loaded.copies[:0] = before.copies
        self.keeper = Keeper(self._loaded.object, self.cgroup, self.pins)
        try:
            if self._attached:
                self._swap()
        finally:
            keeper.close()
            before.object.close()
            self.tables.move_to(self.pins.maps)

    def _observe_again(self) -> None:
        try:
            self.observe()
        except (SocklbError, OSError) as error:
            log.warning("whoever watches is told nothing of the tables that have grown: %s", error)

    def _let_go(self) -> None:
        with suppress(SocklbError, OSError):
            self.unobserve()
        self.keeper.close()
        self._loaded.close()

    def _swap(self) -> None:
        self.keeper.attach()
        self._attached = True
        self._loaded.catch_up()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()
