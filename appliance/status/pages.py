"""The pages of the admin listener: metrics, health, readiness, and the numbers behind `appliance status`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import msgspec
import trio

from appliance.model.errors import ApplianceError
from appliance.status.admin import Page, Pages, text
from appliance.status.metrics import Metrics, Statistics

_PROBE_TIMEOUT_S = 3.0


class Probed(Protocol):
    """A backend, as far as this page cares."""

    name: str

    def probe(self) -> Awaitable[None]:
        """Raises unless it answers."""
        ...


class NodePages:
    """`state` is "starting", "ready" or "draining"; the node sets it."""

    def __init__(
        self,
        facts: Mapping[str, object],
        parts: Mapping[str, Statistics],
        backends: Sequence[Probed],
        plugin_metrics: Callable[[], Sequence[tuple[str, str, float]]],
        boot_s: Callable[[], float],
    ) -> None:
        self.state = "starting"
        self._facts = facts
        self._parts = parts
        self._backends = backends
        self._metrics = Metrics(parts, plugin_metrics)
        self._boot_s = boot_s

    def pages(self) -> Pages:
        """By path."""
        return {
            "/metrics": self.metrics,
            "/healthz": self.health,
            "/readyz": self.ready,
            "/status": self.status,
        }

    async def metrics(self) -> Page:
        """Prometheus text."""
        return Page(200, "text/plain; version=0.0.4; charset=utf-8", self._metrics.page())

    async def health(self) -> Page:
        """200 as long as the event loop turns."""
        return text(200, "alive")

    async def ready(self) -> Page:
        """200 if new requests are welcome. A backend that is away is told but does not take the node out: hits are served without it."""
        if self.state != "ready":
            return text(503, self.state)
        away = [name for name, reason in (await self._probe()).items() if reason]
        return text(200, "ready" + "".join(f"; backend {name} does not answer" for name in away))

    async def status(self) -> Page:
        """All facts and numbers as JSON."""
        probes = await self._probe()
        document = {
            **self._facts,
            "state": self.state,
            "boot_s": self._boot_s(),
            "probes": probes,
            "parts": {name: dict(statistics()) for name, statistics in self._parts.items()},
        }
        return Page(200, "application/json", msgspec.json.encode(document))

    async def _probe(self) -> dict[str, str]:
        """Backend name -> "" if it answers, else a reason; all at once, none longer than the timeout."""
        reasons = {backend.name: "no answer in time" for backend in self._backends}

        async def probe(backend: Probed) -> None:
            try:
                await backend.probe()
                reasons[backend.name] = ""
            except ApplianceError as error:
                reasons[backend.name] = str(error)

        with trio.move_on_after(_PROBE_TIMEOUT_S):
            async with trio.open_nursery() as nursery:
                for backend in self._backends:
                    nursery.start_soon(probe, backend)
        return reasons
