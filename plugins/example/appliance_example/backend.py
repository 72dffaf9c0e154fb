"""A complete backend in memory: every rule of the contract in its shortest form. docs/PLUGINS.md walks through it.

One idea carries it: trio switches tasks only at an `await`, so whatever lies between two of them is atomic. Every method first waits (for a
body, or once, so that cancellation is noticed), then looks, decides and changes in one go.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

import msgspec
import trio

from appliance.model import checksums
from appliance.model.errors import (
    BucketExistsError,
    BucketNotEmptyError,
    InvalidArgumentError,
    NoSuchBucketError,
    NoSuchKeyError,
    NoSuchUploadError,
    RegisterConflictError,
    StorageFullError,
    VersionChangedError,
)
from appliance.model.names import check_key, check_new_bucket_name, key_bytes
from appliance.model.objects import (
    NO_CONDITIONS,
    BucketInfo,
    CompletedPart,
    Conditions,
    ListPage,
    ListRequest,
    ObjectInfo,
    PartInfo,
    PartPage,
    PutOptions,
    UploadInfo,
    UploadPage,
)
from appliance.model.ranges import ByteRange, RangeSpec
from appliance.plugin import (
    Backend,
    BackendConfig,
    Body,
    BytesBody,
    Capabilities,
    ChecksummedBody,
    Digests,
    ObjectStream,
)
from appliance_example.listing import list_page, upload_page
from appliance_example.multipart import (
    assembled,
    check_options,
    check_part_number,
    chosen_parts,
)
from appliance_example.store import Store, StoredBucket, StoredObject, StoredPart, StoredUpload

CHUNK_BYTES = 1 << 20
REGISTER_BYTES_MAX = 64 << 10


class MemoryStream(ObjectStream):
    """A range of a version's bytes, a chunk at a time. It holds the bytes, so a later put does not disturb it."""

    def __init__(self, stored: StoredObject, byte_range: ByteRange) -> None:
        self.info = stored.info
        self.range = byte_range
        self._data = stored.data
        self._offset = byte_range.offset

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        if self._offset == self.range.end:
            raise StopAsyncIteration
        begin, self._offset = self._offset, min(self._offset + CHUNK_BYTES, self.range.end)
        return self._data[begin : self._offset]


