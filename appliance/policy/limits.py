"""How much may be asked at once and per second, of a node and by an account. Pure: `now_s` is an argument, any clock that never jumps.

A request is admitted by all meters that concern it or by none, so that what one limit refuses costs nothing of another.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

import msgspec

# What a second's rate allows may come at once.
BURST_S = 1.0


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """0 is no limit."""

    requests_per_s: float = 0.0
    requests_in_flight: int = 0

    def __bool__(self) -> bool:
        return self.requests_per_s > 0 or self.requests_in_flight > 0


class AccountLimit(msgspec.Struct, frozen=True, kw_only=True):
    """The limit of each account whose name matches a shell pattern."""

    match: str
    limit: Limit


def limit_of(name: str, limits: Sequence[AccountLimit]) -> Limit:
    """The first that matches; none if none does."""
    for entry in limits:
        if fnmatch.fnmatchcase(name, entry.match):
            return entry.limit
    return Limit()


class Meter:
    """What is used of one limit.

    The rate is kept as the time at which the last admitted request would have been due, had all come evenly (the generic cell rate
    algorithm, ITU-T I.371): whoever is not further ahead of the clock than the burst may go on.
    """

    __slots__ = ("_ahead_s", "_due_s", "_in_flight_max", "_interval_s", "in_flight")

    def __init__(self, limit: Limit) -> None:
        self._in_flight_max = limit.requests_in_flight
        self._interval_s = 1.0 / limit.requests_per_s if limit.requests_per_s else 0.0
        self._ahead_s = max(BURST_S - self._interval_s, 0.0)
        self._due_s = 0.0
        self.in_flight = 0

    def refusal(self, now_s: float) -> str:
        """Why one more may not be admitted now; "" if it may."""
        if self._in_flight_max and self.in_flight >= self._in_flight_max:
            return f"{self._in_flight_max} requests are in flight already"
        if self._interval_s and self._due_s - now_s > self._ahead_s:
            return f"more than {1.0 / self._interval_s:g} requests per second"
        return ""

    def admit(self, now_s: float) -> None:
        """Count one in."""
        self.in_flight += 1
        if self._interval_s:
            self._due_s = max(self._due_s, now_s) + self._interval_s

    def release(self) -> None:
        """One that was admitted has ended."""
        self.in_flight -= 1
