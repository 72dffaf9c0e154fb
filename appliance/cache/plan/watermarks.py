"""When to evict, and how much: by what the cache may hold, and by what the filesystem has left. A full disk is a normal state."""

from __future__ import annotations

import msgspec

_FREE_SHARE = 0.05
_FREE_BYTES_MAX = 10 << 30


class Watermarks(msgspec.Struct, frozen=True, kw_only=True):
    """With more than `high_bytes` cached, or less than `free_bytes_min` free, evict down to `low_bytes` / up to `free_bytes_goal`."""

    capacity_bytes: int
    high_bytes: int
    low_bytes: int
    free_bytes_min: int
    free_bytes_goal: int

    @classmethod
    def of(
        cls,
        capacity_bytes: int,
        filesystem_bytes: int,
        *,
        high: float = 0.95,
        low: float = 0.90,
        min_free_bytes: int | None = None,
    ) -> Watermarks:
        """Shares of `capacity_bytes`. What must stay free is at most a quarter of the filesystem: a small disk can cache, too."""
        if min_free_bytes is None:
            min_free_bytes = min(int(filesystem_bytes * _FREE_SHARE), _FREE_BYTES_MAX)
        free = min(min_free_bytes, filesystem_bytes // 4)
        return cls(
            capacity_bytes=capacity_bytes,
            high_bytes=int(capacity_bytes * high),
            low_bytes=int(capacity_bytes * low),
            free_bytes_min=free,
            free_bytes_goal=free + free // 4,
        )

    def to_evict(self, used_bytes: int, free_bytes: int) -> int:
        """Bytes to evict now; 0 within the watermarks."""
        by_size = used_bytes - self.low_bytes if used_bytes > self.high_bytes else 0
        by_space = self.free_bytes_goal - free_bytes if free_bytes < self.free_bytes_min else 0
        return max(0, by_size, min(by_space, used_bytes))
