"""ListObjectVersions of a backend without versions: each object is one version, "null", and the newest."""

from __future__ import annotations

from typing import Protocol

from appliance.model.errors import InvalidArgumentError
from appliance.model.objects import (
    NULL_VERSION,
    ListPage,
    ListRequest,
    ObjectVersion,
    VersionListRequest,
    VersionPage,
)


class Lists(Protocol):
    """The part of a backend that is needed here."""

    async def list_objects(self, bucket: str, request: ListRequest) -> ListPage: ...


async def null_versions(lists: Lists, bucket: str, request: VersionListRequest) -> VersionPage:
    """See `Backend.list_versions`. A marker's version id can only be `NULL_VERSION`, after which nothing of its key is left."""
    if request.version_id_marker not in {"", NULL_VERSION}:
        raise InvalidArgumentError("Invalid version id specified")
    page = await lists.list_objects(
        bucket,
        ListRequest(
            prefix=request.prefix,
            delimiter=request.delimiter,
            start_after=request.key_marker,
            limit=request.limit,
        ),
    )
    truncated = bool(page.continuation)
    at_version = bool(page.objects) and page.last == page.objects[-1].key
    return VersionPage(
        versions=tuple(ObjectVersion(info=info) for info in page.objects),
        common_prefixes=page.common_prefixes,
        truncated=truncated,
        next_key_marker=page.last if truncated else "",
        next_version_id_marker=NULL_VERSION if truncated and at_version else "",
    )
