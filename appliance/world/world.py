"""The interface to time, threads and chance. Everything that is not pure takes a `World`; nothing else calls `time` or `os.urandom`."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Lane(enum.Enum):
    """Separate thread limits, so that a hung backend cannot starve the disk, nor hashing the journal."""

    DISK = 16
    BACKEND = 64
    JOURNAL = 2
    HASH = 4

    @property
    def threads(self) -> int:
        return self.value


class World(Protocol):
    """Times are `_ns` since the Unix epoch, or seconds of CLOCK_BOOTTIME, which goes on during suspend and never jumps."""

    def now_ns(self) -> int: ...

    def boot_s(self) -> float: ...

    def token_bytes(self, size: int) -> bytes:
        """Unpredictable bytes."""
        ...

    def random(self) -> float:
        """A number in [0, 1), for jitter and sampling."""
        ...

    async def run_blocking(
        self, lane: Lane, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a function that may block, off the event loop. Not interrupted by cancellation: the caller waits for it to end."""
        ...
