"""Statistics of every part as Prometheus metrics.

Each stateful object has `statistics() -> dict[str, float]`. A name that ends in `_total` is a counter, anything else a gauge; names carry
their unit (`_bytes`, `_seconds`). The part's name goes in front: `appliance_cache_hits_total`. A key `name{label="value"}` is passed
through.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

# What the parts of a node tell that may also fall. All else counts, and ends in `_total`: tests/status/test_names.py looks.
GAUGES = frozenset(
    [
        "access_standings",
        "accounts",
        "breaker_state",
        "broken",
        "buckets",
        "calls_in_progress",
        "capacity_bytes",
        "changes_remembered",
        "connections_addresses",
        "connections_idle",
        "connections_open",
        "database_bytes",
        "directory_snapshot_entries",
        "document_bytes",
        "fetches_in_flight",
        "files_to_remove",
        "floor",
        "hints",
        "hot_parked",
        "inodes",
        "kept_versions",
        "largest_batch",
        "last_seq",
        "memory_entries",
        "names",
        "objects",
        "open_directories",
        "open_files",
        "opens_in_flight",
        "pending_files",
        "pins",
        "plugins",
        "queue_ghost_objects",
        "queue_main_bytes",
        "queue_main_objects",
        "queue_small_bytes",
        "queue_small_objects",
        "queued_access",
        "queued_calls",
        "requests_in_flight",
        "signatures_signing_keys",
        "settings",
        "soon_bytes",
        "suspect_names",
        "unreadable_keys",
        "unresolved_writes",
        "unverified_files",
        "uploads",
        "usable_keys",
        "used_bytes",
        "waiting_names",
        "wal_bytes",
        "write_behind_bytes",
    ]
)

Statistics = Callable[[], Mapping[str, float]]
_LABELLED = re.compile(r"(?P<name>\w+)\{(?P<labels>.*)\}\Z")
_LABEL = re.compile(r'(\w+)="([^"]*)"')


class _Parts(Collector):
    def __init__(
        self,
        parts: Mapping[str, Statistics],
        extra: Callable[[], Iterable[tuple[str, str, float]]],
    ) -> None:
        self._parts = parts
        self._extra = extra

    def collect(self) -> Iterator[Metric]:
        for part, statistics in self._parts.items():
            yield from families(part, statistics())
        for name, description, value in self._extra():
            yield GaugeMetricFamily(name, description, value)


def families(part: str, statistics: Mapping[str, float]) -> Iterator[Metric]:
    """Metric families of one part; keys that differ in labels only share a family."""
    made: dict[str, Metric] = {}
    for key, value in statistics.items():
        match = _LABELLED.match(key)
        name = match["name"] if match else key
        labels = dict(_LABEL.findall(match["labels"])) if match else {}
        full = f"appliance_{part}_{name}"
        family = made.get(full)
        if family is None:
            kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            text = name.removesuffix("_total").replace("_", " ")
            family = made[full] = kind(full, f"{part}: {text}", labels=list(labels))
        family.add_metric(list(labels.values()), value)  # type: ignore[attr-defined]  # both kinds have it
    yield from made.values()


class Metrics:
    """Renders the page that Prometheus scrapes."""

    def __init__(
        self,
        parts: Mapping[str, Statistics],
        extra: Callable[[], Iterable[tuple[str, str, float]]] = tuple,
    ) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Parts(parts, extra))
        ProcessCollector(registry=self._registry)

    def page(self) -> bytes:
        """Text exposition format, version 0.0.4."""
        return generate_latest(self._registry)
