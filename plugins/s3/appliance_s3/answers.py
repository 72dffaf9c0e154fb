"""From boto3's answers to the product's values. Pure.

A version token is the ETag, Last-Modified in whole seconds (HEAD has no finer), the upstream's version id where there is one, and a
digest of headers and metadata: a write that only changes these keeps the ETag, and within one second also the time (docs/decisions/0001).
Listings tell no metadata, so what they list has no token.
"""

from __future__ import annotations

import datetime as dt
import email.header
import email.utils
import functools
import hashlib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from appliance.model.checksums import ALGORITHMS
from appliance.model.errors import BackendUnavailableError
from appliance.model.objects import (
    SYSTEM_HEADERS,
    ListPage,
    ObjectInfo,
    ObjectPart,
    PartInfo,
    UploadInfo,
)
from appliance.model.ranges import ByteRange

_ENCODED_WORD = re.compile(r"=\?[A-Za-z0-9-]+\?[BbQq]\?[^?\s]*\?=")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)\Z")
_MD5 = re.compile(r"[0-9a-f]{32}\Z")
_CHECKSUM_HEADER = "x-amz-checksum-"
_METADATA_HEADER = "x-amz-meta-"


def unquote_etag(etag: str) -> str:
    return etag.removeprefix("W/").strip('"')


@functools.lru_cache(maxsize=1024)  # each answer's is asked for twice, and parsing costs 20 us
def http_time_ns(value: str) -> int:
    """An HTTP date in ns; 0 if it is none."""
    try:
        return int(email.utils.parsedate_to_datetime(value).timestamp()) * 10**9
    except (ValueError, TypeError):
        return 0


def time_ns(value: dt.datetime | None) -> int:
    """A time of an XML answer in ns; 0 if there is none."""
    if value is None:
        return 0
    return int(value.timestamp()) * 10**9 + value.microsecond * 1000


def version_token(etag: str, headers: Mapping[str, str]) -> str:
    """See the head of this module."""
    told = sorted(
        (name.lower(), value)
        for name, value in headers.items()
        if name in SYSTEM_HEADERS or name.lower().startswith((_METADATA_HEADER, "x-amz-tagging"))
    )
    digest = hashlib.blake2b(repr(told).encode(), digest_size=8).hexdigest()
    modified_s = http_time_ns(headers.get("last-modified", "")) // 10**9
    return f"{etag}/{modified_s}/{digest}/{headers.get('x-amz-version-id', '')}".rstrip("/")


def decode_metadata(value: str) -> str:
    """User metadata as its writer meant it: RFC 2047 encoded words are decoded, as AWS makes them of what is not ASCII.

    Headers arrive as latin-1; bytes that some servers send raw are UTF-8.
    """
    if _ENCODED_WORD.search(value):
        try:
            return str(email.header.make_header(email.header.decode_header(value)))
        except (LookupError, ValueError):
            return value
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode("utf-8")
    except ValueError:
        return value


def encode_metadata(value: str) -> str:
    """Inverse of `decode_metadata`: printable ASCII goes as it is, anything else as one RFC 2047 word."""
    if value.isascii() and value.isprintable() and value == value.strip():
        return value
    return email.header.Header(value, "utf-8", maxlinelen=10**6).encode()


def system_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """System headers of an answer. `aws-chunked` is how a body travelled, not how it is encoded; some servers keep it."""
    found = {name: value for name, value in headers.items() if name in SYSTEM_HEADERS}
    encoding = found.get("content-encoding", "")
    if "aws-chunked" in encoding:
        rest = [word for word in re.split(r"\s*,\s*", encoding) if word != "aws-chunked"]
        found["content-encoding"] = ", ".join(rest)
        if not rest:
            del found["content-encoding"]
    if found.get("x-amz-storage-class") == "STANDARD":
        del found["x-amz-storage-class"]  # the default, which AWS does not mention
    return found


