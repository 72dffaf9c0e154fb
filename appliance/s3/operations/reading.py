"""GetObject and HeadObject: the hot path.

A small object that is cached and in the page cache is answered without a single wait: the reader, the conditions, the bytes (one `preadv`)
and the head of the response are all at hand. Everything else waits where it must, and always for its first bytes before the head is sent,
so that a backend that is gone is an error and not a cut connection.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

from appliance.cache.api import Reader
from appliance.model.names import check_bucket_name, check_key
from appliance.model.objects import ObjectInfo, part_count
from appliance.model.ranges import ByteRange, RangeSpec
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

_STALE = b"x-appliance-stale: possible\r\n"
# Reader.source -> X-Cache.
_FROM = dict.fromkeys(("miss", "direct"), b"X-Cache: MISS\r\n")
_HIT = b"X-Cache: HIT\r\n"
_CONDITIONS = frozenset({"if-match", "if-none-match", "if-modified-since", "if-unmodified-since"})
# A request without these, and without a query, wants the whole object and its plain headers.
_SPECIAL = _CONDITIONS | {"range", "x-amz-checksum-mode"}


def get_object_nowait(call: Call) -> Response | None:
    """GetObject if it can be answered without waiting for anything. Raises as `get_object`."""
    if call.query and call.version_id:
        return None
    reader = call.cache.open_nowait(call.bucket, call.key)
    if reader is None:
        return None
    response = None
    try:
        call.check_object(reader.info)
        if _unknown_part(call, reader.info):
            return None
        status, lines, wanted = _describe(call, reader.info)
        body = _bytes_nowait(reader, wanted)
        if body is not None:
            response = Response(status, lines + _reader_lines(reader), body)
    finally:
        if response is None or not isinstance(response.body, ReaderBody):
            reader.close()
    return response


async def get_object(call: Call) -> Response:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html."""
    check_bucket_name(call.bucket)
    check_key(call.key)
    reader = await call.cache.open(call.bucket, call.key, version_id=call.version_id)
    try:
        call.check_object(reader.info)
        status, lines, wanted = await _describe_part(call, reader.info)
        body = await _bytes(reader, wanted)
    except BaseException:
        reader.close()
        raise
    if not isinstance(body, ReaderBody):
        reader.close()
    return Response(status, lines + _reader_lines(reader), body)


def head_object_nowait(call: Call) -> Response | None:
    """HeadObject if the cache may tell at once."""
    if call.query and call.version_id:
        return None
    info = call.cache.head_nowait(call.bucket, call.key)
    if info is None:
        return None
    call.check_object(info)
    if _unknown_part(call, info):
        return None
    return _head(_describe(call, info))


async def head_object(call: Call) -> Response:
    """As GetObject, without opening anything."""
    check_bucket_name(call.bucket)
    check_key(call.key)
    info = await call.cache.head(call.bucket, call.key, version_id=call.version_id)
    call.check_object(info)
    return _head(await _describe_part(call, info))


def _head(described: tuple[int, bytes, ByteRange]) -> Response:
    status, lines, wanted = described
    return Response(status, lines, content_length=wanted.length)


def _reader_lines(reader: Reader) -> bytes:
    lines = _FROM.get(reader.source, _HIT)
    return lines + _STALE if reader.stale else lines


def _bytes_nowait(reader: Reader, wanted: ByteRange) -> bytes | ReaderBody | None:
    """The body if its bytes, or the first of a large one, are here. A `ReaderBody` owns the reader then."""
    offset, length = wanted.offset, wanted.length
    if not length:
        return b""
    if reader.fd < 0:
        return None
    available = reader.available_nowait(offset, length)
    if length > JOINED_BYTES_MAX:
        return ReaderBody(reader, offset, length) if available else None
    if available < length:
        return None
    buffer = _scratch[:length]
    return bytes(buffer) if read_nowait(reader.fd, buffer, offset) else None


async def _bytes(reader: Reader, wanted: ByteRange) -> bytes | ReaderBody:
    """The body, as soon as its first bytes are here."""
    body = _bytes_nowait(reader, wanted)
    if body is not None:
        return body
    if wanted.length > JOINED_BYTES_MAX:
        source = ReaderBody(reader, wanted.offset, wanted.length)
        await source.begin()
        return source
    data = await reader.read(wanted.offset, wanted.length)
    if len(data) != wanted.length:
        raise TruncatedFileError
    return data


def _unknown_part(call: Call, info: ObjectInfo) -> int:
    """The number of a part that is asked for, if only the backend can tell where it lies; else 0."""
    if not call.query or info.part_sizes:
        return 0
    number = part_number(call.query) or 0
    return number if 1 < part_count(info) >= number else 0


async def _describe_part(call: Call, info: ObjectInfo) -> tuple[int, bytes, ByteRange]:
    """`_describe`, having asked the backend where the part lies."""
    number = _unknown_part(call, info)
    if not number:
        return _describe(call, info)
    part = await call.cache.part(
        call.bucket, call.key, number, version=info.version, version_id=call.version_id
    )
    return _describe(call, info, part.range)


def _describe(
    call: Call, info: ObjectInfo, part: ByteRange | None = None
) -> tuple[int, bytes, ByteRange]:
    """Status, header lines and bytes wanted. Raises NotModifiedError, PreconditionFailedError, InvalidRangeError, ...

    `part` is where the part lies that is asked for, if `info` does not tell.
    """
    headers, query = call.headers, call.query
    if not query and _SPECIAL.isdisjoint(headers):
        return 200, _rendered_lines(info, checksums=False), ByteRange(0, info.size)
    if not _CONDITIONS.isdisjoint(headers):
        fields.conditions(headers).check_read(info)
    checksums = headers.get("x-amz-checksum-mode", "").upper() == "ENABLED"
    overrides = fields.response_overrides(query) if query else {}
    number = part_number(query) if query else None
    spec = fields.range_spec(headers) if "range" in headers else None
    if spec is not None and not fields.if_range_holds(headers, info):
        spec = None
    if spec is None and number is None and not overrides:
        return 200, _rendered_lines(info, checksums=checksums), ByteRange(0, info.size)
    wanted = spec.resolve(info.size) if spec is not None and number is None else None
    if number is not None:
        wanted = _part_asked(info, number, spec, part)
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


def _part_asked(
    info: ObjectInfo, number: int, spec: RangeSpec | None, part: ByteRange | None
) -> ByteRange:
    """Where a part lies. Raises InvalidPartNumberError, InvalidRequestError."""
    if spec is not None:
        raise InvalidRequestError("Cannot specify both Range header and partNumber query parameter")
    return part or fields.part_range(info, number)


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
