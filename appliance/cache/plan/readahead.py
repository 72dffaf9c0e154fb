"""How far ahead of a reader to fetch: nothing for random reads, ever more while a stream stays sequential.

The window opens at 1 MiB with the second sequential request (or the first, if it is at byte 0), doubles to 64 MiB each time the reader has
moved on by half of it, and collapses on a seek. Readers such as the kernel's arrive a little out of order: up to 1 MiB before or after
what was last wanted is no seek.
"""

from __future__ import annotations

WINDOW_BYTES_MIN = 1 << 20
WINDOW_BYTES_MAX = 64 << 20
SLACK_BYTES = 1 << 20


class ReadAhead:
    """One reader's position and window, in bytes."""

    __slots__ = ("_end", "_grown_at", "_last", "_limit", "window")

    def __init__(self, limit_bytes: int = WINDOW_BYTES_MAX) -> None:
        self._limit = limit_bytes
        self._last = 0
        self._end = 0
        self._grown_at = 0
        self.window = 0

    def advance(self, offset: int, length: int) -> int:
        """The reader wants [offset, offset + length); returns how many bytes beyond that to have coming."""
        sequential = self._last - SLACK_BYTES <= offset <= self._end + SLACK_BYTES
        self._last = offset
        if not sequential:
            self.window = 0
            self._grown_at = offset
            self._end = offset + length
            return 0
        asked_before = offset + length <= self._end
        self._end = max(self._end, offset + length)
        if self.window == 0:
            if asked_before:
                return 0  # still within one request
            self.window = min(WINDOW_BYTES_MIN, self._limit)
        while 0 < self.window < self._limit and offset - self._grown_at >= self.window // 2:
            self._grown_at += self.window // 2
            self.window = min(2 * self.window, self._limit)
        return self.window
