"""The `Host` that backends get in tests: real clock and threads, seeded chance where a seed is given."""

from __future__ import annotations

import functools
import logging
import os
import random
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import trio

from appliance.plugin import BackendConfig

P = ParamSpec("P")
T = TypeVar("T")


class RealHost:
    """See `appliance.plugin.Host`."""

    logger = logging.getLogger("tests.backend")

    def now_ns(self) -> int:
        return time.time_ns()

    def boot_s(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def token_bytes(self, size: int) -> bytes:
        return os.urandom(size)

    def random(self) -> float:
        return random.random()

    async def run_blocking(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await trio.to_thread.run_sync(functools.partial(function, *args, **kwargs))


def backend_config(name: str = "test", **options: object) -> BackendConfig:
    """Configuration of a backend that runs in a test."""
    return BackendConfig(name=name, host=RealHost(), options=options)
