"""The async side of multipart uploads and of copying ranges: long work is cut into hops, so that cancellation is not kept waiting."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence

from appliance.model.errors import InvalidArgumentError, VersionChangedError
from appliance.model.names import check_key
from appliance.model.objects import (
    NO_CONDITIONS,
    PART_NUMBER_MAX,
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
from appliance.plugin import Body, Digests
from appliance_posix import complete, uploads
from appliance_posix.bucket import Bucket
from appliance_posix.core import PosixCore
from appliance_posix.finding import require
from appliance_posix.intake import Intake
from appliance_posix.objects import Found
from appliance_posix.publish import Around, publish
from appliance_posix.record import Record
from appliance_posix.staging import Staged
from appliance_posix.transfer import PIECE_BYTES, Hashing, append_range
from appliance_posix.upload_listing import list_uploads
from appliance_posix.uploads import Part


class MultipartOperations(PosixCore):
    """See `Backend`."""

    async def create_upload(self, bucket: str, key: str, options: PutOptions) -> UploadInfo:
        check_key(key)
        return await self._in_bucket(uploads.create, bucket, key, options, key=key)

    async def put_part(
        self, bucket: str, key: str, upload_id: str, number: int, body: Body
    ) -> PartInfo:
        _check_number(number)
        upload = await self._in_bucket(uploads.look, bucket, key, upload_id, key=key)
        self._counters["parts"] += 1
        async with self._received(bucket, key, body) as intake:
            digests = await self._digests(body, intake, upload.checksums)
            return await self._in_bucket(
                _store_intake, bucket, key, upload_id, number, intake, digests, key=key
            )

    async def copy_part(
        self,
        source_bucket: str,
        source_key: str,
        bucket: str,
        key: str,
        upload_id: str,
        number: int,
        *,
        range: ByteRange | None = None,  # noqa: A002  # the contract's word
        source_version: str = "",
        source_version_id: str = "",
    ) -> PartInfo:
        _check_number(number)
        check_key(source_key)
        upload = await self._in_bucket(uploads.look, bucket, key, upload_id, key=key)
        self._counters["parts"] += 1
        found = await self._in_bucket(
            require, source_bucket, source_key, source_version, source_version_id, key=source_key
        )
        staged: Staged | None = None
        with found:
            try:
                wanted = _range_within(found, range)
                staged = await self._in_bucket(Staged, bucket)
                hashing = Hashing(upload.checksums)
                await self._copy_range(found, wanted, staged, hashing)
                return await self._in_bucket(
                    uploads.store_part,
                    bucket,
                    key,
                    upload_id,
                    number,
                    staged,
                    hashing.digests(),
                    key=key,
                )
            finally:
                await self._discard(staged)

    async def _copy_range(
        self, found: Found, wanted: ByteRange, staged: Staged, hashing: Hashing | None
    ) -> None:
        """Append a range of an object's file, piece by piece."""
        offset = wanted.offset
        while offset < wanted.end:
            length = min(PIECE_BYTES, wanted.end - offset)
            await self._run(_append_object, found, offset, length, staged, hashing, key=found.key)
            offset += length

    async def list_parts(
        self, bucket: str, key: str, upload_id: str, *, after: int = 0, limit: int = 1000
    ) -> PartPage:
        return await self._in_bucket(
            uploads.list_parts, bucket, key, upload_id, after, limit, key=key
        )

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
        return await self._in_bucket(
            list_uploads, bucket, prefix, delimiter, key_marker, upload_id_marker, limit
        )

    async def complete_upload(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        parts: Sequence[CompletedPart],
        conditions: Conditions = NO_CONDITIONS,
    ) -> ObjectInfo:
        manifest, chosen = await self._in_bucket(
            complete.plan, bucket, key, upload_id, parts, key=key
        )
        staged = await self._in_bucket(Staged, bucket)
        try:
            for part in chosen:
                await self._append_part(bucket, key, upload_id, part, staged)
            info = await self._in_bucket(
                _publish_upload,
                bucket,
                key,
                upload_id,
                staged,
                complete.record_of(manifest, chosen),
                conditions,
                key=key,
            )
        finally:
            await self._discard(staged)
        self._counters["completed_uploads"] += 1
        return info

    async def _append_part(
        self, bucket: str, key: str, upload_id: str, part: Part, staged: Staged
    ) -> None:
        fd = await self._in_bucket(complete.open_part, bucket, key, upload_id, part, key=key)
        try:
            offset = 0
            while offset < part.size:
                length = min(PIECE_BYTES, part.size - offset)
                await self._run(append_range, fd, offset, length, staged, bucket=bucket, key=key)
                offset += length
        finally:
            os.close(fd)

    async def abort_upload(self, bucket: str, key: str, upload_id: str) -> None:
        await self._in_bucket(uploads.abort, bucket, key, upload_id, key=key)


def _check_number(number: int) -> None:
    if not 1 <= number <= PART_NUMBER_MAX:
        raise InvalidArgumentError(
            f"Part number must be an integer between 1 and {PART_NUMBER_MAX}, inclusive."
        )


def _range_within(found: Found, asked: ByteRange | None) -> ByteRange:
    """The range of the source that becomes a part: all of it if none was asked for. Raises InvalidArgumentError."""
    wanted = asked or ByteRange(0, found.info.size)
    if wanted.end > found.info.size:
        raise InvalidArgumentError(
            "The range of the part is beyond the end of its source.", key=found.key
        )
    return wanted


def _store_intake(
    bucket: Bucket, key: str, upload_id: str, number: int, intake: Intake, digests: Digests
) -> PartInfo:
    try:
        return uploads.store_part(bucket, key, upload_id, number, intake.into(bucket), digests)
    finally:
        intake.discard()


def _append_object(
    found: Found, offset: int, length: int, staged: Staged, hashing: Hashing | None
) -> None:
    append_range(found.fd, offset, length, staged)
    stat = os.fstat(found.fd)
    if (stat.st_size, stat.st_mtime_ns) != (found.stat.st_size, found.stat.st_mtime_ns):
        raise VersionChangedError(key=found.key)
    if hashing is not None:
        hashing.catch_up(staged, staged.size)


def _publish_upload(
    bucket: Bucket,
    key: str,
    upload_id: str,
    staged: Staged,
    record: Record,
    conditions: Conditions,
) -> ObjectInfo:
    around = Around(
        locks=(uploads.lock_name(upload_id),),
        before=functools.partial(complete.check_upload, bucket, key, upload_id),
        after=functools.partial(uploads.end, bucket, upload_id),
    )
    info = publish(bucket, key, staged, record, conditions, around=around)
    uploads.discard_gone(bucket, upload_id)
    return info
