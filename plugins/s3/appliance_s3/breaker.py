"""Circuit breaker: after several failures in a row, stop asking an upstream for a while and fail at once instead.

    closed     calls go through; `THRESHOLD` failures in a row open it
    open       calls are refused until `until_s`; each opening in a row doubles the pause, from `PAUSE_S` to `PAUSE_MAX_S`
    half-open  one call, the trial, goes through; its success closes the breaker, its failure opens it again

Only failures that say "the upstream is not there" count (no connection, no answer, 502 to 504); any S3 answer is a success. Frozen
values and plain functions; `now_s` is any monotonic clock.
"""

from __future__ import annotations

import msgspec

THRESHOLD = 5
PAUSE_S = 1.0
PAUSE_MAX_S = 30.0


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """`failures` in a row so far; `openings` in a row; `until_s` set while open or half-open; `trial`: one is under way."""

    failures: int = 0
    openings: int = 0
    until_s: float | None = None
    trial: bool = False

    @property
    def state(self) -> str:
        if self.until_s is None:
            return "closed"
        return "half-open" if self.trial else "open"


def admit(breaker: Breaker, now_s: float) -> tuple[Breaker, float | None]:
    """The breaker after a call asked to go through, and for how many seconds it is refused (None: it may go)."""
    if breaker.until_s is None:
        return breaker, None
    if now_s < breaker.until_s:
        return breaker, breaker.until_s - now_s
    if breaker.trial:
        return breaker, PAUSE_S
    return msgspec.structs.replace(breaker, trial=True), None


def succeeded() -> Breaker:
    """The upstream answered. A call that was admitted before the breaker opened closes it too: it is proof enough."""
    return Breaker()


def failed(breaker: Breaker, now_s: float) -> Breaker:
    """The upstream was not there."""
    if breaker.until_s is None and breaker.failures + 1 < THRESHOLD:
        return msgspec.structs.replace(breaker, failures=breaker.failures + 1)
    if breaker.until_s is not None and not breaker.trial:
        return breaker  # a straggler from before it opened
    pause_s = min(PAUSE_S * 2**breaker.openings, PAUSE_MAX_S)
    return Breaker(failures=THRESHOLD, openings=breaker.openings + 1, until_s=now_s + pause_s)


def withdrawn(breaker: Breaker) -> Breaker:
    """A call ended without telling anything about the upstream (it was cancelled); a trial may be tried again."""
    return msgspec.structs.replace(breaker, trial=False)
