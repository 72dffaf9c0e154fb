"""The real world: kernel clocks, kernel randomness, trio's worker threads."""

from __future__ import annotations

import functools
import os
import random
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import trio

from appliance.world.world import Lane

P = ParamSpec("P")
T = TypeVar("T")


class RealWorld:
    """See `appliance.world.World`."""

    def __init__(self) -> None:
        self._limiters = {lane: trio.CapacityLimiter(lane.threads) for lane in Lane}
        self._random = random.SystemRandom()

    def now_ns(self) -> int:
        return time.time_ns()

    def boot_s(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def token_bytes(self, size: int) -> bytes:
        return os.urandom(size)

    def random(self) -> float:
        return self._random.random()

    async def run_blocking(
        self, lane: Lane, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        call = functools.partial(function, *args, **kwargs)
        return await trio.to_thread.run_sync(call, limiter=self._limiters[lane])

    def statistics(self) -> dict[str, trio.CapacityLimiterStatistics]:
        """Threads in use and tasks waiting, per lane."""
        return {lane.name.lower(): limiter.statistics() for lane, limiter in self._limiters.items()}
