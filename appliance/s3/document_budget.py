"""How much memory the documents of requests may take while they arrive: on the node, and half of that for one account.

A document is read whole before it is understood, and a slow client takes its time; so without a bound many connections hold much memory.
Who finds no room is answered 503 SlowDown at once, as waiting would hold a connection. Small documents always have room: connections are
bounded themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from appliance.s3.throttle import ThrottledError

SMALL_BYTES = 64 << 10


class DocumentBudget:
    """`node_bytes` for all large documents at once."""

    def __init__(self, node_bytes: int) -> None:
        self._node_bytes = node_bytes
        self._taken: Counter[str] = Counter()
        self._refused = 0

    @contextmanager
    def room(self, account_id: str, size_bytes: int) -> Iterator[None]:
        """For as long as a document of this size arrives. Raises ThrottledError."""
        if size_bytes <= SMALL_BYTES:
            yield
            return
        whose = self._short_of(account_id, size_bytes)
        if whose:
            self._refused += 1
            raise ThrottledError(
                f"Please reduce your request rate: too many large documents at once of this {whose}."
            )
        self._taken[account_id] += size_bytes
        try:
            yield
        finally:
            self._taken[account_id] -= size_bytes
            if not self._taken[account_id]:
                del self._taken[account_id]

    def statistics(self) -> dict[str, float]:
        return {
            "document_bytes": self._taken.total(),
            "documents_refused_total": self._refused,
        }

    def _short_of(self, account_id: str, size_bytes: int) -> str:
        if self._taken[account_id] + size_bytes > self._node_bytes // 2:
            return "account"
        if self._taken.total() + size_bytes > self._node_bytes:
            return "node"
        return ""
