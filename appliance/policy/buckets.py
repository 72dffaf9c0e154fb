"""Which policy and which backend apply to a bucket: the first pattern that matches wins."""

from __future__ import annotations

import math

import msgspec


class BucketPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How objects of a bucket are kept.

    `write`: "through" (acknowledged when the backend has it). `freshness_s`: how long an entry is trusted after it was last known to be
    current, in seconds; 0 validates at each use, inf trusts for ever (nobody else writes to this bucket), None is the backend's default:
    0 where validation is cheap, else 60. `copies`: nodes that hold it.
    """

    write: str = "through"
    freshness_s: float | None = None
    copies: int = 1
    on_outage: str = "serve"

    def effective_freshness_s(self, *, cheap_validation: bool) -> float:
        """Seconds of trust for a backend that validates cheaply or not."""
        if self.freshness_s is not None:
            return self.freshness_s
        return 0.0 if cheap_validation else DEFAULT_FRESHNESS_S


DEFAULT_FRESHNESS_S = 60.0
FOR_EVER = math.inf
