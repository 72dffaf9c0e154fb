"""From a request line and headers to `S3Request`: which bucket, which key, which operation. Nothing is looked up, nothing is authorised.

Rules of S3 that differ from most HTTP servers: the path is never normalised (`..`, `.` and empty segments are parts of keys), a `+` in the
path is a plus, and a key may hold any bytes. Query parameters keep their order and blank values; unknown ones are ignored.

Header values hold bytes as latin-1. Repeated headers are joined by "," in order of arrival, which is what RFC 9110 section 5.3 says and
what SigV4 signs.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from urllib.parse import unquote_to_bytes

import msgspec

from appliance.model.errors import InvalidBucketNameError
from appliance.model.names import key_text
from appliance.s3.wire.errors import (
    HeadersTooLargeError,
    InvalidArgumentValueError,
    InvalidHeaderError,
    InvalidUriError,
    UriTooLongError,
)
from appliance.s3.wire.operations import Level, Operation, find_operation

TARGET_BYTES_MAX = 16 * 1024  # presigned URLs carry all headers and response-* overrides
HEADERS_MAX = 128
# S3 allows 8 KB of headers in all, but policies, tokens and metadata come near it: leave room, and stay bounded.
HEADER_BYTES_MAX = 32 * 1024
_ABSOLUTE = re.compile(rb"https?://([^/?]+)(.*)\Z", re.IGNORECASE | re.DOTALL)
# Parameters of presigned requests that are about the signature.
_PRESIGNED = frozenset(
    f"x-amz-{name}"
    for name in ("algorithm", "credential", "date", "expires", "signature", "signedheaders")
)
# None of these may occur in a request target; signatures are over text with line feeds.
_CONTROL = re.compile(rb"[\x00-\x20\x7f]")
# Twice one of these could mean two things to two readers of the same bytes (request smuggling, signature confusion).
_SINGLE = frozenset(
    {"host", "content-length", "authorization", "content-md5", "x-amz-date", "x-amz-content-sha256"}
)


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it came over the wire, its body aside. `target` is raw; `headers` come from `fold_headers`; `peer` is an address."""

    method: str
    target: bytes
    headers: Mapping[str, str]
    peer: str = ""
    tls: bool = False


class S3Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a request asks for. `bucket` is "" for the service itself, `key` is "" for a bucket. `query` is decoded, first value wins.

    `headers` are the request's, and for a presigned request the x-amz-* parameters of its query, which S3 takes for headers. Signatures
    are over `request.headers`.
    """

    operation: Operation
    bucket: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    request: Request
    virtual_host: bool = False

    @property
    def resource(self) -> str:
        """The path as error documents show it."""
        path = self.request.target.split(b"?", 1)[0]
        return path.decode("latin-1")


def fold_headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by lower-case name. Raises HeadersTooLargeError, InvalidHeaderError (repeated ones that must be single)."""
    headers: dict[str, str] = {}
    count = size = 0
    for raw_name, raw_value in pairs:
        count += 1
        size += len(raw_name) + len(raw_value)
        name = raw_name.decode("latin-1").lower()
        value = raw_value.decode("latin-1").strip(" \t")
        if name in headers:
            if name in _SINGLE:
                raise InvalidHeaderError(f"The header {name} must occur once.")
            value = f"{headers[name]},{value}"
        headers[name] = value
    if count > HEADERS_MAX or size > HEADER_BYTES_MAX:
        raise HeadersTooLargeError
    return headers


def parse_request(request: Request, domains: tuple[str, ...] = ()) -> S3Request:
    """Bucket, key and operation of a request.

    `domains` are the host names (lower-case, without port) under which buckets are addressed as `bucket.domain`. Raises UriTooLongError,
    InvalidUriError, InvalidBucketNameError (an empty bucket before a key), MethodNotAllowedError, ConflictingParametersError.
    """
    target = request.target
    if len(target) > TARGET_BYTES_MAX:
        raise UriTooLongError
    if _CONTROL.search(target):
        raise InvalidUriError
    if target.startswith(b"/"):
        host = request.headers.get("host", "")
    else:
        target, host = _absolute_form(target)
    path, _, raw_query = target.partition(b"?")
    bucket = bucket_of_host(host, domains) if domains else ""
    virtual_host = bool(bucket)
    if virtual_host:
        key = decode_path(path[1:])
    else:
        bucket, key = _place_of_path(path)
    query = parse_query(raw_query, once=_ONCE) if raw_query else {}
    headers = request.headers
    if "X-Amz-Signature" in query:
        headers = _with_hoisted(headers, query)
    level = Level.OBJECT if key else Level.BUCKET if bucket else Level.SERVICE
    operation = find_operation(request.method, level, query, headers)
    return S3Request(
        operation=operation,
        bucket=bucket,
        key=key,
        query=query,
        headers=headers,
        request=request,
        virtual_host=virtual_host,
    )


