"""One answer to GetObject: what it is about, and its body, piece by piece. Blocking, for worker threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.exceptions import IncompleteReadError

from appliance_s3.answers import answered_range, object_info
from appliance_s3.bodies import Body, BotoBody, FastBody

CHUNK_BYTES = 1 << 20


class Answer:
    """`chunks`: all of the body, if it was small; else it is still on the wire."""

    def __init__(self, key: str, response: dict[str, Any], whole_bytes: int) -> None:
        self.info = object_info(key, response)
        self.range = answered_range(response)
        self.chunks: list[bytes] | None = None
        body = response["Body"]
        self._body: Body = body if isinstance(body, FastBody) else BotoBody(body, self.range.length)
        if self.range.length <= whole_bytes:
            self.chunks = self._read_all()

    def _read_all(self) -> list[bytes]:
        chunks = []
        left = self.range.length
        while left:
            chunks.append(self.next_chunk(left))
            left -= len(chunks[-1])
        return chunks

    def next_chunk(self, left: int) -> bytes:
        """Up to `CHUNK_BYTES` of the `left` bytes of the body that are still to come."""
        buffer = bytearray(min(left, CHUNK_BYTES))
        count = self.next_into(memoryview(buffer), left)
        return bytes(buffer if count == len(buffer) else buffer[:count])

    def next_into(self, buffer: memoryview, left: int) -> int:
        """As `next_chunk`, into `buffer`: how many bytes, at least one."""
        count = self._body.readinto(buffer[:left])
        if not count:
            raise IncompleteReadError(actual_bytes=self.range.length - left, expected_bytes=left)
        return count

    def interrupt(self) -> None:
        """Make a read that is under way in a thread return."""
        self._body.interrupt()

    def discard(self) -> None:
        """Close what is left of the answer, and its connection; no thread may be reading."""
        self._body.close()


def get(
    get_object: Callable[..., dict[str, Any]],
    key: str,
    parameters: dict[str, Any],
    whole_bytes: int,
) -> Answer:
    """Ask, and wait for the head of the answer; for its body too, if it has at most `whole_bytes`."""
    return Answer(key, get_object(**parameters), whole_bytes)