def checksums(headers: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """Checksums of an object, without the `-N` of composite ones, and their type."""
    found = {
        name: headers[_CHECKSUM_HEADER + name]
        for name in ALGORITHMS
        if _CHECKSUM_HEADER + name in headers
    }
    composite = any("-" in value for value in found.values())
    kind = headers.get("x-amz-checksum-type", "COMPOSITE" if composite else "FULL_OBJECT")
    return {name: value.partition("-")[0] for name, value in found.items()}, kind


class Made(NamedTuple):
    """What an answer to a write says about the new object: its ETag, and version id, "" where it does not say."""

    etag: str
    version_id: str


def made(answer: Mapping[str, Any]) -> Made:
    return Made(unquote_etag(answer.get("ETag", "")), answer.get("VersionId", ""))


def object_info(key: str, response: Mapping[str, Any]) -> ObjectInfo:
    """From the answer to HeadObject or GetObject; the size is the whole object's."""
    headers: dict[str, str] = response["ResponseMetadata"]["HTTPHeaders"]
    etag = unquote_etag(headers.get("etag", ""))
    modified_ns = http_time_ns(headers.get("last-modified", ""))
    total = _CONTENT_RANGE.match(headers.get("content-range", ""))
    values, kind = checksums(headers)
    return ObjectInfo(
        key=key,
        size=int(total.group(3)) if total else int(headers.get("content-length", 0)),
        etag=etag,
        version=version_token(etag, headers),
        modified_ns=modified_ns,
        headers=system_headers(headers),
        metadata={
            name.lower().removeprefix(_METADATA_HEADER): decode_metadata(value)
            for name, value in headers.items()
            if name.lower().startswith(_METADATA_HEADER)
        },
        checksums=values,
        checksum_type=kind,
        tag_count=int(headers.get("x-amz-tagging-count", 0)),
        version_id=headers.get("x-amz-version-id", ""),
    )


def answered_range(response: Mapping[str, Any]) -> ByteRange:
    """Which bytes the body of a GetObject answer holds. Raises BackendUnavailableError where its headers do not say."""
    headers: dict[str, str] = response["ResponseMetadata"]["HTTPHeaders"]
    match = _CONTENT_RANGE.match(headers.get("content-range", ""))
    if match:
        first, last, _ = (int(number) for number in match.groups())
        return ByteRange(first, last - first + 1)
    length = headers.get("content-length", "")
    if not length.isdigit():
        raise BackendUnavailableError("The backend's answer does not say how long the object is.")
    return ByteRange(0, int(length))


def object_part(response: Mapping[str, Any]) -> ObjectPart | None:
    """Where a part lies, from HeadObject with its number; None where the upstream does not say (radosgw, for one, ignores the number)."""
    headers: dict[str, str] = response["ResponseMetadata"]["HTTPHeaders"]
    count = headers.get("x-amz-mp-parts-count", "")
    match = _CONTENT_RANGE.match(headers.get("content-range", ""))
    if match is None or not count.isdigit():
        return None
    first, last = int(match[1]), int(match[2])
    return ObjectPart(range=ByteRange(first, last - first + 1), count=int(count))


def is_md5(etag: str, headers: Mapping[str, str]) -> bool:
    """Whether this ETag of a simple PUT is the MD5 of the bytes: not where the upstream encrypts with a customer's key."""
    encryption = headers.get("x-amz-server-side-encryption", "")
    if encryption.startswith("aws:") or _SSE_C in headers:
        return False
    return _MD5.match(etag) is not None


_SSE_C = "x-amz-server-side-encryption-customer-algorithm"


def list_page(response: Mapping[str, Any], root: str, hidden: str) -> ListPage:
    """A page of ListObjectsV2 without the configured prefix `root`, and without names that begin with `hidden`."""
    objects = tuple(
        listed_object(item, root)
        for item in response.get("Contents", ())
        if not item["Key"].startswith(root + hidden)
    )
    prefixes = tuple(
        item["Prefix"].removeprefix(root)
        for item in response.get("CommonPrefixes", ())
        if not item["Prefix"].startswith(root + hidden)
    )
    names = [info.key for info in objects[-1:]] + list(prefixes[-1:])
    return ListPage(
        objects=objects,
        common_prefixes=prefixes,
        continuation=_continuation(response),
        # Bytewise order of UTF-8 is the order of code points.
        last=max(names, default=""),
    )


def _continuation(response: Mapping[str, Any]) -> str:
    """A token for the next page: the upstream's, or, from one that gives none, the last name seen."""
    if not response.get("IsTruncated"):
        return ""
    if token := response.get("NextContinuationToken", ""):
        return "t" + str(token)
    names = [item["Key"] for item in response.get("Contents", ())]
    names += [item["Prefix"] for item in response.get("CommonPrefixes", ())]
    return "s" + max(names) if names else ""


def listed_object(item: Mapping[str, Any], root: str) -> ObjectInfo:
    etag = unquote_etag(item.get("ETag", ""))
    modified_ns = time_ns(item.get("LastModified"))
    storage_class = item.get("StorageClass", "STANDARD")
    return ObjectInfo(
        key=item["Key"].removeprefix(root),
        size=int(item.get("Size", 0)),
        etag=etag,
        version="",
        modified_ns=modified_ns // 10**9 * 10**9,
        headers={} if storage_class == "STANDARD" else {"x-amz-storage-class": storage_class},
    )


def upload_info(key: str, response: Mapping[str, Any], initiated_ns: int = 0) -> UploadInfo:
    """From an item of ListMultipartUploads, or an answer to CreateMultipartUpload or ListParts."""
    algorithm = str(response.get("ChecksumAlgorithm", "")).lower()
    return UploadInfo(
        key=key,
        upload_id=response["UploadId"],
        initiated_ns=time_ns(response.get("Initiated")) or initiated_ns,
        checksums=(algorithm,) if algorithm in ALGORITHMS else (),
        checksum_type=response.get("ChecksumType", "COMPOSITE"),
        storage_class=response.get("StorageClass", ""),
    )


def part_info(item: Mapping[str, Any]) -> PartInfo:
    """From an item of ListParts."""
    return PartInfo(
        number=item["PartNumber"],
        size=item.get("Size", 0),
        etag=unquote_etag(item.get("ETag", "")),
        modified_ns=time_ns(item.get("LastModified")),
        checksums={
            name: item[f"Checksum{name.upper()}"]
            for name in ALGORITHMS
            if f"Checksum{name.upper()}" in item
        },
    )
