"""Connections that wait for their next request: which has waited longest, and when it has waited long enough.

All wait equally long, so the order of arrival is the order of deadlines: entering and leaving is one dictionary operation a request, with
no timer set or cancelled, and one task watches the oldest.
"""

from __future__ import annotations

import trio


class IdleConnections:
    """Holds the cancel scopes of idle connections."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._deadlines: dict[trio.CancelScope, float] = {}
        self._nonempty = trio.Event()

    def __len__(self) -> int:
        return len(self._deadlines)

    def enter(self, scope: trio.CancelScope) -> None:
        """Idle from now on; also for one that was idle already."""
        self._deadlines.pop(scope, None)
        if not self._deadlines:
            self._nonempty.set()
        self._deadlines[scope] = trio.current_time() + self._timeout_s

    def leave(self, scope: trio.CancelScope) -> None:
        """Also right for one that was closed meanwhile."""
        self._deadlines.pop(scope, None)

    def close_longest(self) -> bool:
        """Make room: close the connection that has been idle longest; False if none is idle."""
        for scope in self._deadlines:
            del self._deadlines[scope]
            scope.cancel()
            return True
        return False

    def close_all(self) -> None:
        while self.close_longest():
            pass

    async def watch(self) -> None:
        """Close what has been idle too long, for ever."""
        while True:
            if not self._deadlines:
                self._nonempty = trio.Event()
                await self._nonempty.wait()
            first = next(iter(self._deadlines.values()), None)
            if first is None:
                continue
            await trio.sleep_until(first)
            self._close_due()

    def _close_due(self) -> None:
        now = trio.current_time()
        while self._deadlines and next(iter(self._deadlines.values())) <= now:
            self.close_longest()
