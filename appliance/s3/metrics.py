"""Counters of requests, cheap enough for each: a dictionary entry per (operation, status), a histogram of durations per operation."""

from __future__ import annotations

from bisect import bisect_left

# Upper bounds of the duration buckets, in seconds; the last bucket is unbounded.
BOUNDS_S = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    60.0,
)


class Durations:
    """A histogram: `counts[i]` requests took at most `BOUNDS_S[i]` (and more than the bound before), the last one more than all."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds


class RequestMetrics:
    """What was asked, how it ended, how long it took, how many bytes came and went."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, int], int] = {}
        self.durations: dict[str, Durations] = {}
        self.received_bytes = 0
        self.sent_bytes = 0
        self.aborted = 0
        self.in_flight = 0

    def finished(
        self, operation: str, status: int, seconds: float, received_bytes: int, sent_bytes: int
    ) -> None:
        key = (operation, status)
        self.requests[key] = self.requests.get(key, 0) + 1
        durations = self.durations.get(operation)
        if durations is None:
            durations = self.durations[operation] = Durations()
        durations.add(seconds)
        self.received_bytes += received_bytes
        self.sent_bytes += sent_bytes

    def statistics(self) -> dict[str, float]:
        """Totals over all operations; `requests` and `durations` have the details."""
        return {
            "requests_total": sum(self.requests.values()),
            "errors_total": sum(n for (_, status), n in self.requests.items() if status >= 500),
            "responses_aborted_total": self.aborted,
            "requests_in_flight": self.in_flight,
            "received_bytes_total": self.received_bytes,
            "sent_bytes_total": self.sent_bytes,
        }
