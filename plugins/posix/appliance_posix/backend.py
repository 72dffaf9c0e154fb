"""The POSIX backend: buckets are directories, objects plain files. Here, only what is async: an operation is one call into a thread."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from appliance.model.errors import NotModifiedError, PreconditionFailedError
from appliance.model.names import check_key
from appliance.model.objects import (
    NO_CONDITIONS,
    BucketInfo,
    Conditions,
    Deleted,
    DeleteOutcome,
    DeleteTarget,
    ListPage,
    ListRequest,
    ObjectInfo,
    PutOptions,
    Versioning,
    VersionListRequest,
    VersionPage,
)
from appliance.model.ranges import ByteRange, RangeSpec
from appliance.plugin import Body, LocalFile, ObjectStream
from appliance_posix import buckets, permission, publish, registers, removal, version_listing
from appliance_posix.bucket import Bucket
from appliance_posix.copying import copied_record
from appliance_posix.finding import require
from appliance_posix.intake import Intake
from appliance_posix.keypath import locate, plain_path
from appliance_posix.listing import list_page
from appliance_posix.multipart import MultipartOperations
from appliance_posix.objects import Found
from appliance_posix.record import Record, changed, version_of
from appliance_posix.staging import Staged
from appliance_posix.streams import CHUNK_BYTES, FileStream, read_exactly

# One stay in a worker thread: a cancelled request waits for no more than these.
_DELETED_AT_ONCE = 250


class PosixBackend(MultipartOperations):
    """See `Backend`."""

    # --- buckets ---------------------------------------------------------------

    async def list_buckets(self) -> Sequence[BucketInfo]:
        return await self._run(buckets.list_all, self.volume)

    async def head_bucket(self, bucket: str) -> BucketInfo:
        return await self._run(buckets.head, self.volume, bucket, bucket=bucket)

    async def create_bucket(self, bucket: str) -> None:
        await self._run(buckets.create, self.volume, bucket, bucket=bucket)

    async def delete_bucket(self, bucket: str) -> None:
        await self._run(buckets.delete, self.volume, self.snapshots, bucket, bucket=bucket)

    async def get_versioning(self, bucket: str) -> Versioning:
        return await self._in_bucket(buckets.versioning, bucket)

    async def put_versioning(self, bucket: str, state: Versioning) -> None:
        await self._in_bucket(buckets.put_versioning, bucket, state)

    # --- reading ---------------------------------------------------------------

    async def list_objects(self, bucket: str, request: ListRequest) -> ListPage:
        self._counters["lists"] += 1
        return await self._in_bucket(list_page, bucket, self.snapshots, request)

    async def list_versions(self, bucket: str, request: VersionListRequest) -> VersionPage:
        self._counters["lists"] += 1
        return await self._in_bucket(version_listing.list_versions, bucket, self.snapshots, request)

    async def head(self, bucket: str, key: str, *, version_id: str = "") -> ObjectInfo:
        check_key(key)
        self._counters["heads"] += 1
        return await self._in_bucket(_head, bucket, key, version_id, key=key)

    def read(
        self,
        bucket: str,
        key: str,
        range: RangeSpec | None = None,  # noqa: A002
        *,
        version: str = "",
        version_id: str = "",
        conditions: Conditions = NO_CONDITIONS,
    ) -> AbstractAsyncContextManager[ObjectStream]:
        return self._read(bucket, key, range, (version, version_id), conditions)

    @asynccontextmanager
    async def _read(
        self,
        bucket: str,
        key: str,
        wanted: RangeSpec | None,
        version: tuple[str, str],
        conditions: Conditions,
    ) -> AsyncIterator[ObjectStream]:
        check_key(key)
        self._counters["reads"] += 1
        found, byte_range, first = await self._in_bucket(
            _open_for_reading, bucket, key, wanted, version, conditions, key=key
        )
        with found:
            yield FileStream(self._host, bucket, found, byte_range, first)

    async def open_local(
        self, bucket: str, key: str, *, version: str = "", version_id: str = ""
    ) -> LocalFile | None:
        check_key(key)
        self._counters["reads"] += 1
        return await self._in_bucket(_open_local, bucket, key, version, version_id, key=key)

    async def check_read(self, bucket: str, key: str, *, version_id: str = "") -> None:
        await self._in_bucket(permission.check_read, bucket, key, version_id, key=key)

    def validate_nowait(self, bucket: str, key: str, version: str) -> bool | None:
        """One or two `stat`s by path.

        Nothing is opened, and the answer is only whether inode, size, mtime and ctime are the very ones of `version`: a path that some
        symlink bends elsewhere would have to end at the same file to be taken for it.
        """
        if self._volume is None or not self._volume.features.local:
            return None
        base = self._root + b"/" + os.fsencode(bucket) + b"/"
        try:
            path = plain_path(key)
            if path is not None and version_of(os.lstat(base + path)) == version:
                return True
        except (OSError, ValueError):
            pass
        return _is_at_any_place(base, key, version)

    # --- writing ---------------------------------------------------------------

    async def put(
        self,
        bucket: str,
        key: str,
        body: Body,
        options: PutOptions,
        conditions: Conditions = NO_CONDITIONS,
    ) -> ObjectInfo:
        check_key(key)
        self._counters["puts"] += 1
        async with self._received(bucket, key, body) as intake:
            digests = await self._digests(body, intake, options.checksums)
            record = Record(
                etag=digests.md5,
                headers=options.headers,
                metadata=options.metadata,
                tags=options.tags,
                checksums=digests.checksums,
                owner=options.owner,
                acl=options.acl,
            )
            return await self._in_bucket(
                _publish_intake, bucket, key, intake, record, conditions, key=key
            )

    async def delete(
        self,
        bucket: str,
        key: str,
        conditions: Conditions = NO_CONDITIONS,
        *,
        version_id: str = "",
    ) -> Deleted:
        check_key(key)
        self._counters["deletes"] += 1
        return await self._in_bucket(removal.remove, bucket, key, conditions, version_id, key=key)

    async def delete_many(self, bucket: str, keys: Sequence[str]) -> Sequence[DeleteOutcome]:
        return await self.delete_versions(bucket, [DeleteTarget(key=key) for key in keys])

    async def delete_versions(
        self, bucket: str, targets: Sequence[DeleteTarget]
    ) -> Sequence[DeleteOutcome]:
        self._counters["deletes"] += len(targets)
        outcomes: list[DeleteOutcome] = []
        for begin in range(0, len(targets), _DELETED_AT_ONCE):
            some = targets[begin : begin + _DELETED_AT_ONCE]
            outcomes += await self._in_bucket(removal.remove_many, bucket, some)
        return outcomes

    async def copy(
        self,
        source_bucket: str,
        source_key: str,
        bucket: str,
        key: str,
        *,
        source_version: str = "",
        source_version_id: str = "",
        options: PutOptions | None = None,
        conditions: Conditions = NO_CONDITIONS,
        owner: str = "",
        acl: bytes = b"",
    ) -> ObjectInfo:
        check_key(source_key)
        check_key(key)
        self._counters["copies"] += 1
        found = await self._in_bucket(
            require, source_bucket, source_key, source_version, source_version_id, key=source_key
        )
        staged: Staged | None = None
        with found:
            try:
                staged = await self._in_bucket(Staged, bucket)
                whole = ByteRange(0, found.info.size)
                await self._copy_range(found, whole, staged, None)
                record, wanted = copied_record(found, options)
                record = changed(record, owner=owner, acl=acl)
                if wanted:
                    checksums = (await self._hash(staged, wanted)).checksums
                    record = changed(record, checksums=checksums)
                return await self._in_bucket(
                    publish.publish, bucket, key, staged, record, conditions, key=key
                )
            finally:
                await self._discard(staged)

    # --- tags --------------------------------------------------------------------

    async def get_tags(self, bucket: str, key: str, *, version_id: str = "") -> dict[str, str]:
        check_key(key)
        return await self._in_bucket(_tags, bucket, key, version_id, key=key)

    async def put_tags(
        self, bucket: str, key: str, tags: dict[str, str], *, version_id: str = ""
    ) -> ObjectInfo:
        check_key(key)
        return await self._in_bucket(publish.replace_tags, bucket, key, tags, version_id, key=key)

    async def put_acl(
        self, bucket: str, key: str, acl: bytes, *, version_id: str = ""
    ) -> ObjectInfo:
        check_key(key)
        return await self._in_bucket(publish.replace_acl, bucket, key, acl, version_id, key=key)

    # --- registers ---------------------------------------------------------------

    async def read_register(self, name: str) -> bytes | None:
        return await self._run(registers.read, self.volume, name)

    async def compare_and_swap(self, name: str, expected: bytes | None, new: bytes) -> None:
        await self._run(registers.compare_and_swap, self.volume, name, expected, new)


def _tags(bucket: Bucket, key: str, version_id: str) -> dict[str, str]:
    with require(bucket, key, version_id=version_id) as found:
        return found.record.tags if found.record else {}


def _head(bucket: Bucket, key: str, version_id: str) -> ObjectInfo:
    with require(bucket, key, version_id=version_id) as found:
        return found.info


def _open_local(bucket: Bucket, key: str, version: str, version_id: str) -> LocalFile:
    with require(bucket, key, version, version_id) as found:
        return LocalFile(found.info, found.detach())


def _open_for_reading(
    bucket: Bucket,
    key: str,
    wanted: RangeSpec | None,
    version: tuple[str, str],
    conditions: Conditions,
) -> tuple[Found, ByteRange, bytes]:
    """The object, what to send of it, and the first bytes of that: a small object is read in this one call."""
    found = require(bucket, key, *version)
    try:
        try:
            conditions.check_read(found.info)
        except (NotModifiedError, PreconditionFailedError) as error:
            error.bucket = bucket.name
            raise
        size = found.info.size
        byte_range = wanted.resolve(size) if wanted is not None else ByteRange(0, size)
        first = read_exactly(found, byte_range.offset, min(CHUNK_BYTES, byte_range.length))
        return found, byte_range, first
    except BaseException:
        found.close()
        raise


def _publish_intake(
    bucket: Bucket, key: str, intake: Intake, record: Record, conditions: Conditions
) -> ObjectInfo:
    try:
        return publish.publish(bucket, key, intake.into(bucket), record, conditions)
    finally:
        intake.discard()


def _is_at_any_place(base: bytes, key: str, version: str) -> bool | None:
    for place in locate(key).places():
        try:
            if version_of(os.lstat(base + place.path)) == version:
                return True
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError):
            return None  # a path too long for one call, for example: ask again the long way
    return False
