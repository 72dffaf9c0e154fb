"""Bytes that a backend's thread writes straight into the data file (`ObjectStream.drain`): a hop between threads a fetch, not two a MiB.

    thread      writes a piece, notes the CRCs of its blocks, tells the event loop, and goes on unless all that is wanted has come
    event loop  counts the piece as landed and wakes who waits, in the order in which the thread told

The thread looks at the fetch while the event loop may change it: `end` only shrinks and `wanted_end` only grows, so at worst a piece too
many is written (of the same version), or the thread comes back too early and is sent again.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from appliance.cache.entry import Entry, Fetch
from appliance.cache.store import Store


class Landing:
    """Writes one fetch's bytes. `landed(count, ended blocks, CRC of the begun one)` is called in the event loop."""

    def __init__(
        self,
        store: Store,
        entry: Entry,
        fetch: Fetch,
        landed: Callable[[int, list[tuple[int, int]], int], None],
    ) -> None:
        self._store = store
        self._entry = entry
        self._fetch = fetch
        self._landed = landed
        self._position = fetch.landed
        self._crc = 0
        self._token = trio.lowlevel.current_trio_token()
        self.error: OSError | None = None

    def write(self, piece: memoryview) -> bool:
        """For `ObjectStream.drain`."""
        piece = piece[: max(0, self._fetch.end - self._position)]
        try:
            ended, self._crc = self._store.write(self._entry.fd, self._position, piece, self._crc)
        except OSError as error:
            self.error = error
            return False
        self._position += len(piece)
        self._token.run_sync_soon(self._landed, len(piece), ended, self._crc)
        return not self._entry.lost_disk and self._fetch.wants_after(self._position)
