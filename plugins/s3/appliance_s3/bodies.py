"""Bodies of answers to GetObject as `reading` takes them, from our own connections or from boto3. Blocking, for worker threads.

Errors are those that boto3 raises.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import Any, Protocol

import botocore.exceptions as boto

from appliance.model.checksums import encode, new_hasher
from appliance_s3 import http

# Errors of `http`, most special first, as botocore's HTTP session names them.
_LOST: tuple[tuple[type[Exception], type[Any]], ...] = (
    (ssl.SSLError, boto.SSLError),
    (http.ConnectTimeoutError, boto.ConnectTimeoutError),
    (http.NotConnectedError, boto.EndpointConnectionError),
    (TimeoutError, boto.ReadTimeoutError),
    (OSError, boto.ConnectionClosedError),
)


def as_boto(error: Exception, host: str) -> Exception:
    """What boto3 would raise for an error of `http`."""
    for kind, named in _LOST:
        if isinstance(error, kind):
            return named(endpoint_url=host, error=error)  # type: ignore[no-any-return]  # one of boto3's
    return boto.HTTPClientError(error=error)


class Body(Protocol):
    """The rest of an answer. Not for use by two threads at once, but for `interrupt`."""

    def readinto(self, buffer: memoryview) -> int:
        """Read into `buffer`, most often all of it; 0 where the body has ended.

        At its end length and checksum are compared, and the connection is free for others.
        """
        ...

    def interrupt(self) -> None:
        """Make a read that is under way in another thread fail."""
        ...

    def close(self) -> None:
        """Drop what is left, and its connection."""
        ...


class FastBody:
    """Of an answer on one of our own connections. `expected`: the name and base64 value of a checksum of all of it."""

    def __init__(self, answer: http.Answer, host: str, expected: tuple[str, str] | None) -> None:
        self._answer = answer
        self._host = host
        self._expected = expected
        self._hasher = new_hasher(expected[0]) if expected else None
        self._left = answer.length

    def readinto(self, buffer: memoryview) -> int:
        try:
            count = self._answer.readinto(buffer)
        except (OSError, http.AnswerError) as error:
            raise as_boto(error, self._host) from error
        if self._hasher is not None and self._expected is not None:
            self._hasher.update(buffer[:count])
            if self._left is not None:
                self._left -= count
            if self._left == 0 or (self._left is None and count < len(buffer)):
                self._compare(self._expected, encode(self._hasher.digest()))
        return count

    def _compare(self, expected: tuple[str, str], actual: str) -> None:
        self._hasher = None
        if actual != expected[1]:
            raise boto.FlexibleChecksumError(
                error_msg=f"Expected {expected[0]} {expected[1]}, got {actual}."
            )

    def interrupt(self) -> None:
        self._answer.interrupt()

    def close(self) -> None:
        self._answer.close()


class BotoBody:
    """Of an answer to boto3 itself, which compares length and checksum when it is read to its end."""

    def __init__(self, body: Any, length: int) -> None:
        self._body = body
        self._left = length

    def readinto(self, buffer: memoryview) -> int:
        piece = self._body.read(min(len(buffer), self._left))
        buffer[: len(piece)] = piece
        self._left -= len(piece)
        if not self._left:
            self._body.read(1)
        return len(piece)

    def interrupt(self) -> None:
        with contextlib.suppress(Exception):
            self._body._raw_stream.shutdown()  # noqa: SLF001  # botocore's body has no way to interrupt a read

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._body.close()
