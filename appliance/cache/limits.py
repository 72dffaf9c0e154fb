"""How much the cache may take: disk, descriptors, bandwidth of the scrub."""

from __future__ import annotations

import msgspec

from appliance.cache.plan.watermarks import Watermarks

_DEFAULT_SHARE = 0.8
OPEN_FILES_MAX = 4096


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """As configured. `capacity_bytes` 0 is 80 % of the filesystem; `min_free_bytes` None is 5 % of it, at most 10 GiB.

    `high` and `low` are shares of the capacity: eviction begins above the one and ends below the other. `scrub_bytes_per_s` 0 is no scrub.
    """

    capacity_bytes: int = 0
    high: float = 0.95
    low: float = 0.90
    min_free_bytes: int | None = None
    read_ahead_bytes: int = 64 << 20
    scrub_bytes_per_s: float = 0.0
    open_files_max: int = OPEN_FILES_MAX

    def watermarks(self, filesystem_bytes: int) -> Watermarks:
        """For a filesystem of that size."""
        return Watermarks.of(
            self.capacity_bytes or int(filesystem_bytes * _DEFAULT_SHARE),
            filesystem_bytes,
            high=self.high,
            low=self.low,
            min_free_bytes=self.min_free_bytes,
        )
