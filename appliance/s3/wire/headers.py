"""Request headers to values (conditions, ranges, copy sources), and objects to response headers.

Malformed conditions and ranges are ignored where RFC 9110 says so; those of copies, which are S3's own, are errors.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime

import msgspec

from appliance.model.errors import UnsupportedError
from appliance.model.objects import Conditions, ObjectInfo, part_count
from appliance.model.ranges import ByteRange, RangeSpec, parse_range_header
from appliance.s3.wire.errors import (
    InvalidArgumentValueError,
    InvalidPartNumberError,
)
from appliance.s3.wire.options import (
    METADATA_PREFIX,
    CopyDirectives,
    copy_directives,
    put_options,
    upload_options,
)
from appliance.s3.wire.request import parse_query
from appliance.s3.wire.response import Headers, header_text
from appliance.s3.wire.versions import made_headers, version_headers

__all__ = [
    "CopyDirectives",
    "CopySource",
    "conditions",
    "copy_conditions",
    "copy_directives",
    "copy_range",
    "copy_source",
    "copy_source_range",
    "format_http_date",
    "if_range_holds",
    "object_headers",
    "parse_http_date",
    "part_range",
    "put_options",
    "range_spec",
    "response_overrides",
    "shown_checksums",
    "upload_options",
    "written_headers",
]

# --- dates ------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=4096)
def format_http_date(unix_s: int) -> str:
    """IMF-fixdate, RFC 9110 section 5.6.7. Cached: popular objects are asked for again."""
    return formatdate(unix_s, usegmt=True)


def parse_http_date(value: str) -> int | None:
    """Seconds since the epoch of any of the three forms of RFC 9110 section 5.6.7; None if it is none."""
    try:
        parsed = parsedate_to_datetime(value)
        if parsed.tzinfo is None:
            parsed = parsed.replace(tzinfo=UTC)
        return int(parsed.timestamp())
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


# --- conditions ----------------------------------------------------------------------------------------

_ETAG = re.compile(r'\s*(?:W/)?("[^"]*"|[^",]+)\s*(?:,|\Z)')


def conditions(headers: Mapping[str, str]) -> Conditions:
    """If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since; dates that are none are ignored."""
    return _conditions(headers, "")


def copy_conditions(headers: Mapping[str, str]) -> Conditions:
    """x-amz-copy-source-if-*: what must hold for the source of a copy."""
    return _conditions(headers, "x-amz-copy-source-")


def _conditions(headers: Mapping[str, str], prefix: str) -> Conditions:
    return Conditions(
        if_match=_etags(headers.get(f"{prefix}if-match")),
        if_none_match=_etags(headers.get(f"{prefix}if-none-match")),
        if_modified_since_ns=_date_ns(headers.get(f"{prefix}if-modified-since")),
        if_unmodified_since_ns=_date_ns(headers.get(f"{prefix}if-unmodified-since")),
    )


def _etags(value: str | None) -> tuple[str, ...]:
    """ETags without quotes. S3's clients also send them without."""
    if value is None:
        return ()
    return tuple(match[1].strip().strip('"') for match in _ETAG.finditer(value))


def _date_ns(value: str | None) -> int | None:
    if value is None:
        return None
    unix_s = parse_http_date(value)
    return None if unix_s is None else unix_s * 10**9


# --- ranges and parts -------------------------------------------------------------------------------------

_COPY_RANGE = re.compile(r"bytes=(\d{1,19})-(\d{1,19})\Z", re.ASCII)


def range_spec(headers: Mapping[str, str]) -> RangeSpec | None:
    """The `Range` header; None where there is none or it is to be ignored."""
    value = headers.get("range")
    return None if value is None else parse_range_header(value)


def if_range_holds(headers: Mapping[str, str], info: ObjectInfo) -> bool:
    """False where If-Range names another version than `info`: the range is then ignored (RFC 9110 section 13.1.5)."""
    value = headers.get("if-range")
    if value is None:
        return True
    if value.startswith(("W/", '"')):
        return value == f'"{info.etag}"'
    unix_s = parse_http_date(value)
    return unix_s == info.modified_ns // 10**9 if unix_s is not None else value == info.etag


def copy_source_range(headers: Mapping[str, str]) -> RangeSpec | None:
    """x-amz-copy-source-range of UploadPartCopy. Raises InvalidArgumentValueError unless it is `bytes=first-last`."""
    value = headers.get("x-amz-copy-source-range")
    if value is None:
        return None
    match = _COPY_RANGE.match(value)
    if match is None or int(match[1]) > int(match[2]):
        raise InvalidArgumentValueError(
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based "
            "offsets of the first and last bytes to copy",
            "x-amz-copy-source-range",
            value,
        )
    return RangeSpec(int(match[1]), int(match[2]))


def copy_range(spec: RangeSpec, size: int) -> ByteRange:
    """A copy's range of a source of `size` bytes: all of it must exist. Raises InvalidArgumentValueError."""
    if spec.first is None or spec.last is None or spec.last >= size:
        raise InvalidArgumentValueError(
            f"Range specified is not valid for source object of size: {size}",
            "x-amz-copy-source-range",
            f"bytes={spec.first}-{spec.last}",
        )
    return ByteRange(spec.first, spec.last - spec.first + 1)


def part_range(info: ObjectInfo, part_number: int) -> ByteRange:
    """Where part `part_number` (from 1) lies; an object that was not uploaded in parts is its own part 1.

    Raises InvalidPartNumberError, UnsupportedError (its backend keeps no sizes of parts: ask that, see `Backend.part`).
    """
    count = part_count(info) or 1
    if part_number > count:
        raise InvalidPartNumberError(
            extra={"PartNumberRequested": str(part_number), "ActualPartCount": str(count)}
        )
    sizes = info.part_sizes or (info.size,)
    if count > len(sizes):
        raise UnsupportedError("Where the parts of this object lie is not known here.")
    return ByteRange(sum(sizes[: part_number - 1]), sizes[part_number - 1])


