"""Requests to one upstream, as the writers of this package make them: simple ones, ones whose body streams, and completing an upload."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import trio

from appliance.model.errors import ApplianceError, BackendUnavailableError
from appliance.plugin import Chunk
from appliance_s3.answers import unquote_etag
from appliance_s3.failures import Where
from appliance_s3.feed import Feed
from appliance_s3.requests import EXTRA_HEADERS
from appliance_s3.upstream import Upstream

T = TypeVar("T")

CLEAN_UP_TIMEOUT_S = 30.0


async def close(chunks: AsyncIterator[Chunk]) -> None:
    """Release a body that may not have ended; generators want to be told."""
    if hasattr(chunks, "aclose"):
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CLEAN_UP_TIMEOUT_S):
            await chunks.aclose()


class Answer(dict[str, Any]):
    """An answer whose fields are there, or the upstream is no S3 service that one could work with."""

    def __missing__(self, field: str) -> Any:
        raise BackendUnavailableError(f"The upstream's answer lacks {field}; is it an S3 service?")


class Sender:
    """Makes requests to one upstream."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream

    async def call(
        self, where: Where, name: str, parameters: dict[str, Any], *, idempotent: bool = True
    ) -> dict[str, Any]:
        """The answer to boto3's operation `name`."""
        function = functools.partial(self.upstream.operation(name), **parameters)
        answer = await self.upstream.call(where, function, idempotent=idempotent)
        return Answer(answer)

    async def stream(
        self,
        where: Where,
        name: str,
        parameters: dict[str, Any],
        chunks: AsyncIterator[Chunk],
        start: bytearray,
    ) -> dict[str, Any]:
        """The answer to an operation whose body of `ContentLength` bytes is sent while its chunks arrive. Once only."""
        feed = Feed(parameters["ContentLength"])
        send = functools.partial(getattr(self.upstream.client, name), Body=feed, **parameters)
        return Answer(await self.send_feed(where, send, feed, chunks, start))

    async def send_feed(
        self,
        where: Where,
        send: Callable[[], T],
        feed: Feed,
        chunks: AsyncIterator[Chunk],
        start: bytearray,
    ) -> T:
        """What `send`, which reads `feed` in a thread, returns while `feed` is filled. Once only."""
        body_failure: Exception | None = None
        failure: Exception | None = None
        answers: list[T] = []

        async def fill() -> None:
            nonlocal body_failure
            try:
                await feed.fill(chunks, start)
            except Exception as error:  # noqa: BLE001  # raised again below, outside of the nursery
                body_failure = error

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fill)
            try:
                answers.append(await self.upstream.call(where, send, once=True, uploading=True))
            except Exception as error:  # noqa: BLE001  # the same
                failure = error
            nursery.cancel_scope.cancel()
        # A body that failed is why the request failed.
        if body_failure is not None:
            raise body_failure
        if failure is not None:
            raise failure
        self.upstream.counts["written_bytes"] += feed.size
        return answers[0]

    async def complete(
        self, where: Where, parameters: dict[str, Any], expected_etag: str
    ) -> dict[str, Any]:
        """The answer to CompleteMultipartUpload.

        A second one would fail if the first had succeeded and only its answer got lost; so after a failure that leaves this open, the
        object's ETag tells. Not with conditions: the same object could be another writer's.
        """
        try:
            return await self.call(where, "complete_multipart_upload", parameters, idempotent=False)
        except BackendUnavailableError:
            if EXTRA_HEADERS in parameters or not expected_etag:
                raise
            target = {name: parameters[name] for name in ("Bucket", "Key")}
            try:
                found = await self.call(where, "head_object", target)
            except ApplianceError:
                found = {}
            if unquote_etag(found.get("ETag", "")) != expected_etag:
                raise
            return found
