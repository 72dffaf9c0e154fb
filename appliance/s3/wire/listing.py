"""stub: signatures first"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from appliance.model.objects import ListRequest


class ListQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of ListObjects, ListObjectsV2, ListObjectVersions as the client gave them, for echoing and for asking the cache."""

    bucket: str
    prefix: str = ""
    delimiter: str = ""
    limit: int = 1000
    marker: str = ""  # v1 marker, v2 start-after, versions key-marker
    version_id_marker: str = ""
    token: str = ""  # v2 continuation-token as the client sent it
    encode: bool = False  # encoding-type=url
    fetch_owner: bool = False
    request: ListRequest  # what to ask the cache for


def list_query_v1(bucket: str, query: Mapping[str, str]) -> ListQuery:
    raise NotImplementedError


def list_query_v2(bucket: str, query: Mapping[str, str], secret: bytes) -> ListQuery:
    """`secret` authenticates continuation tokens; the same on all nodes."""
    raise NotImplementedError


def list_query_versions(bucket: str, query: Mapping[str, str]) -> ListQuery:
    raise NotImplementedError


class UploadsQuery(msgspec.Struct, frozen=True, kw_only=True):
    bucket: str
    prefix: str = ""
    delimiter: str = ""
    key_marker: str = ""
    upload_id_marker: str = ""
    limit: int = 1000
    encode: bool = False


def uploads_query(bucket: str, query: Mapping[str, str]) -> UploadsQuery:
    raise NotImplementedError


class PartsQuery(msgspec.Struct, frozen=True, kw_only=True):
    after: int = 0
    limit: int = 1000


def parts_query(query: Mapping[str, str]) -> PartsQuery:
    raise NotImplementedError


def part_number(query: Mapping[str, str]) -> int | None:
    """`partNumber`, 1 to 10,000; None where absent. Raises InvalidArgumentValueError."""
    raise NotImplementedError


def sealed_upload_id(upload_id: str, bucket: str, key: str, secret: bytes) -> str:
    """The backend's upload id as clients see it: opaque and authenticated."""
    raise NotImplementedError


def opened_upload_id(sealed: str, bucket: str, key: str, secret: bytes) -> str:
    """Raises NoSuchUploadError for a forged one, or one of another key."""
    raise NotImplementedError
