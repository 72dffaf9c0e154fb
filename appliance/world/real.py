"""The real world: kernel clocks, kernel randomness, trio's worker threads."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import threading
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
        call = functools.partial(_run, function, *args, **kwargs)
        return await trio.to_thread.run_sync(call, limiter=self._limiters[lane])

    def statistics(self) -> dict[str, trio.CapacityLimiterStatistics]:
        """Threads in use and tasks waiting, per lane."""
        return {lane.name.lower(): limiter.statistics() for lane, limiter in self._limiters.items()}


_here = threading.local()


def _run(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """In a worker thread, which must not preempt the event loop that woke it.

    It would only wait for the interpreter lock, which the event loop holds: two switches for nothing, 15 % of the CPU of small cold reads.
    Threads of SCHED_BATCH have the same share of the processor, but wait until it is given up (sched(7)).
    """
    if not hasattr(_here, "waits"):
        _here.waits = True
        with contextlib.suppress(OSError):  # some sandboxes forbid it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    return function(*args, **kwargs)
