"""From the product's values to boto3's parameters. Pure."""

from __future__ import annotations

import base64
import email.utils
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from appliance.model.errors import InvalidArgumentError
from appliance.model.objects import CompletedPart, Conditions, ListRequest, PutOptions
from appliance.model.ranges import ByteRange, RangeSpec
from appliance_s3.answers import encode_metadata

# Parameter that carries headers for which boto3's operation has no parameter of its own (see upstream.py).
EXTRA_HEADERS = "_ExtraHeaders"
# System header -> parameter of PutObject, CopyObject and CreateMultipartUpload. `expires` is missing: boto3 would want a time, and
# the header is kept as it came.
_PARAMETERS = {
    "cache-control": "CacheControl",
    "content-disposition": "ContentDisposition",
    "content-encoding": "ContentEncoding",
    "content-language": "ContentLanguage",
    "content-type": "ContentType",
    "x-amz-storage-class": "StorageClass",
    "x-amz-website-redirect-location": "WebsiteRedirectLocation",
}


def put_parameters(options: PutOptions) -> dict[str, Any]:
    """What a new object is to be, besides its bytes and checksums."""
    parameters: dict[str, Any] = {
        parameter: options.headers[name]
        for name, parameter in _PARAMETERS.items()
        if name in options.headers
    }
    if options.metadata:
        parameters["Metadata"] = {
            name: encode_metadata(value) for name, value in options.metadata.items()
        }
    if options.tags:
        parameters["Tagging"] = urlencode(options.tags, quote_via=quote)
    if "expires" in options.headers:
        add_headers(parameters, {"Expires": options.headers["expires"]})
    return parameters


def add_headers(parameters: dict[str, Any], headers: dict[str, str]) -> None:
    """Headers for which the operation has no parameter."""
    if headers:
        parameters[EXTRA_HEADERS] = {**parameters.get(EXTRA_HEADERS, {}), **headers}


def write_conditions(conditions: Conditions, *, quoted: bool = True) -> dict[str, str]:
    """`If-Match` and `If-None-Match` of a write, as headers: not every version of boto3 has them for every operation."""
    quote = '"' if quoted else ""
    headers = {}
    if conditions.if_match:
        headers["If-Match"] = _etags(conditions.if_match, quote)
    if conditions.if_none_match:
        headers["If-None-Match"] = _etags(conditions.if_none_match, quote)
    return headers


def read_conditions(conditions: Conditions) -> dict[str, str]:
    """The condition of a read that saves its body, if there is one that any upstream understands; all are checked again on its answer.

    Several together are evaluated differently by different services, so at most one is sent: those that RFC 9110 section 13.2.2 has ignored
    beside another are left out, and any two that remain.
    """
    headers = {}
    if conditions.if_match:
        headers["If-Match"] = _etags(conditions.if_match)
    elif conditions.if_unmodified_since_ns is not None:
        headers["If-Unmodified-Since"] = http_date(conditions.if_unmodified_since_ns)
    if conditions.if_none_match:
        headers["If-None-Match"] = _etags(conditions.if_none_match)
    elif conditions.if_modified_since_ns is not None:
        headers["If-Modified-Since"] = http_date(conditions.if_modified_since_ns)
    etags = (*conditions.if_match, *conditions.if_none_match)
    # Nor do all know `*` or lists of ETags.
    return headers if len(headers) == 1 and len(etags) <= 1 and "*" not in etags else {}


def http_date(time_ns: int) -> str:
    return email.utils.formatdate(time_ns // 10**9, usegmt=True)


def _etags(etags: tuple[str, ...], quote: str = '"') -> str:
    return ", ".join(etag if etag == "*" else f"{quote}{etag}{quote}" for etag in etags)


def range_header(wanted: RangeSpec | ByteRange) -> str:
    if isinstance(wanted, ByteRange):
        return f"bytes={wanted.offset}-{wanted.end - 1}"
    first = "" if wanted.first is None else wanted.first
    last = "" if wanted.last is None else wanted.last
    return f"bytes={first}-{last}"


def content_md5(md5_hex: str) -> str:
    return base64.b64encode(bytes.fromhex(md5_hex)).decode("ascii")


def add_checksum(
    parameters: dict[str, Any],
    wanted: Sequence[str],
    known: Mapping[str, str],
) -> None:
    """One checksum, as S3 takes only one: the first wanted that is known."""
    for name in wanted:
        if name in known:
            parameters[f"Checksum{name.upper()}"] = known[name]
            return


def part_named(part: CompletedPart, kept: Sequence[str]) -> dict[str, Any]:
    """A part as CompleteMultipartUpload names it, with those of its checksums that the upstream keeps."""
    values = {
        f"Checksum{name.upper()}": part.checksums[name] for name in part.checksums if name in kept
    }
    return {"PartNumber": part.number, "ETag": f'"{part.etag}"', **values}


def tag_set(tags: dict[str, str]) -> dict[str, Any]:
    return {"TagSet": [{"Key": key, "Value": value} for key, value in tags.items()]}


def listing(request: ListRequest, root: str) -> dict[str, Any]:
    """Parameters of a page of ListObjectsV2. Raises InvalidArgumentError for a token that is not ours."""
    parameters: dict[str, Any] = {}
    if root or request.prefix:
        parameters["Prefix"] = root + request.prefix
    if request.delimiter:
        parameters["Delimiter"] = request.delimiter
    kind, token = request.continuation[:1], request.continuation[1:]
    if kind == "t":
        parameters["ContinuationToken"] = token
    elif kind == "s":
        parameters["StartAfter"] = token
    elif kind:
        raise InvalidArgumentError("The continuation token provided is incorrect.")
    elif request.start_after:
        parameters["StartAfter"] = root + request.start_after
    return parameters
