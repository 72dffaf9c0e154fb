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

# A boot time so long ago that only endless trust reaches it.
NEVER_CHECKED_S = -1e18


class Fetch:
    """A range of blocks on its way: [start, end) in bytes, of which those before `landed` are in the file."""

    __slots__ = ("end", "error", "landed", "lazy", "scope", "span", "start", "wanted_end")

    def __init__(self, span: Span, size: int, *, lazy: bool = False) -> None:
        self.span = span
        self.start = self.landed = span.first * BLOCK_BYTES
        self.end = min(span.last * BLOCK_BYTES, size)
        self.scope = trio.CancelScope()
        self.error: Exception | None = None
        # A lazy one began before anyone said what is wanted: it may end early, after what `wanted_end` says.
        self.lazy = lazy
        self.wanted_end = self.start


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
