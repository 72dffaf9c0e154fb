"""stub: signatures first"""

from __future__ import annotations

from collections.abc import Sequence

from appliance.auth.identity import Identity
from appliance.model.objects import (
    BucketInfo,
    DeleteOutcome,
    ListPage,
    ObjectInfo,
    PartInfo,
    PartPage,
    UploadPage,
)
from appliance.s3.wire.listing import ListQuery, UploadsQuery


def list_buckets(buckets: Sequence[BucketInfo], owner: Identity) -> bytes:
    raise NotImplementedError


def bucket_location(region: str) -> bytes:
    raise NotImplementedError


def list_objects_v1(query: ListQuery, page: ListPage, owner: Identity) -> bytes:
    raise NotImplementedError


def list_objects_v2(query: ListQuery, page: ListPage, owner: Identity, secret: bytes) -> bytes:
    raise NotImplementedError


def list_object_versions(query: ListQuery, page: ListPage, owner: Identity) -> bytes:
    raise NotImplementedError


def copy_object_result(info: ObjectInfo) -> bytes:
    raise NotImplementedError


def copy_part_result(part: PartInfo) -> bytes:
    raise NotImplementedError


def initiate_multipart_upload(bucket: str, key: str, upload_id: str) -> bytes:
    """`upload_id` sealed."""
    raise NotImplementedError


def complete_multipart_upload(bucket: str, info: ObjectInfo, location: str) -> bytes:
    raise NotImplementedError


def list_parts(
    bucket: str, page: PartPage, upload_id: str, after: int, limit: int, owner: Identity
) -> bytes:
    raise NotImplementedError


def list_uploads(query: UploadsQuery, page: UploadPage, owner: Identity, secret: bytes) -> bytes:
    raise NotImplementedError


def delete_result(outcomes: Sequence[DeleteOutcome], *, quiet: bool) -> bytes:
    raise NotImplementedError


def object_attributes(
    info: ObjectInfo, wanted: frozenset[str], part_marker: int, max_parts: int
) -> bytes:
    raise NotImplementedError


def tagging(tags: dict[str, str]) -> bytes:
    raise NotImplementedError
