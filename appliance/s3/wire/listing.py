"""Parameters of listings: what the client asked for, to be echoed, and what to ask the cache for; and tokens to go on with.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html and its relatives.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from appliance.model.errors import NoSuchUploadError
from appliance.model.objects import LIST_LIMIT_MAX, PART_NUMBER_MAX, ListRequest
from appliance.s3.wire.errors import InvalidArgumentValueError
from appliance.s3.wire.tokens import seal, unseal
from appliance.s3.wire.versions import checked_version_id

_INTEGER_MAX = 2**31 - 1
_LIST, _UPLOAD = "list", "upload"  # purposes of tokens


class ListQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A listing of objects or versions as the client asked for it; `request` is what to ask the cache for.

    `marker` is v1's marker, v2's start-after, or the key-marker of versions; `token` is v2's continuation-token as it came, None if it
    did not. `encode`: encoding-type=url.
    """

    bucket: str
    prefix: str = ""
    delimiter: str = ""
    limit: int = LIST_LIMIT_MAX
    marker: str = ""
    version_id_marker: str = ""
    token: str | None = None
    encode: bool = False
    fetch_owner: bool = False
    request: ListRequest


class UploadsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """ListMultipartUploads. `upload_id_marker` is sealed, as the client sent it; "" without a key marker, where it means nothing."""

    bucket: str
    prefix: str = ""
    delimiter: str = ""
    key_marker: str = ""
    upload_id_marker: str = ""
    limit: int = LIST_LIMIT_MAX
    encode: bool = False


class PartsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """ListParts: parts after number `after`, at most `limit` of them."""

    after: int = 0
    limit: int = LIST_LIMIT_MAX


def list_query_v1(bucket: str, query: Mapping[str, str]) -> ListQuery:
    """ListObjects. Raises InvalidArgumentValueError."""
    return _list_query(bucket, query, marker=query.get("marker", ""))


def list_query_v2(bucket: str, query: Mapping[str, str], secret: bytes) -> ListQuery:
    """ListObjectsV2. Raises InvalidArgumentValueError, also for a token that `secret` did not seal for this bucket."""
    token = query.get("continuation-token")
    continuation = ""
    if token is not None:
        opened = unseal(token, secret, _LIST, bucket) if token else None
        if not opened:
            raise InvalidArgumentValueError(
                "The continuation token provided is incorrect", "continuation-token", token
            )
        continuation = opened
    return _list_query(
        bucket,
        query,
        marker=query.get("start-after", ""),
        token=token,
        continuation=continuation,
        fetch_owner=query.get("fetch-owner", "").lower() == "true",
    )


def list_query_versions(bucket: str, query: Mapping[str, str]) -> ListQuery:
    """ListObjectVersions. Raises InvalidArgumentValueError."""
    marker = query.get("key-marker", "")
    version = query.get("version-id-marker", "")
    if version and not marker:
        raise InvalidArgumentValueError(
            "A version-id marker cannot be specified without a key marker.",
            "version-id-marker",
            version,
        )
    if version:
        checked_version_id(version, "version-id-marker")
    return _list_query(bucket, query, marker=marker, version_id_marker=version)


def _list_query(
    bucket: str,
    query: Mapping[str, str],
    *,
    marker: str,
    version_id_marker: str = "",
    token: str | None = None,
    continuation: str = "",
    fetch_owner: bool = False,
) -> ListQuery:
    prefix = query.get("prefix", "")
    delimiter = query.get("delimiter", "")
    limit = _limit(query, "max-keys")
    return ListQuery(
        bucket=bucket,
        prefix=prefix,
        delimiter=delimiter,
        limit=limit,
        marker=marker,
        version_id_marker=version_id_marker,
        token=token,
        encode=_url_encoding(query),
        fetch_owner=fetch_owner,
        request=ListRequest(
            prefix=prefix,
            delimiter=delimiter,
            start_after="" if continuation else marker,
            continuation=continuation,
            limit=limit,
        ),
    )


def uploads_query(bucket: str, query: Mapping[str, str]) -> UploadsQuery:
    """ListMultipartUploads. Raises InvalidArgumentValueError."""
    key_marker = query.get("key-marker", "")
    return UploadsQuery(
        bucket=bucket,
        prefix=query.get("prefix", ""),
        delimiter=query.get("delimiter", ""),
        key_marker=key_marker,
        upload_id_marker=query.get("upload-id-marker", "") if key_marker else "",
        limit=_limit(query, "max-uploads"),
        encode=_url_encoding(query),
    )


def parts_query(query: Mapping[str, str]) -> PartsQuery:
    """ListParts. Raises InvalidArgumentValueError."""
    return PartsQuery(
        after=_integer(query, "part-number-marker", 0), limit=_limit(query, "max-parts")
    )


def part_number(query: Mapping[str, str]) -> int | None:
    """`partNumber`, 1 to 10,000; None where it is absent. Raises InvalidArgumentValueError."""
    value = query.get("partNumber")
    if value is None:
        return None
    if not (value.isascii() and value.isdigit()) or not 1 <= int(value[:9]) <= PART_NUMBER_MAX:
        raise InvalidArgumentValueError(
            "Part number must be an integer between 1 and 10000, inclusive", "partNumber", value
        )
    return int(value)


def _limit(query: Mapping[str, str], name: str) -> int:
    """At most 1,000, whatever was asked for."""
    return min(_integer(query, name, LIST_LIMIT_MAX), LIST_LIMIT_MAX)


def _integer(query: Mapping[str, str], name: str, default: int) -> int:
    value = query.get(name, "")
    if not value:
        return default
    digits = value.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        raise InvalidArgumentValueError(
            f"Provided {name} not an integer or within integer range", name, value
        )
    if digits != value or len(digits) > 10 or int(digits) > _INTEGER_MAX:
        raise InvalidArgumentValueError(
            f"Argument {name} must be an integer between 0 and {_INTEGER_MAX}", name, value
        )
    return int(value)


def _url_encoding(query: Mapping[str, str]) -> bool:
    value = query.get("encoding-type", "")
    if value and value.lower() != "url":
        raise InvalidArgumentValueError(
            "Invalid Encoding Method specified in Request", "encoding-type", value
        )
    return bool(value)


# --- tokens -----------------------------------------------------------------------------------------


def sealed_continuation(continuation: str, bucket: str, secret: bytes) -> str:
    """NextContinuationToken of a page."""
    return seal(continuation, secret, _LIST, bucket)


def sealed_upload_id(upload_id: str, bucket: str, key: str, secret: bytes) -> str:
    """The backend's upload id as clients see it."""
    return seal(upload_id, secret, _UPLOAD, bucket, key)


def opened_upload_id(sealed: str, bucket: str, key: str, secret: bytes) -> str:
    """The backend's upload id. Raises NoSuchUploadError for one that we did not make, or made for another key."""
    upload_id = unseal(sealed, secret, _UPLOAD, bucket, key)
    if not upload_id:
        raise NoSuchUploadError(bucket=bucket, key=key)
    return upload_id
