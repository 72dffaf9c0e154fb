"""The POSIX backend: buckets are directories, objects plain files. Here, only what is async: each operation is one call into a thread."""

from __future__ import annotations

import functools
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

import trio

from appliance.model.checksums import ALGORITHMS
from appliance.model.errors import (
    BackendUnavailableError,
    NotModifiedError,
    PreconditionFailedError,
)
from appliance.model.names import check_key
from appliance.model.objects import (
    NO_CONDITIONS,
    BucketInfo,
    Conditions,
    ListPage,
    ListRequest,
    ObjectInfo,
    PutOptions,
)
from appliance.model.ranges import ByteRange, RangeSpec
from appliance.plugin import (
    Backend,
    BackendConfig,
    Body,
    Capabilities,
    LocalFile,
    ObjectStream,
)
from appliance_posix import buckets, publish
from appliance_posix.bucket import Bucket
from appliance_posix.config import Options
from appliance_posix.errnos import domain_error
from appliance_posix.intake import Intake, receive
from appliance_posix.keypath import locate, plain_path
from appliance_posix.listing import list_page
from appliance_posix.objects import Found, require
from appliance_posix.record import Record, version_of
from appliance_posix.snapshot import Snapshots
from appliance_posix.streams import CHUNK_BYTES, FileStream, read_exactly
from appliance_posix.volume import Volume, open_volume

T = TypeVar("T")


