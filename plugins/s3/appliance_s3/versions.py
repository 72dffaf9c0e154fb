"""Versions at one upstream, whose ids pass through as they are: states of buckets, listings, and what errors mean where an id was given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from appliance.model.errors import (
    ApplianceError,
    DeletedKeyError,
    DeleteMarkerError,
    InvalidArgumentError,
    NoSuchKeyError,
    NoSuchVersionError,
    UnsupportedError,
)
from appliance.model.objects import (
    ObjectVersion,
    Versioning,
    VersionListRequest,
    VersionPage,
)
from appliance_s3.answers import listed_object
from appliance_s3.failures import Where
from appliance_s3.ordering import ORDER
from appliance_s3.sending import Sender

VERSION = "VersionId"


def with_version(place: dict[str, str], version_id: str) -> dict[str, str]:
    """A place, of one version. Raises NoSuchVersionError for an id that cannot be written in a URL: no upstream gave it."""
    if not version_id:
        return place
    if not (version_id.isascii() and version_id.isprintable()) or len(version_id) > 1024:
        raise NoSuchVersionError(version_id=version_id)
    return {**place, VERSION: version_id}


def version_error(error: ApplianceError, place: Mapping[str, str]) -> ApplianceError:
    """What an error means where a version was asked for; HEAD has only a status to tell it."""
    version_id = place.get(VERSION, "")
    if not version_id:
        return error
    facts: dict[str, Any] = {"bucket": error.bucket, "key": error.key, "version_id": version_id}
    if isinstance(error, DeletedKeyError | UnsupportedError):
        return DeleteMarkerError(**facts)
    if isinstance(error, NoSuchKeyError | InvalidArgumentError | NoSuchVersionError):
        return NoSuchVersionError(**facts)
    return error


class Versions:
    """See the module."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    async def state(self, where: Where, bucket: str) -> Versioning:
        """Of a bucket. An upstream that does not know the question has no versions."""
        try:
            answer = await self._sender.call(where, "get_bucket_versioning", {"Bucket": bucket})
        except UnsupportedError:
            return Versioning.OFF
        status = answer.get("Status", "")
        return Versioning(status) if status in set(Versioning) else Versioning.OFF

    async def set_state(self, where: Where, bucket: str, state: Versioning) -> None:
        parameters = {"Bucket": bucket, "VersioningConfiguration": {"Status": state.value}}
        await self._sender.call(where, "put_bucket_versioning", parameters)

    async def list(
        self, where: Where, bucket: str, root: str, hidden: str, request: VersionListRequest
    ) -> VersionPage:
        """A page, without the configured prefix `root` and names that begin with `hidden`."""
        parameters: dict[str, Any] = {"Bucket": bucket, "MaxKeys": request.limit}
        if root or request.prefix:
            parameters["Prefix"] = root + request.prefix
        if request.delimiter:
            parameters["Delimiter"] = request.delimiter
        if request.key_marker:
            parameters["KeyMarker"] = root + request.key_marker
            if request.version_id_marker:
                parameters["VersionIdMarker"] = request.version_id_marker
        answer = await self._sender.call(where, "list_object_versions", parameters)
        return version_page(answer, root, hidden)


def version_page(answer: Mapping[str, Any], root: str, hidden: str) -> VersionPage:
    """From an answer to ListObjectVersions. Pure."""
    truncated = bool(answer.get("IsTruncated"))
    return VersionPage(
        versions=tuple(
            _version(item, root, delete_marker=delete_marker)
            for delete_marker, item in _in_order(answer)
            if not item["Key"].startswith(root + hidden)
        ),
        common_prefixes=tuple(
            item["Prefix"].removeprefix(root)
            for item in answer.get("CommonPrefixes", ())
            if not item["Prefix"].startswith(root + hidden)
        ),
        truncated=truncated,
        next_key_marker=answer.get("NextKeyMarker", "").removeprefix(root) if truncated else "",
        next_version_id_marker=answer.get("NextVersionIdMarker", "") if truncated else "",
    )


def _in_order(answer: Mapping[str, Any]) -> Iterator[tuple[bool, Mapping[str, Any]]]:
    """(is a delete marker, item) as the upstream told them."""
    versions, markers = iter(answer.get("Versions", ())), iter(answer.get("DeleteMarkers", ()))
    for kind in answer.get(ORDER, ""):
        item = next(versions if kind == "V" else markers, None)
        if item is not None:
            yield kind == "D", item


def _version(item: Mapping[str, Any], root: str, *, delete_marker: bool) -> ObjectVersion:
    info = listed_object(item, root)
    return ObjectVersion(
        info=msgspec.structs.replace(info, version_id=item.get("VersionId", "")),
        latest=bool(item.get("IsLatest")),
        delete_marker=delete_marker,
    )