class MemoryBackend(Backend):
    """Buckets in a `Store`. `max_bytes` bounds what it keeps; None is no bound."""

    capabilities = Capabilities(
        cheap_validation=True,
        conditional_put=True,
        conditional_delete=True,
        server_side_copy=True,
        tagging=True,
        compare_and_swap=True,
        checksums=frozenset(checksums.ALGORITHMS),
    )

    def __init__(
        self, config: BackendConfig, *, store: Store | None = None, max_bytes: int | None = None
    ) -> None:
        self.name = config.name
        self._host = config.host
        self.store = store or Store()
        self._max_bytes = max_bytes
        # Version tokens must not come back after a restart, when a cache on disk may remember old ones.
        self._run = config.host.token_bytes(8).hex()

    def statistics(self) -> dict[str, float]:
        buckets = self.store.buckets.values()
        return {
            "objects": sum(len(bucket.objects) for bucket in buckets),
            "uploads": sum(len(bucket.uploads) for bucket in buckets),
            "used_bytes": sum(bucket.used_bytes() for bucket in buckets),
        }

    # --- buckets ---------------------------------------------------------------

    async def list_buckets(self) -> Sequence[BucketInfo]:
        await trio.lowlevel.checkpoint()
        return [bucket.info for _, bucket in sorted(self.store.buckets.items())]

    async def head_bucket(self, bucket: str) -> BucketInfo:
        await trio.lowlevel.checkpoint()
        return self._bucket(bucket).info

    async def create_bucket(self, bucket: str) -> None:
        await trio.lowlevel.checkpoint()
        check_new_bucket_name(bucket)
        if bucket in self.store.buckets:
            raise BucketExistsError(bucket=bucket)
        info = BucketInfo(name=bucket, created_ns=self._host.now_ns())
        self.store.buckets[bucket] = StoredBucket(info=info)

    async def delete_bucket(self, bucket: str) -> None:
        await trio.lowlevel.checkpoint()
        if self._bucket(bucket).objects:
            raise BucketNotEmptyError(bucket=bucket)
        del self.store.buckets[bucket]

    # --- reading ---------------------------------------------------------------

    async def list_objects(self, bucket: str, request: ListRequest) -> ListPage:
        await trio.lowlevel.checkpoint()
        objects = self._bucket(bucket).objects
        return list_page((objects[key].info for key in sorted(objects, key=key_bytes)), request)

    async def head(self, bucket: str, key: str, *, version_id: str = "") -> ObjectInfo:
        await trio.lowlevel.checkpoint()
        return self._object(bucket, key).info

    @asynccontextmanager
    async def read(
        self,
        bucket: str,
        key: str,
        range: RangeSpec | None = None,  # noqa: A002  # the contract's name
        *,
        version: str = "",
        version_id: str = "",
        conditions: Conditions = NO_CONDITIONS,
    ) -> AsyncIterator[ObjectStream]:
        await trio.lowlevel.checkpoint()
        stored = self._object(bucket, key, version)
        conditions.check_read(stored.info)
        size = stored.info.size
        yield MemoryStream(stored, range.resolve(size) if range else ByteRange(0, size))

    def validate_nowait(self, bucket: str, key: str, version: str) -> bool | None:
        stored_bucket = self.store.buckets.get(bucket)
        stored = stored_bucket.objects.get(key) if stored_bucket else None
        return stored is not None and stored.info.version == version

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
        self._bucket(bucket)
        data, digests = await self._take(body, options.checksums)
        info = _simple(key, len(data), digests, options)
        return self._publish(bucket, info, data, options.tags, conditions)

    async def delete(
        self,
        bucket: str,
        key: str,
        conditions: Conditions = NO_CONDITIONS,
        *,
        version_id: str = "",
    ) -> None:
        await trio.lowlevel.checkpoint()
        objects = self._bucket(bucket).objects
        stored = objects.get(key)
        if stored is None and not conditions.if_match:
            return
        _check_conditions(stored, conditions, bucket, key)
        del objects[key]

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
        await trio.lowlevel.checkpoint()
        check_key(key)
        source = self._object(source_bucket, source_key, source_version)
        if options is None:
            options = PutOptions(
                headers=source.info.headers,
                metadata=source.info.metadata,
                tags=source.tags,
                checksums=tuple(source.info.checksums),
            )
        self._check_room(len(source.data))
        digests = BytesBody(source.data, options.checksums).digests()
        info = _simple(key, len(source.data), digests, options)
        return self._publish(bucket, info, source.data, options.tags, conditions)

    # --- tags --------------------------------------------------------------------

    async def get_tags(self, bucket: str, key: str, *, version_id: str = "") -> dict[str, str]:
        await trio.lowlevel.checkpoint()
        return dict(self._object(bucket, key).tags)

    async def put_tags(
        self, bucket: str, key: str, tags: dict[str, str], *, version_id: str = ""
    ) -> ObjectInfo:
        await trio.lowlevel.checkpoint()
        stored = self._object(bucket, key)
        info = msgspec.structs.replace(
            stored.info, tag_count=len(tags), version=self._next_version()
        )
        self._bucket(bucket).objects[key] = StoredObject(info, stored.data, dict(tags))
        return info

    # --- multipart uploads ---------------------------------------------------------

    async def create_upload(self, bucket: str, key: str, options: PutOptions) -> UploadInfo:
        await trio.lowlevel.checkpoint()
        check_key(key)
        check_options(options)
        uploads = self._bucket(bucket).uploads
        info = UploadInfo(
            key=key,
            upload_id=self._next_upload_id(),
            initiated_ns=self._host.now_ns(),
            checksums=options.checksums,
            checksum_type=options.checksum_type,
            storage_class=options.headers.get("x-amz-storage-class", ""),
        )
        uploads[info.upload_id] = StoredUpload(info, options)
        return info

    async def put_part(
        self, bucket: str, key: str, upload_id: str, number: int, body: Body
    ) -> PartInfo:
        check_part_number(number)
        upload = self._upload(bucket, key, upload_id)
        data, digests = await self._take(body, upload.options.checksums)
        return self._store_part(bucket, key, upload_id, number, data, digests)

    async def copy_part(
        self,
        source_bucket: str,
        source_key: str,
        bucket: str,
        key: str,
        upload_id: str,
        number: int,
        *,
        range: ByteRange | None = None,  # noqa: A002  # the contract's name
        source_version: str = "",
        source_version_id: str = "",
    ) -> PartInfo:
        await trio.lowlevel.checkpoint()
        check_part_number(number)
        upload = self._upload(bucket, key, upload_id)
        data = self._object(source_bucket, source_key, source_version).data
        if range is not None:
            if range.end > len(data):
                raise InvalidArgumentError(
                    f"The range ends at byte {range.end} of {len(data)} in the source.",
                    bucket=source_bucket,
                    key=source_key,
                )
            data = data[range.offset : range.end]
        self._check_room(len(data))
        digests = BytesBody(data, upload.options.checksums).digests()
        return self._store_part(bucket, key, upload_id, number, data, digests)

    async def list_parts(
        self, bucket: str, key: str, upload_id: str, *, after: int = 0, limit: int = 1000
    ) -> PartPage:
        await trio.lowlevel.checkpoint()
        upload = self._upload(bucket, key, upload_id)
        parts = [part.info for number, part in sorted(upload.parts.items()) if number > after]
        page = tuple(parts[:limit])
        more = bool(page) and len(parts) > limit
        return PartPage(upload=upload.info, parts=page, next_marker=page[-1].number if more else 0)

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
        await trio.lowlevel.checkpoint()
        uploads = [upload.info for upload in self._bucket(bucket).uploads.values()]
        uploads.sort(key=lambda info: (key_bytes(info.key), info.upload_id))
        return upload_page(
            uploads,
            prefix=prefix,
            delimiter=delimiter,
            key_marker=key_marker,
            upload_id_marker=upload_id_marker,
            limit=limit,
        )

    async def complete_upload(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        parts: Sequence[CompletedPart],
        conditions: Conditions = NO_CONDITIONS,
    ) -> ObjectInfo:
        await trio.lowlevel.checkpoint()
        upload = self._upload(bucket, key, upload_id)
        stored = chosen_parts(upload, parts)
        data = b"".join(part.data for part in stored)
        info = assembled(upload, [part.info for part in stored])
        published = self._publish(bucket, info, data, upload.options.tags, conditions)
        del self._bucket(bucket).uploads[upload_id]
        return published

    async def abort_upload(self, bucket: str, key: str, upload_id: str) -> None:
        await trio.lowlevel.checkpoint()
        self._upload(bucket, key, upload_id)
        del self._bucket(bucket).uploads[upload_id]

    # --- registers -----------------------------------------------------------------

    async def read_register(self, name: str) -> bytes | None:
        await trio.lowlevel.checkpoint()
        return self.store.registers.get(name)

    async def compare_and_swap(self, name: str, expected: bytes | None, new: bytes) -> None:
        await trio.lowlevel.checkpoint()
        if len(new) > REGISTER_BYTES_MAX:
            raise InvalidArgumentError(f"Register {name} takes at most {REGISTER_BYTES_MAX} bytes.")
        actual = self.store.registers.get(name)
        if actual != expected:
            raise RegisterConflictError(actual=actual)
        self.store.registers[name] = new

    # --- looking up, and publishing: no await below this line, so all of it is atomic --------------------------------

    def _bucket(self, bucket: str) -> StoredBucket:
        try:
            return self.store.buckets[bucket]
        except KeyError:
            raise NoSuchBucketError(bucket=bucket) from None

    def _object(self, bucket: str, key: str, version: str = "") -> StoredObject:
        stored = self._bucket(bucket).objects.get(key)
        if stored is None:
            raise NoSuchKeyError(bucket=bucket, key=key)
        if version and stored.info.version != version:
            raise VersionChangedError(bucket=bucket, key=key)
        return stored

    def _upload(self, bucket: str, key: str, upload_id: str) -> StoredUpload:
        upload = self._bucket(bucket).uploads.get(upload_id)
        if upload is None or upload.info.key != key:
            raise NoSuchUploadError(bucket=bucket, key=key)
        return upload

    def _publish(
        self,
        bucket: str,
        info: ObjectInfo,
        data: bytes,
        tags: dict[str, str],
        conditions: Conditions,
    ) -> ObjectInfo:
        """Make `data` the object, unless the conditions forbid it. The bucket is looked up anew: it may have gone while the body came."""
        objects = self._bucket(bucket).objects
        _check_conditions(objects.get(info.key), conditions, bucket, info.key)
        published = msgspec.structs.replace(
            info,
            version=self._next_version(),
            modified_ns=self._host.now_ns(),
            tag_count=len(tags),
        )
        objects[info.key] = StoredObject(published, data, dict(tags))
        return published

    def _store_part(
        self, bucket: str, key: str, upload_id: str, number: int, data: bytes, digests: Digests
    ) -> PartInfo:
        upload = self._upload(bucket, key, upload_id)  # it may have gone while the body came
        info = PartInfo(
            number=number,
            size=len(data),
            etag=digests.md5,
            modified_ns=self._host.now_ns(),
            checksums=digests.checksums,
        )
        upload.parts[number] = StoredPart(info, data)
        return info

    def _next_version(self) -> str:
        self.store.changes += 1
        return f"{self._run}-{self.store.changes}"

    def _next_upload_id(self) -> str:
        """Unguessable, and in order of initiation, so that ids can be compared with a marker."""
        self.store.changes += 1
        return f"{self.store.changes:016x}{self._host.token_bytes(16).hex()}"

    def _check_room(self, more_bytes: int) -> None:
        if self._max_bytes is None:
            return
        if self.statistics()["used_bytes"] + more_bytes > self._max_bytes:
            raise StorageFullError(f"The backend {self.name} keeps {self._max_bytes} bytes.")

    async def _take(self, body: Body, algorithms: Iterable[str]) -> tuple[bytes, Digests]:
        """All of a body. A chunk is valid only until the next one is asked for, so each is copied."""
        body = ChecksummedBody(body, algorithms)
        taken = bytearray()
        async for chunk in body:
            taken += chunk
            self._check_room(len(taken))
        await trio.lowlevel.checkpoint()
        return bytes(taken), body.digests()


def _simple(key: str, size: int, digests: Digests, options: PutOptions) -> ObjectInfo:
    """An object that was not made of parts; `_publish` gives it a version and a time."""
    return ObjectInfo(
        key=key,
        size=size,
        etag=digests.md5,
        version="",
        modified_ns=0,
        headers=options.headers,
        metadata=options.metadata,
        checksums=digests.checksums,
    )


def _check_conditions(
    current: StoredObject | None, conditions: Conditions, bucket: str, key: str
) -> None:
    if current is None and conditions.if_match:
        raise NoSuchKeyError(bucket=bucket, key=key)  # S3 answers 404, not 412, here
    conditions.check_write(current.info if current else None)