# --- copy sources ---------------------------------------------------------------------------------------------


class CopySource(msgspec.Struct, frozen=True):
    """Where a copy reads. `version_id` as the client gave it, "" if not."""

    bucket: str
    key: str
    version_id: str = ""


def copy_source(headers: Mapping[str, str]) -> CopySource:
    """x-amz-copy-source: `[/]bucket/key[?versionId=...]`, percent-encoded; a "+" in it is a space, unlike in paths.

    Raises InvalidArgumentValueError.
    """
    value = headers.get("x-amz-copy-source", "")
    path, _, query = value.encode("latin-1", "replace").partition(b"?")
    # `parse_query` decodes a value as S3 does here; the dummy name only carries it.
    # Some clients encode the slashes too, so the path is split after decoding.
    decoded = parse_query(b"path=" + path.replace(b"&", b"%26")).get("path", "")
    bucket, _, key = decoded.removeprefix("/").partition("/")
    if not bucket or not key:
        raise InvalidArgumentValueError(
            "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
            "x-amz-copy-source",
            value,
        )
    return CopySource(bucket, key, parse_query(query).get("versionId", ""))


# --- responses ----------------------------------------------------------------------------------------------------

_OVERRIDES = {
    "response-cache-control": "Cache-Control",
    "response-content-disposition": "Content-Disposition",
    "response-content-encoding": "Content-Encoding",
    "response-content-language": "Content-Language",
    "response-content-type": "Content-Type",
    "response-expires": "Expires",
}
_SPELLING = {
    "cache-control": "Cache-Control",
    "content-disposition": "Content-Disposition",
    "content-encoding": "Content-Encoding",
    "content-language": "Content-Language",
    "expires": "Expires",
}
DEFAULT_CONTENT_TYPE = "binary/octet-stream"
_NO_OVERRIDES: dict[str, str] = {}


def response_overrides(query: Mapping[str, str]) -> dict[str, str]:
    """`response-content-type=...` and its kin, by the header they set. For signed requests only."""
    if not query:
        return _NO_OVERRIDES
    return {_OVERRIDES[name]: value for name, value in query.items() if name in _OVERRIDES}


def object_headers(
    info: ObjectInfo,
    *,
    range: ByteRange | None = None,  # noqa: A002  # the field's word
    checksums: bool = False,
    part_number: int | None = None,
    overrides: Mapping[str, str] = _NO_OVERRIDES,
) -> Headers:
    """Headers of GetObject and HeadObject (206 where `range` is given), Content-Length among them.

    `checksums`: x-amz-checksum-mode is ENABLED. `part_number`: the client asked for that part, `range` is where it lies.
    """
    headers: Headers = [
        ("Last-Modified", format_http_date(info.modified_ns // 10**9)),
        ("ETag", f'"{info.etag}"'),
        ("Accept-Ranges", "bytes"),
    ]
    headers += version_headers(info.version_id)
    _add_kept(headers, info)
    if range is None:
        headers.append(("Content-Length", str(info.size)))
    else:
        headers.append(("Content-Length", str(range.length)))
        headers.append(("Content-Range", f"bytes {range.offset}-{range.end - 1}/{info.size}"))
    if info.tag_count:
        headers.append(("x-amz-tagging-count", str(info.tag_count)))
    if part_number is not None and (count := part_count(info)):
        headers.append(("x-amz-mp-parts-count", str(count)))
    if checksums:
        headers += _checksum_headers(info, range, part_number)
    if overrides:
        headers = [pair for pair in headers if pair[0] not in overrides]
        headers += [(name, header_text(value)) for name, value in overrides.items()]
    return headers


def _add_kept(headers: Headers, info: ObjectInfo) -> None:
    """What the writer said: system headers, Content-Type always, and metadata."""
    content_type = DEFAULT_CONTENT_TYPE
    for name, value in info.headers.items():
        if name == "content-type":
            content_type = header_text(value)
        else:
            headers.append((_SPELLING.get(name, name), header_text(value)))
    headers.append(("Content-Type", content_type))
    for name, value in info.metadata.items():
        headers.append((METADATA_PREFIX + header_text(name), header_text(value)))


def written_headers(info: ObjectInfo) -> Headers:
    """What PutObject answers: ETag, version id and the checksums that are kept."""
    return [
        ("ETag", f'"{info.etag}"'),
        *made_headers(info.version_id),
        *_checksum_headers(info, None, None),
    ]


def shown_checksums(info: ObjectInfo) -> dict[str, str]:
    """Checksums as clients see them: a composite one carries the number of parts."""
    if info.checksum_type != "COMPOSITE":
        return info.checksums
    count = part_count(info)
    if not count:
        return info.checksums
    return {name: f"{value}-{count}" for name, value in info.checksums.items()}


def _checksum_headers(
    info: ObjectInfo, asked: ByteRange | None, part_number: int | None
) -> Headers:
    """Of the whole object, or of the part asked for; a range of bytes has none."""
    if part_number is not None and part_count(info):
        parts = info.part_checksums
        values = parts[part_number - 1] if part_number <= len(parts) else {}
    elif asked is None or asked.length == info.size:
        values = shown_checksums(info)
    else:
        return []
    headers = [(f"x-amz-checksum-{name}", value) for name, value in values.items()]
    if headers:
        headers.append(("x-amz-checksum-type", info.checksum_type))
    return headers
