"""Which names changed lately: tells whether an answer that was asked for a while ago may still be believed.

Whoever asks the cache takes a `mark` first. When the answer is in, `touched` says whether the name may have changed since. It may say so
for nothing (only the last few thousand changes are remembered), and never misses a change.
"""

from __future__ import annotations

from appliance.mount.names import ancestors

REMEMBERED = 4096


class Recent:
    """Changes of names, numbered. A change touches the file, the directory of the same name, and every directory above."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._count = 0
        self._floor = 0
        self._last: dict[tuple[str, str], int] = {}

    def mark(self) -> int:
        return self._count

    def touch(self, bucket: str, key: str) -> None:
        self._count += 1
        name = key.removesuffix("/")
        for touched in (name, name + "/", *ancestors(name)):
            # Re-inserted, so that the dict stays ordered by age.
            self._last.pop((bucket, touched), None)
            self._last[bucket, touched] = self._count
        while len(self._last) > self._remembered:
            oldest = next(iter(self._last))
            self._floor = self._last.pop(oldest)

    def touched(self, mark: int, bucket: str, key: str) -> bool:
        """True if `key` may have changed since `mark`."""
        return mark < self._floor or self._last.get((bucket, key), 0) > mark

    def statistics(self) -> dict[str, float]:
        return {"changes_total": self._count, "changes_remembered": len(self._last)}
