"""One version of one object, as the cache has it: whole, in part, only its facts, or in the backend's own local file.

An entry is found by name in the `Index` while it is the newest version known. A `doomed` one is no longer: whoever has it open keeps
reading it, and its file goes when the last one closes. Everything here is plain memory, changed between awaits only.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import trio

from appliance.cache.plan.blocks import BLOCK_BYTES, BlockMap
from appliance.cache.plan.fetch import Span
from appliance.cache.plan.s3fifo import Node
from appliance.cache.routes import Route
from appliance.model.objects import ObjectInfo

# So many bytes tell how fast a stream is.
_RATED_BYTES = 16 << 20

# A boot time so long ago that only endless trust reaches it.
NEVER_CHECKED_S = -1e18


class Fetch:
    """A range of blocks on its way: [start, end) in bytes, of which those before `landed` are in the file."""

    __slots__ = (
        "asked_s",
        "began_s",
        "end",
        "error",
        "landed",
        "lazy",
        "scope",
        "start",
        "wanted_end",
    )

    def __init__(self, span: Span, size: int, *, asked_s: float, lazy: bool = False) -> None:
        self.start = self.landed = span.first * BLOCK_BYTES
        self.end = min(span.last * BLOCK_BYTES, size)
        self.scope = trio.CancelScope()
        self.error: Exception | None = None
        # A lazy one asks for more than is wanted yet, as a request costs far more than bytes: it ends early, after what `wanted_end` says.
        self.lazy = lazy
        self.wanted_end = self.start
        self.asked_s = asked_s  # boot time of the request
        self.began_s: float | None = None  # boot time of its first bytes

    @property
    def span(self) -> Span:
        """The blocks that will come if nobody says more."""
        end = (
            max(self.wanted_end, self.landed + 1, self.start + BLOCK_BYTES)
            if self.lazy
            else self.end
        )
        return Span(self.start // BLOCK_BYTES, -(-min(end, self.end) // BLOCK_BYTES))

    def cap(self, end: int) -> None:
        """Leave what begins at byte `end`, a block's first, to another fetch."""
        if self.landed <= end < self.end:
            self.end = end

    def wants_after(self, position: int) -> bool:
        """Whether more is to come once all before `position` has landed: a lazy one ends at the last whole block if that was all."""
        if position >= self.end:
            return False
        whole = position - position % BLOCK_BYTES
        return not self.lazy or whole <= self.start or position < self.wanted_end

    def helped_by_others(self, now_s: float, *, slow_bytes_per_s: float, piece_bytes: int) -> bool:
        """Whether the rest would come sooner in several requests: this one is slow, and it was not the asking that took the time."""
        count = self.landed - self.start
        if not self.lazy or self.began_s is None or count < _RATED_BYTES:
            return False
        taken_s = now_s - self.began_s
        piece_s = taken_s * piece_bytes / count
        return count < slow_bytes_per_s * taken_s and self.began_s - self.asked_s < piece_s


class Entry:
    """See the module. `fd` is -1 while the file is not open (or there is none)."""

    __slots__ = (
        "blocks",
        "checked_s",
        "complete",
        "doomed",
        "fd",
        "fetches",
        "file",
        "freshness_s",
        "info",
        "journalled",
        "local",
        "lost_disk",
        "name",
        "node",
        "on_idle",
        "parallel",
        "readers",
        "route",
        "saved_blocks",
        "tasks",
        "touched",
        "wakers",
    )

    def __init__(
        self,
        name: tuple[str, str],
        route: Route,
        info: ObjectInfo,
        on_idle: Callable[[Entry], None],
    ) -> None:
        self.name = name
        self.route = route
        self.info = info
        self.freshness_s = route.freshness_s
        self.file = ""
        self.fd = -1
        self.blocks: BlockMap | None = None
        self.complete = False
        self.local = False
        self.checked_s = NEVER_CHECKED_S
        self.readers = 0
        self.node: Node | None = None
        self.touched = False
        self.doomed = False
        self.journalled = False
        self.lost_disk = False  # its file could not be written: readers go past the cache
        self.fetches: list[Fetch] = []
        self.wakers = trio.lowlevel.ParkingLot()
        self.tasks = 0  # that may use `fd`, also after their fetch was cancelled
        self.parallel = False  # one stream was slow: use several
        self.saved_blocks = 0  # how many the sidecar on disk knows
        self.on_idle = on_idle

    @property
    def idle(self) -> bool:
        return not self.readers and not self.tasks

    def use(self) -> None:
        """One more reader, who will `release`."""
        self.readers += 1
        self.count_use()

    def count_use(self) -> None:
        """For eviction and the descriptor cache."""
        self.touched = True
        node = self.node
        if node is not None and node.frequency < 3:
            node.frequency += 1

    def release(self) -> None:
        self.readers -= 1
        if self.readers == 0 and (not self.complete or self.doomed):
            self.on_idle(self)

    def went_idle(self) -> None:
        """A task of this entry ended."""
        if self.readers == 0:
            self.on_idle(self)

    def close_file(self) -> None:
        """Give the descriptor back. Only while idle."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def available(self, offset: int, length: int) -> int:
        """Bytes from `offset` that are in the file without a gap, at most `length`."""
        if self.complete:
            return length
        if self.blocks is None or self.lost_disk:
            return 0
        count = self.blocks.contiguous(offset, length)
        while count < length:
            position = offset + count
            fetch = self.fetch_at(position)
            if fetch is None or fetch.landed <= position:
                break
            count = min(length, fetch.landed - offset)
            if count < length and fetch.landed == fetch.end:
                count += self.blocks.contiguous(offset + count, length - count)
        return count

    def fetch_at(self, offset: int) -> Fetch | None:
        """The fetch under way that covers a byte."""
        for fetch in self.fetches:
            if fetch.start <= offset < fetch.end:
                return fetch
        return None
