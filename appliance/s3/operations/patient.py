"""Operations that may take minutes (a completion that must copy parts, a copy of a large object), answered as S3 answers them.

An operation that ends within `settings.patient_after_s` gets a plain answer. One that takes longer is answered 200 at once, white space
follows now and then so that neither client nor proxy gives up, and then the document: the result, or an error (SDKs look for one there).
https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html

The work runs beside its connection and goes on when the client leaves: it was asked for, and asking again finds it done.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import trio

from appliance.model.errors import ApplianceError
from appliance.s3.http.response import Response, render_fields
from appliance.s3.operations.call import Call, xml
from appliance.s3.wire.errors import error_document
from appliance.s3.wire.response import XML, Headers

logger = logging.getLogger(__name__)

PROLOG = b'<?xml version="1.0" encoding="UTF-8"?>\n'


class _Work:
    """A document in the making."""

    def __init__(self, make: Callable[[], Awaitable[bytes]]) -> None:
        self._make = make
        self._document = b""
        self._error: Exception | None = None
        self.ended = trio.Event()

    async def run(self) -> None:
        try:
            self._document = await self._make()
        except Exception as error:  # noqa: BLE001  # `document` raises it where someone answers
            self._error = error
        self.ended.set()

    def document(self) -> bytes:
        if self._error is not None:
            raise self._error
        return self._document


async def patiently(
    call: Call, make: Callable[[], Awaitable[bytes]], headers: Headers | None = None
) -> Response:
    """Answer with the document that `make` returns, and `headers` as `make` left them, if it ends soon. Raises what it raises, if so."""
    work = _Work(make)
    call.context.spawn(work.run)
    interval_s = call.context.settings.patient_after_s
    with trio.move_on_after(interval_s):
        await work.ended.wait()
    if work.ended.is_set():
        return xml(work.document(), headers)
    return Response(200, render_fields([XML]), _in_pieces(call, work, interval_s))


async def _in_pieces(call: Call, work: _Work, interval_s: float) -> AsyncIterator[bytes]:
    yield PROLOG
    while not work.ended.is_set():
        yield b" "
        with trio.move_on_after(interval_s):
            await work.ended.wait()
    try:
        document = work.document()
    except Exception as error:  # every error is an answer
        level = logging.WARNING if isinstance(error, ApplianceError) else logging.ERROR
        logger.log(level, "request %s failed after its 200", call.request_id, exc_info=error)
        document = error_document(
            error,
            resource=call.request.resource,
            request_id=call.request_id,
            host_id=call.context.host_id,
        )
    yield document.removeprefix(PROLOG)
