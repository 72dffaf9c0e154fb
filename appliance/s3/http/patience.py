"""How long a slow client may keep the server waiting: a bound on each wait, and a least rate over all waits of one body.

Only time spent waiting for the client counts; what backends and disks take is not the client's fault.
"""

from __future__ import annotations

from appliance.s3.settings import HttpSettings

# The last wait is never shorter, so that a client at the brink gets a chance to deliver.
_SHORTEST_WAIT_S = 0.001


class Patience:
    """For one body, in one direction: a bucket of seconds, full at first, emptied by waiting and filled again by bytes that move."""

    __slots__ = ("_full_s", "_left_s", "_seconds_per_byte", "_stall_s")

    def __init__(self, settings: HttpSettings) -> None:
        self._full_s = self._left_s = settings.grace_s
        self._stall_s = settings.stall_timeout_s
        self._seconds_per_byte = 1 / settings.minimum_bytes_per_s

    def wait_s(self) -> float:
        """The longest the next wait may take."""
        return max(_SHORTEST_WAIT_S, min(self._stall_s, self._left_s))

    def waited(self, seconds: float) -> None:
        self._left_s -= seconds

    def moved(self, size: int) -> None:
        self._left_s = min(self._full_s, self._left_s + size * self._seconds_per_byte)
