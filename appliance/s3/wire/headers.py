"""stub: signatures first"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from appliance.model.objects import Conditions, ObjectInfo, PutOptions
from appliance.model.ranges import ByteRange, RangeSpec
from appliance.s3.wire.response import Headers


class CopySource(msgspec.Struct, frozen=True):
    bucket: str
    key: str
    version_id: str = ""


def put_options(headers: Mapping[str, str]) -> PutOptions:
    """PutObject, CreateMultipartUpload, CopyObject with REPLACE."""
    raise NotImplementedError


def conditions(headers: Mapping[str, str]) -> Conditions:
    """If-Match, If-None-Match, If-(Un)Modified-Since."""
    raise NotImplementedError


def copy_conditions(headers: Mapping[str, str]) -> Conditions:
    """x-amz-copy-source-if-*."""
    raise NotImplementedError


def copy_source(headers: Mapping[str, str]) -> CopySource:
    raise NotImplementedError


def copy_source_range(headers: Mapping[str, str]) -> RangeSpec | None:
    raise NotImplementedError


def range_spec(headers: Mapping[str, str]) -> RangeSpec | None:
    raise NotImplementedError


def object_headers(
    info: ObjectInfo,
    *,
    range: ByteRange | None = None,  # noqa: A002
    checksums: bool = False,
    part_number: int | None = None,
    overrides: Mapping[str, str] = {},
) -> Headers:
    """Headers of GetObject (200 or 206 when `range`) and HeadObject, Content-Length included.

    `overrides`: `response_overrides(query)`; `checksums`: x-amz-checksum-mode: ENABLED.
    """
    raise NotImplementedError


def response_overrides(query: Mapping[str, str]) -> dict[str, str]:
    """response-content-type=... -> {"Content-Type": ...}."""
    raise NotImplementedError
