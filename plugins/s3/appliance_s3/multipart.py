"""Multipart uploads of clients, as the backend offers them; `uploads` makes the requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from appliance.model.errors import (
    EntityTooLargeError,
    InvalidArgumentError,
    PreconditionFailedError,
    VersionChangedError,
)
from appliance.model.objects import (
    NO_CONDITIONS,
    PUT_SIZE_MAX,
    CompletedPart,
    Conditions,
    ObjectInfo,
    PartInfo,
    PartPage,
    PutOptions,
    UploadInfo,
    UploadPage,
)
from appliance.model.ranges import ByteRange
from appliance.plugin import (
    Body,
)
from appliance_s3.core import S3Core
from appliance_s3.names import RESERVED
from appliance_s3.uploads import target
from appliance_s3.versions import with_version


class MultipartOperations(S3Core):
    """See `Backend`."""

    async def create_upload(self, bucket: str, key: str, options: PutOptions) -> UploadInfo:
        place = self._names.written(bucket, key)
        where = self._where("creating an upload", bucket, key)
        return await self._uploads.create(where, place, options, self._host.now_ns())

    async def put_part(
        self, bucket: str, key: str, upload_id: str, number: int, body: Body
    ) -> PartInfo:
        place = target(self._names.written(bucket, key), upload_id)
        where = self._where("uploading a part", bucket, key)
        return await self._uploads.put_part(where, place, number, body, self._host.now_ns())

    async def copy_part(
        self,
        source_bucket: str,
        source_key: str,
        bucket: str,
        key: str,
        upload_id: str,
        number: int,
        *,
        range: ByteRange | None = None,  # noqa: A002
        source_version: str = "",
        source_version_id: str = "",
    ) -> PartInfo:
        source = with_version(self._names.existing(source_bucket, source_key), source_version_id)
        place = target(self._names.written(bucket, key), upload_id)
        origin = self._where("HEAD", source_bucket, source_key)
        info = await self._version(origin, source, source_version)
        if range is not None and range.end > info.size:
            raise InvalidArgumentError(
                f"The range {range.offset}-{range.end - 1} is not within the source of {info.size} bytes."
            )
        size = info.size if range is None else range.length
        if size > PUT_SIZE_MAX:
            raise EntityTooLargeError(bucket=bucket, key=key)
        where = self._where("copying a part", bucket, key)
        etag = info.etag if source_version else ""
        try:
            return await self._uploads.copy_part(where, place, number, source, range, etag, size)
        except PreconditionFailedError:
            raise VersionChangedError(bucket=source_bucket, key=source_key) from None

    async def list_parts(
        self, bucket: str, key: str, upload_id: str, *, after: int = 0, limit: int = 1000
    ) -> PartPage:
        place = target(self._names.written(bucket, key), upload_id)
        where = self._where("listing parts", bucket, key)
        return await self._uploads.list_parts(where, place, after, limit)

    async def list_uploads(
        self,
        bucket: str,
        *,
        prefix: str = "",
        delimiter: str = "",
        key_marker: str = "",
        upload_id_marker: str = "",
        limit: int = 1000,
    ) -> UploadPage:
        root = self._names.root
        self._names.bucket(bucket)
        options: dict[str, Any] = {"Prefix": root + prefix, "MaxUploads": limit}
        if delimiter:
            options["Delimiter"] = delimiter
        if key_marker:
            options["KeyMarker"] = root + key_marker
            if upload_id_marker:
                options["UploadIdMarker"] = upload_id_marker
        where = self._where("listing uploads", bucket)
        return await self._uploads.list(where, bucket, root, RESERVED, options)

    async def complete_upload(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        parts: Sequence[CompletedPart],
        conditions: Conditions = NO_CONDITIONS,
    ) -> ObjectInfo:
        place = self._names.written(bucket, key)
        where = self._where("completing an upload", bucket, key)
        headers = await self._abilities.conditions(
            conditions, "conditional_complete", bucket, "CompleteMultipartUpload"
        )
        try:
            made = await self._uploads.complete(where, target(place, upload_id), parts, headers)
        except PreconditionFailedError as error:
            raise await self._why(error, where, place, conditions) from None
        return await self._published(where, place, made)

    async def abort_upload(self, bucket: str, key: str, upload_id: str) -> None:
        place = target(self._names.written(bucket, key), upload_id)
        await self._uploads.abort(self._where("aborting an upload", bucket, key), place)
