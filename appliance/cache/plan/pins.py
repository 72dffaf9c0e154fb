"""What must stay in the cache: single keys, prefixes (ending in "/"), whole buckets ("")."""

from __future__ import annotations

from collections.abc import Iterable


class Pins:
    """The pins of this node."""

    def __init__(self, pins: Iterable[tuple[str, str]] = ()) -> None:
        self._keys: set[tuple[str, str]] = set()
        self._prefixes: dict[str, set[str]] = {}
        for bucket, key in pins:
            self.add(bucket, key)

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, bucket: str, key: str) -> None:
        self._keys.add((bucket, key))
        if not key or key.endswith("/"):
            self._prefixes.setdefault(bucket, set()).add(key)

    def discard(self, bucket: str, key: str) -> None:
        self._keys.discard((bucket, key))
        self._prefixes.get(bucket, set()).discard(key)

    def cover(self, bucket: str, key: str) -> bool:
        """Whether bucket/key is pinned, by itself or by a prefix."""
        if (bucket, key) in self._keys:
            return True
        return any(key.startswith(prefix) for prefix in self._prefixes.get(bucket, ()))