# Parameters that say what is done to what: taking the first of two would be a guess, and proxies may guess otherwise.
_ONCE = frozenset(
    [
        "uploadId",
        "partNumber",
        "versionId",
        "list-type",
        "prefix",
        "delimiter",
        "marker",
        "start-after",
        "continuation-token",
        "max-keys",
        "encoding-type",
        "key-marker",
        "version-id-marker",
        "upload-id-marker",
        "max-uploads",
        "part-number-marker",
        "max-parts",
        "fetch-owner",
    ]
)


def _place_of_path(path: bytes) -> tuple[str, str]:
    """Bucket and key of `/bucket/key`."""
    raw_bucket, _, raw_key = path[1:].partition(b"/")
    bucket = decode_path(raw_bucket)
    if not bucket and len(path) > 1:
        raise InvalidBucketNameError("The specified bucket is not valid: it is empty.")
    return bucket, decode_path(raw_key)


def _with_hoisted(headers: Mapping[str, str], query: Mapping[str, str]) -> dict[str, str]:
    """Headers, and those that the signer put into the URL; real ones win."""
    merged = dict(headers)
    for name, value in query.items():
        lower = name.lower()
        if lower.startswith("x-amz-") and lower not in _PRESIGNED:
            merged.setdefault(lower, value.encode("utf-8", "surrogateescape").decode("latin-1"))
    return merged


def _absolute_form(target: bytes) -> tuple[bytes, str]:
    """Path and query, and host, of `http://host/path?query` (RFC 9112 section 3.2.2)."""
    match = _ABSOLUTE.match(target)
    if match is None:
        raise InvalidUriError
    host, path = match.groups()
    return (path if path.startswith(b"/") else b"/" + path), host.decode("latin-1")


def decode_path(raw: bytes) -> str:
    """Percent-decoded text of (part of) a path. A "%" that is not an escape stands for itself, as S3 takes it."""
    if b"%" in raw:
        raw = unquote_to_bytes(raw)
    return key_text(raw)


def parse_query(raw: bytes, *, once: Container[str] = ()) -> dict[str, str]:
    """Decoded parameters in order; blank values are kept, of repeated ones the first counts. Here "+" is a space (HTML forms' rule).

    Raises InvalidArgumentValueError where a name in `once` comes again.
    """
    query: dict[str, str] = {}
    text = key_text(raw)
    if "+" in text:
        text = text.replace("+", " ")
    escaped = "%" in text
    for item in text.split("&"):
        name, _, value = item.partition("=")
        if escaped:
            if "%" in value:
                value = _unescape(value)
            if "%" in name:
                name = _unescape(name)
        if name not in query:
            if name:
                query[name] = value
        elif name in once:
            raise InvalidArgumentValueError(f"The parameter {name} comes twice.", name, value)
    return query


def _unescape(text: str) -> str:
    return key_text(unquote_to_bytes(text.encode("utf-8", "surrogateescape")))


def bucket_of_host(host: str, domains: tuple[str, ...]) -> str:
    """The bucket in `bucket.domain[:port]`; "" if the host is a domain itself or none of them."""
    name = host.lower()
    if name.endswith("]"):
        return ""
    name, _, port = name.rpartition(":") if ":" in name else (name, "", "")
    if port and not port.isdigit():
        return ""
    for domain in domains:
        if name == domain:
            return ""
        if name.endswith(domain) and name[-len(domain) - 1] == ".":
            return name[: -len(domain) - 1]
    return ""