class PosixBackend(Backend):
    """See `Backend`. Everything blocking is in the other modules, and knows no trio."""

    def __init__(self, config: BackendConfig, options: Options) -> None:
        self.name = config.name
        self._host = config.host
        self._options = options
        self._root = os.fsencode(options.root)
        self._volume: Volume | None = None
        self._snapshots: Snapshots | None = None
        # Device of each bucket last seen, if stat there is known not to wait for another machine.
        self._local_buckets: set[str] = set()
        self._counters = dict.fromkeys(
            ("puts", "reads", "heads", "deletes", "lists", "copies"), 0.0
        )
        self.capabilities = Capabilities(
            local_files=True,
            cheap_validation=True,
            conditional_put=True,
            conditional_delete=True,
            server_side_copy=True,
            tagging=True,
            compare_and_swap=True,
            checksums=frozenset(ALGORITHMS),
        )

    # --- life ----------------------------------------------------------------

    async def start(self) -> None:
        volume = await self._host.run_blocking(
            open_volume,
            self._root,
            self._host,
            self._options.metadata,
            openat2=self._options.openat2,
        )
        self._volume = volume
        self._snapshots = Snapshots(volume)
        for sentence in volume.features.degradations():
            self._host.logger.info(
                "backend %s on %s: %s", self.name, volume.features.kind, sentence
            )

    async def stop(self) -> None:
        volume, self._volume = self._volume, None
        if volume is not None:
            volume.close()

    async def probe(self) -> None:
        await self._run(os.fstat, self.volume.root_fd)

    @property
    def volume(self) -> Volume:
        """The open root; only between `start` and `stop`."""
        if self._volume is None:
            raise BackendUnavailableError(f"The backend {self.name} is not started.")
        return self._volume

    @property
    def snapshots(self) -> Snapshots:
        """Directories known to listings."""
        if self._snapshots is None:
            raise BackendUnavailableError(f"The backend {self.name} is not started.")
        return self._snapshots

    def statistics(self) -> dict[str, float]:
        directories = self._snapshots.statistics() if self._snapshots else {}
        return {**self._counters, **directories}

    async def _run(
        self, function: Callable[..., T], *args: Any, bucket: str = "", key: str = "", **kwargs: Any
    ) -> T:
        """Run in a thread; no OSError comes out."""
        try:
            return await self._host.run_blocking(function, *args, **kwargs)
        except OSError as error:
            raise domain_error(error, bucket, key) from error

    async def _in_bucket(
        self, function: Callable[..., T], bucket: str, *args: Any, key: str = "", **kwargs: Any
    ) -> T:
        """Run `function(opened bucket, ...)` in a thread."""
        call = functools.partial(_with_bucket, self.volume, bucket, function)
        return await self._run(call, *args, bucket=bucket, key=key, **kwargs)

    # --- buckets ---------------------------------------------------------------

    async def list_buckets(self) -> Sequence[BucketInfo]:
        return await self._run(buckets.list_all, self.volume)

    async def head_bucket(self, bucket: str) -> BucketInfo:
        return await self._run(buckets.head, self.volume, bucket, bucket=bucket)

    async def create_bucket(self, bucket: str) -> None:
        await self._run(buckets.create, self.volume, bucket, bucket=bucket)

    async def delete_bucket(self, bucket: str) -> None:
        await self._run(buckets.delete, self.volume, self.snapshots, bucket, bucket=bucket)

    # --- reading ---------------------------------------------------------------

    async def list_objects(self, bucket: str, request: ListRequest) -> ListPage:
        self._counters["lists"] += 1
        return await self._in_bucket(list_page, bucket, self.snapshots, request)

    async def head(self, bucket: str, key: str) -> ObjectInfo:
        check_key(key)
        self._counters["heads"] += 1
        return await self._in_bucket(_head, bucket, key, key=key)

    def read(
        self,
        bucket: str,
        key: str,
        range: RangeSpec | None = None,  # noqa: A002
        *,
        version: str = "",
        conditions: Conditions = NO_CONDITIONS,
    ) -> AbstractAsyncContextManager[ObjectStream]:
        return self._read(bucket, key, range, version, conditions)

    @asynccontextmanager
    async def _read(
        self,
        bucket: str,
        key: str,
        wanted: RangeSpec | None,
        version: str,
        conditions: Conditions,
    ) -> AsyncIterator[ObjectStream]:
        check_key(key)
        self._counters["reads"] += 1
        found, byte_range, first = await self._in_bucket(
            _open_for_reading, bucket, key, wanted, version, conditions, key=key
        )
        with found:
            yield FileStream(self._host, bucket, found, byte_range, first)

    async def open_local(self, bucket: str, key: str, *, version: str = "") -> LocalFile | None:
        check_key(key)
        self._counters["reads"] += 1
        return await self._in_bucket(_open_local, bucket, key, version, key=key)

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
        intake = Intake()
        try:
            try:
                await receive(self._host, self.volume, bucket, body, intake)
            except OSError as error:
                raise domain_error(error, bucket, key) from error
            digests = body.digests()
            record = Record(
                etag=digests.md5,
                headers=options.headers,
                metadata=options.metadata,
                tags=options.tags,
                checksums=digests.checksums,
            )
            return await self._in_bucket(
                _publish_intake, bucket, key, intake, record, conditions, key=key
            )
        finally:
            if intake.staged is not None:
                with trio.CancelScope(shield=True):
                    await self._host.run_blocking(intake.discard)

    async def delete(self, bucket: str, key: str, conditions: Conditions = NO_CONDITIONS) -> None:
        check_key(key)
        self._counters["deletes"] += 1
        await self._in_bucket(publish.remove, bucket, key, conditions, key=key)

    async def copy(self, *args, **kwargs):
        raise NotImplementedError

    async def create_upload(self, *args, **kwargs):
        raise NotImplementedError

    async def put_part(self, *args, **kwargs):
        raise NotImplementedError

    async def copy_part(self, *args, **kwargs):
        raise NotImplementedError

    async def list_parts(self, *args, **kwargs):
        raise NotImplementedError

    async def list_uploads(self, *args, **kwargs):
        raise NotImplementedError

    async def complete_upload(self, *args, **kwargs):
        raise NotImplementedError

    async def abort_upload(self, *args, **kwargs):
        raise NotImplementedError


def _with_bucket(
    volume: Volume, name: str, function: Callable[..., T], *args: Any, **kwargs: Any
) -> T:
    with Bucket(volume, name) as bucket:
        return function(bucket, *args, **kwargs)


def _head(bucket: Bucket, key: str) -> ObjectInfo:
    with require(bucket, key, locate(key)) as found:
        return found.info


def _open_local(bucket: Bucket, key: str, version: str) -> LocalFile:
    with require(bucket, key, locate(key), version) as found:
        return LocalFile(found.info, found.detach())


def _open_for_reading(
    bucket: Bucket, key: str, wanted: RangeSpec | None, version: str, conditions: Conditions
) -> tuple[Found, ByteRange, bytes]:
    """The object, what to send of it, and the first bytes of that: a small object is read in this one call."""
    found = require(bucket, key, locate(key), version)
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
