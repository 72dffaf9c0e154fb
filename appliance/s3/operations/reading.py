"""GetObject and HeadObject: the hot path.

A small object that is cached and in the page cache is answered without a single wait: the reader, the conditions, the bytes (one `preadv`)
and the head of the response are all at hand. Everything else waits where it must, and always for its first bytes before the head is sent,
so that a backend that is gone is an error and not a cut connection.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

from appliance.cache.api import Reader
from appliance.model.names import check_bucket_name, check_key
from appliance.model.objects import ObjectInfo
from appliance.model.ranges import ByteRange
from appliance.plugin import Chunk
from appliance.s3.http.errors import TruncatedFileError
from appliance.s3.http.files import read_nowait
from appliance.s3.http.response import Response, Sink, render_fields
from appliance.s3.operations.call import Call
from appliance.s3.wire import headers as fields
from appliance.s3.wire.errors import InvalidRequestError
from appliance.s3.wire.listing import part_number
from appliance.s3.wire.response import Headers

# Up to this size a body is joined with its head and sent in one go; copying it costs less than a second system call.
JOINED_BYTES_MAX = 64 << 10
_scratch = memoryview(bytearray(JOINED_BYTES_MAX))

# Rendered header lines of whole objects, without and with checksums, by identity of their ObjectInfo (which the value keeps alive).
_RENDERED_MAX = 8192
_rendered: tuple[dict[int, tuple[ObjectInfo, bytes]], ...] = ({}, {})

_CONDITIONS = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since")
_STALE = b"x-appliance-stale: possible\r\n"
# Reader.source -> X-Cache.
_FROM = dict.fromkeys(("miss", "direct"), b"X-Cache: MISS\r\n")
_HIT = b"X-Cache: HIT\r\n"


async def get_object(call: Call) -> Response:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html."""
    call.check_version()
    reader = call.cache.open_nowait(call.bucket, call.key)
    if reader is None:
        check_bucket_name(call.bucket)
        check_key(call.key)
        reader = await call.cache.open(call.bucket, call.key)
    try:
        return await _respond(call, reader)
    except BaseException:
        reader.close()
        raise


async def head_object(call: Call) -> Response:
    """As GetObject, without opening anything."""
    call.check_version()
    info = call.cache.head_nowait(call.bucket, call.key)
    if info is None:
        check_bucket_name(call.bucket)
        check_key(call.key)
        info = await call.cache.head(call.bucket, call.key)
    status, lines, wanted = _describe(call, info)
    return Response(status, lines, content_length=wanted.length)


async def _respond(call: Call, reader: Reader) -> Response:
    """The response now owns the reader, or it is closed."""
    status, lines, wanted = _describe(call, reader.info)
    lines += _FROM.get(reader.source, _HIT)
    if reader.stale:
        lines += _STALE
    offset, length = wanted.offset, wanted.length
    if length > JOINED_BYTES_MAX:
        body = ReaderBody(reader, offset, length)
        await body.begin()
        return Response(status, lines, body)
    if not length:
        data = b""
    elif (
        reader.fd >= 0
        and reader.available_nowait(offset, length) >= length
        and read_nowait(reader.fd, _scratch[:length], offset)
    ):
        data = bytes(_scratch[:length])
    else:
        data = await reader.read(offset, length)
        if len(data) != length:
            raise TruncatedFileError
    reader.close()
    return Response(status, lines, data)


def _describe(call: Call, info: ObjectInfo) -> tuple[int, bytes, ByteRange]:
    """Status, header lines and bytes wanted. Raises NotModifiedError, PreconditionFailedError, InvalidRangeError, ..."""
    headers, query = call.headers, call.query
    if any(name in headers for name in _CONDITIONS):
        fields.conditions(headers).check_read(info)
    checksums = headers.get("x-amz-checksum-mode", "").upper() == "ENABLED"
    overrides = fields.response_overrides(query) if query else {}
    number = part_number(query) if query else None
    spec = fields.range_spec(headers) if "range" in headers else None
    if spec is not None and not fields.if_range_holds(headers, info):
        spec = None
    if spec is None and number is None and not overrides:
        return 200, _rendered_lines(info, checksums=checksums), ByteRange(0, info.size)
    wanted = None
    if number is not None:
        if spec is not None:
            raise InvalidRequestError(
                "Cannot specify both Range header and partNumber query parameter"
            )
        wanted = fields.part_range(info, number)
    elif spec is not None:
        wanted = spec.resolve(info.size)
    lines = _lines(
        fields.object_headers(
            info,
            range=wanted,
            checksums=checksums,
            part_number=number,
            overrides=overrides,
        )
    )
    if wanted is None:
        return 200, lines, ByteRange(0, info.size)
    return 206, lines, wanted


def _rendered_lines(info: ObjectInfo, *, checksums: bool) -> bytes:
    rendered = _rendered[checksums]
    known = rendered.get(id(info))
    if known is not None and known[0] is info:
        return known[1]
    lines = _lines(fields.object_headers(info, checksums=checksums))
    if len(rendered) >= _RENDERED_MAX:
        rendered.clear()
    rendered[id(info)] = (info, lines)
    return lines


def _lines(headers: Headers) -> bytes:
    """Content-Length is the engine's to add."""
    return render_fields([field for field in headers if field[0].lower() != "content-length"])


class ReaderBody:
    """Bytes of a reader as the body of a response. Owns the reader."""

    def __init__(self, reader: Reader, offset: int, length: int) -> None:
        self.size = length
        self._reader = reader
        self._offset = offset
        self._stream: AsyncIterator[Chunk] | None = None
        self._first: Chunk = b""

    async def begin(self) -> None:
        """Wait for the first bytes. Raises what the reader raises."""
        reader = self._reader
        if reader.fd >= 0:
            if not reader.available_nowait(self._offset, self.size):
                await reader.available(self._offset, self.size)
        else:
            self._stream = aiter(reader.stream(self._offset, self.size))
            self._first = await anext(self._stream)

    async def send_to(self, sink: Sink) -> None:
        if self._stream is not None:
            await sink.send(self._first)
            async for chunk in self._stream:
                await sink.send(chunk)
            return
        reader, offset = self._reader, self._offset
        end = offset + self.size
        while offset < end:
            count = reader.available_nowait(offset, end - offset)
            if not count:
                count = await reader.available(offset, end - offset)
            await sink.send_file(reader.fd, offset, count)
            offset += count

    async def aclose(self) -> None:
        stream, self._stream = self._stream, None
        try:
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()
        finally:
            self._reader.close()
