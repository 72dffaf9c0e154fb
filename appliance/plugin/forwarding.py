"""S3 requests that the appliance need not understand, and their answers: passed to a backend that is an S3 service itself.

Whoever passes one has authenticated and authorised its sender; the backend sends it on with its own credentials. Names in it are the
user's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator

import msgspec

from appliance.plugin.body import Body, BytesBody


class ForwardRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`key` "" for a bucket's own. `query` is decoded and holds nothing about signatures; nor do `headers`, whose names are lower-case
    and whose values hold bytes as latin-1. `body` has a size.
    """

    method: str
    bucket: str
    key: str = ""
    query: tuple[tuple[str, str], ...] = ()
    headers: dict[str, str] = {}
    body: Body = msgspec.field(default_factory=lambda: BytesBody(b""))


class ForwardAnswer(ABC):
    """What the upstream answered. Headers that are about the connection are not among `headers`, nor is Content-Length: `size` is None
    where the upstream did not say.
    """

    status: int
    headers: list[tuple[str, str]]
    size: int | None

    @abstractmethod
    def __aiter__(self) -> AsyncIterator[bytes]:
        """The body, in chunks of at most about 1 MiB; once. Raises BackendUnavailableError rather than end early."""

    async def read(self) -> bytes:
        """All of a small body."""
        return b"".join([chunk async for chunk in self])
