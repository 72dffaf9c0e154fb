"""The S3 backend over a real upstream, started as the appliance starts it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlencode

import trio

from appliance.plugin import Backend, BackendConfig
from appliance.plugin.check import Allowances, Check, run_check
from appliance.world import Lane, RealWorld
from appliance_s3.plugin import appliance_backend

AT_A_TIME = 6

P = ParamSpec("P")
T = TypeVar("T")


class ThreadHost(RealWorld):
    """A plugin's host with real clocks and threads, without backoff between retries."""

    logger = logging.getLogger("appliance.test")

    def random(self) -> float:
        return 0.0

    async def run_blocking(  # type: ignore[override]  # a plugin's host has one lane
        self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await super().run_blocking(Lane.BACKEND, function, *args, **kwargs)


def make_backend(
    endpoint: str, access_key: str, secret_key: str, place: str = "", **options: Any
) -> Backend:
    """A backend that has not started. `place`: bucket and prefix of the URL."""
    query = urlencode({"endpoint_url": endpoint, "region": "us-east-1", "addressing_style": "path"})
    keys = {"access_key": access_key, "secret_key": secret_key, **options}
    config = BackendConfig(name="upstream", host=ThreadHost(), options=keys)
    backend = appliance_backend(f"s3://{place}?{query}", config)
    assert backend is not None
    return backend


@contextlib.asynccontextmanager
async def started(backend: Backend) -> AsyncIterator[Backend]:
    """The backend while it is started."""
    await backend.start()
    try:
        yield backend
    finally:
        with trio.CancelScope(shield=True):
            await backend.stop()


async def conform(
    backend: Backend,
    allow: Allowances,
    checks: list[tuple[str, Check]],
    bucket: str = "",
    at_a_time: int = AT_A_TIME,
) -> dict[str, str]:
    """Names and reasons of the checks that failed. They run side by side: most of the time they wait for the upstream."""
    failed: dict[str, str] = {}
    slots = trio.CapacityLimiter(at_a_time)

    async def run(name: str, check: Check) -> None:
        async with slots:
            try:
                await run_check(backend, name, check, bucket=bucket, allow=allow)
            except Exception as error:  # noqa: BLE001  # whatever it is, the other checks go on
                failed[name] = repr(error)[:500]

    async with trio.open_nursery() as nursery:
        for name, check in checks:
            nursery.start_soon(run, name, check)
    return failed
