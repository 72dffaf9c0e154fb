"""`Backend`: what lies behind the cache, as the data path calls it.

A backend is the truth. Whatever it acknowledges is durable, visible to every other user of the same storage, and whole. It raises the
errors of `appliance.model.errors` and nothing else; anything else that escapes is a bug and answered as an internal error.

Methods are called concurrently from one trio event loop. Blocking work goes through `Host.run_blocking`. Cancellation may arrive at any
`await`; what was not acknowledged then must not be half visible. `appliance.plugin.check` checks all of this; run it on yours.

Where a method takes `version_id`, "" is the current version, and it raises NoSuchVersionError for one that this key has not (whatever is
in it: ids come from clients), and DeleteMarkerError for a delete marker. A key whose newest version is a delete marker has no current
version: DeletedKeyError, a NoSuchKeyError.
"""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, ParamSpec, Protocol, TypeVar

import msgspec

from appliance.model.errors import ApplianceError, UnsupportedError
from appliance.model.objects import (
    DELETED,
    NO_CONDITIONS,
    BucketInfo,
    CompletedPart,
    Conditions,
    Deleted,
    DeleteOutcome,
    DeleteTarget,
    ListPage,
    ListRequest,
    ObjectInfo,
    ObjectPart,
    PartInfo,
    PartPage,
    PutOptions,
    UploadInfo,
    UploadPage,
    Versioning,
    VersionListRequest,
    VersionPage,
)
from appliance.model.ranges import ByteRange, RangeSpec
from appliance.plugin.body import Body
from appliance.plugin.forwarding import ForwardAnswer, ForwardRequest
from appliance.plugin.unversioned import null_versions

P = ParamSpec("P")
T = TypeVar("T")


class Host(Protocol):
    """What the appliance offers to a plugin."""

    logger: logging.Logger

    def now_ns(self) -> int:
        """Wall time, nanoseconds since the Unix epoch."""
        ...

    def boot_s(self) -> float:
        """CLOCK_BOOTTIME in seconds: for durations and timeouts."""
        ...

    def token_bytes(self, size: int) -> bytes:
        """Unpredictable bytes."""
        ...

    def random(self) -> float:
        """A number in [0, 1), for jitter."""
        ...

    async def run_blocking(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking function in a bounded pool of threads. Cancellation waits for the function to return: bound its time."""
        ...


class BackendConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the configuration says about one backend. `options` is its TOML table less what the appliance itself interprets.

    Secrets arrive in `options` and never in the URL.
    """

    name: str
    host: Host
    options: dict[str, Any] = {}


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a backend can do; what it cannot, the appliance does without or refuses with a clear error."""

    local_files: bool = False  # open_local works: its bytes are not copied into the cache
    cheap_validation: bool = (
        False  # head costs about as much as stat(2): validate on each use by default
    )
    conditional_put: bool = (
        False  # put and complete_upload honour Conditions atomically against other writers
    )
    conditional_delete: bool = False
    server_side_copy: bool = False
    tagging: bool = False
    compare_and_swap: bool = False
    # put_versioning works. A backend without it is never asked for a version by id, nor for anything else of versions but get_versioning
    # and list_versions, which need not be overridden.
    versioning: bool = False
    acls: bool = (
        False  # owner and acl of PutOptions and put_acl are kept and given back in ObjectInfo
    )
    # Files are touched as `appliance.plugin.CALLER`, where there is one: what it makes is its own, and what it may not do in the storage
    # raises AccessDeniedError. Only `read`, `open_local`, `head` and `part` are for all callers at once: `check_read` is asked before.
    callers: bool = False
    forwarding: bool = False  # forward works: this backend speaks S3 to an upstream
    # Algorithms whose values the backend keeps and gives back in ObjectInfo.checksums.
    checksums: frozenset[str] = frozenset()


class LocalFile:
    """An open descriptor on a whole object in a local file. Whoever holds it closes it."""

    __slots__ = ("fd", "info")

    def __init__(self, info: ObjectInfo, fd: int) -> None:
        self.info = info
        self.fd = fd

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class ObjectStream(ABC):
    """Bytes of one version on their way out: exactly `range.length` of them, or an error."""

    info: ObjectInfo
    range: ByteRange

    @abstractmethod
    def __aiter__(self) -> AsyncIterator[bytes]:
        """Chunks, none empty, of at most about 1 MiB. Raises BackendUnavailableError rather than end early."""

    async def drain(self, write: Callable[[memoryview], bool]) -> bool:
        """The faster way to the bytes, in place of iterating, for streams that have one; the others return False at once (as here).

        `write` is called in a worker thread with one piece after the other, each valid during that call, until it returns False or
        all bytes are written; then this returns True. Called again, it goes on with the next piece. `write` does not raise.
        """
        return False


class Backend(ABC):
    """One storage with buckets in it. `name` is its name in the configuration, for logs, metrics and errors."""

    name: str
    capabilities: Capabilities

    # --- life ----------------------------------------------------------------

    async def start(self) -> None:
        """Check that the storage is there and usable; raise ConfigError or BackendUnavailableError with a sentence if not."""

    async def stop(self) -> None:
        """Release what `start` took. Nothing is called afterwards."""

    async def probe(self) -> None:
        """Raise unless the storage answers now (for /readyz). Cheap."""
        await self.list_buckets()

    def local_root(self) -> str | None:
        """The directory (absolute) whose content this backend serves, if there is one: the appliance keeps its own files out of it."""
        return None

    async def maintain(self) -> None:
        """Periodic work, such as reaping abandoned uploads: called after `start` and then about every hour."""

    def statistics(self) -> dict[str, float]:
        """Counters and gauges, for metrics and tests."""
        return {}

    # --- buckets ---------------------------------------------------------------

    @abstractmethod
    async def list_buckets(self) -> Sequence[BucketInfo]:
        """All buckets, ordered by name."""

    @abstractmethod
    async def head_bucket(self, bucket: str) -> BucketInfo:
        """Raises NoSuchBucketError."""

    @abstractmethod
    async def create_bucket(self, bucket: str) -> None:
        """Raises BucketExistsError, InvalidBucketNameError."""

    @abstractmethod
    async def delete_bucket(self, bucket: str) -> None:
        """Raises NoSuchBucketError, BucketNotEmptyError. Uploads in progress do not keep a bucket alive; versions and delete markers do."""

    async def get_versioning(self, bucket: str) -> Versioning:
        """The bucket's versioning state, as every user of the same storage sees it. Raises NoSuchBucketError."""
        await self.head_bucket(bucket)
        return Versioning.OFF

    async def put_versioning(self, bucket: str, state: Versioning) -> None:
        """Enable or suspend versioning, durably; writes that begin later follow it. `state` is not OFF.

        Raises NoSuchBucketError; UnsupportedError without `Capabilities.versioning`.
        """
        raise UnsupportedError(f"The backend {self.name} has no versions.", bucket=bucket)

    # --- reading ---------------------------------------------------------------

    @abstractmethod
    async def list_objects(self, bucket: str, request: ListRequest) -> ListPage:
        """One page in S3 order. Sees every write acknowledged before it began. Raises NoSuchBucketError, InvalidArgumentError (token)."""

    async def list_versions(self, bucket: str, request: VersionListRequest) -> VersionPage:
        """One page of all versions and delete markers. Sees every write acknowledged before it began.

        Raises NoSuchBucketError, InvalidArgumentError (a version id marker that cannot be one). Without versions each object is its one
        version, `NULL_VERSION`.
        """
        return await null_versions(self, bucket, request)

    @abstractmethod
    async def head(self, bucket: str, key: str, *, version_id: str = "") -> ObjectInfo:
        """All that is known about an object. Raises NoSuchBucketError, NoSuchKeyError."""

    @abstractmethod
    def read(
        self,
        bucket: str,
        key: str,
        range: RangeSpec | None = None,  # noqa: A002  # the field's own word
        *,
        version: str = "",
        version_id: str = "",
        conditions: Conditions = NO_CONDITIONS,
    ) -> AbstractAsyncContextManager[ObjectStream]:
        """Stream an object, or a range of it; the stream's `info` and `range` are known on entry.

        With `version`, raises VersionChangedError unless the object still is that version. Raises NoSuchBucketError, NoSuchKeyError,
        InvalidRangeError, NotModifiedError and PreconditionFailedError on entry.
        """

    async def part(
        self, bucket: str, key: str, number: int, *, version: str = "", version_id: str = ""
    ) -> ObjectPart:
        """Where part `number` (from 1) lies in an object uploaded in parts; asked only where `ObjectInfo.part_sizes` does not tell.

        `version` as in `read`. Raises UnsupportedError where nobody knows.
        """
        raise UnsupportedError(
            f"The backend {self.name} does not know where the parts of its objects lie.",
            bucket=bucket,
            key=key,
        )

    async def open_local(
        self, bucket: str, key: str, *, version: str = "", version_id: str = ""
    ) -> LocalFile | None:
        """The object as an open file, if this backend keeps objects in local files (`Capabilities.local_files`); errors as `read`."""
        return None

    def validate_nowait(self, bucket: str, key: str, version: str) -> bool | None:
        """Whether the object still is `version`, if that can be told at once, without blocking; else None. Never raises."""
        return None

    async def check_read(self, bucket: str, key: str, *, version_id: str = "") -> None:
        """Raise AccessDeniedError if `CALLER` may not read this object, cached or not (`Capabilities.callers`).

        Asked before every use of an object, hits included. Nothing is wrong with what is not there.
        """

    # --- writing ---------------------------------------------------------------

    @abstractmethod
    async def put(
        self,
        bucket: str,
        key: str,
        body: Body,
        options: PutOptions,
        conditions: Conditions = NO_CONDITIONS,
    ) -> ObjectInfo:
        """Store an object: durable and whole when this returns, unchanged if it raises.

        Its ETag is the MD5 of its bytes. Only `if_match` and `if_none_match` of the conditions count; they are checked atomically with
        publishing (`Capabilities.conditional_put`); a delete marker counts as nothing there. Where versioning is enabled the old version
        stays under its id, and the new one gets another; where it is suspended the new one replaces the null version, if there is one.

        Raises NoSuchBucketError, PreconditionFailedError, NoSuchKeyError (`if_match` on nothing), StorageFullError, and whatever iterating
        `body` raises.
        """

    @abstractmethod
    async def delete(
        self,
        bucket: str,
        key: str,
        conditions: Conditions = NO_CONDITIONS,
        *,
        version_id: str = "",
    ) -> Deleted | None:
        """Delete an object; not an error if there is none. Raises NoSuchBucketError, PreconditionFailedError.

        With versions: without `version_id` put a delete marker on top (in a suspended bucket in place of the null version); with it remove
        that version, or that marker, for good, so that the next newest becomes current. Conditions are about the version that is to be
        removed. None says what `DELETED` does.
        """

    async def delete_many(self, bucket: str, keys: Sequence[str]) -> Sequence[DeleteOutcome]:
        """Delete up to 1,000 objects; one outcome a key, in order. Override where the storage has a faster way."""
        return [await self._outcome(bucket, DeleteTarget(key=key)) for key in keys]

    async def delete_versions(
        self, bucket: str, targets: Sequence[DeleteTarget]
    ) -> Sequence[DeleteOutcome]:
        """As `delete_many`, where some name a version. Only with `Capabilities.versioning`."""
        return [await self._outcome(bucket, target) for target in targets]

    async def _outcome(self, bucket: str, target: DeleteTarget) -> DeleteOutcome:
        key, version_id = target.key, target.version_id
        try:
            if version_id:
                deleted = await self.delete(bucket, key, version_id=version_id)
            else:
                deleted = await self.delete(bucket, key)
        except ApplianceError as error:
            return DeleteOutcome(key=key, version_id=version_id, error=error)
        return DeleteOutcome(key=key, version_id=version_id, deleted=deleted or DELETED)

    @abstractmethod
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
        """Copy an object within this backend, without its bytes passing through the appliance where `server_side_copy`.

        `options=None` copies headers, metadata, tags and checksums too; otherwise they are replaced. The new ETag is the MD5 of the bytes
        where it can be had without reading them (a simple source keeps its ETag), else a multipart-like one. `source_version` as
        `version` in `read`. Copying onto itself with options changes the metadata. The copy's owner and ACL are `owner` and `acl`, whatever
        the source has and `options` say.
        """

    # --- tags and access control lists ---------------------------------------------

    async def get_tags(self, bucket: str, key: str, *, version_id: str = "") -> dict[str, str]:
        """Tags of an object, {} if none. Raises NoSuchKeyError; UnsupportedError without `Capabilities.tagging`."""
        raise UnsupportedError(
            f"The backend {self.name} has no object tags.", bucket=bucket, key=key
        )

    async def put_tags(
        self, bucket: str, key: str, tags: dict[str, str], *, version_id: str = ""
    ) -> ObjectInfo:
        """Replace all tags of an object ({}: remove them). The object's bytes, ETag, times and version id stay; its version may change."""
        raise UnsupportedError(
            f"The backend {self.name} has no object tags.", bucket=bucket, key=key
        )

    async def put_acl(
        self, bucket: str, key: str, acl: bytes, *, version_id: str = ""
    ) -> ObjectInfo:
        """Replace the ACL of an object; all else as `put_tags`. UnsupportedError without `Capabilities.acls`."""
        raise UnsupportedError(
            f"The backend {self.name} keeps no access control lists.", bucket=bucket, key=key
        )

    # --- multipart uploads: their state lives in the backend, so any node can go on with any upload -----------------

    @abstractmethod
    async def create_upload(self, bucket: str, key: str, options: PutOptions) -> UploadInfo:
        """Begin an upload. Upload ids are unguessable; a forged one is NoSuchUploadError, whatever is in it."""

    @abstractmethod
    async def put_part(
        self, bucket: str, key: str, upload_id: str, number: int, body: Body
    ) -> PartInfo:
        """Store part `number` (1 to 10,000), replacing an earlier one. Its ETag is the MD5 of its bytes. Raises NoSuchUploadError.

        The upload may be completed or aborted meanwhile, and the same part may arrive twice at once: the last to finish wins, whole.
        """

    @abstractmethod
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
        """Store a part from (a range of) an object of this backend."""

    @abstractmethod
    async def list_parts(
        self, bucket: str, key: str, upload_id: str, *, after: int = 0, limit: int = 1000
    ) -> PartPage:
        """Parts with numbers above `after`, ordered."""

    @abstractmethod
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
        """Uploads in progress, after the markers as in S3's ListMultipartUploads."""

    @abstractmethod
    async def complete_upload(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        parts: Sequence[CompletedPart],
        conditions: Conditions = NO_CONDITIONS,
    ) -> ObjectInfo:
        """Publish the object made of `parts`, atomically; afterwards the upload is gone.

        Raises InvalidPartError, InvalidPartOrderError, EntityTooSmallError (a part but the last under 5 MiB), NoSuchUploadError,
        PreconditionFailedError; the upload then stays as it was.
        """

    @abstractmethod
    async def abort_upload(self, bucket: str, key: str, upload_id: str) -> None:
        """Forget an upload and its parts. Raises NoSuchUploadError."""

    # --- what is passed on as it is ---------------------------------------------------------------------------------

    def forward(self, request: ForwardRequest) -> AbstractAsyncContextManager[ForwardAnswer]:
        """Send a request of S3's API to the upstream (`Capabilities.forwarding`), and stream its answer, also where that is an error about
        the request. Raises UnsupportedError, BackendUnavailableError, BackendDeniedError (the backend's own credentials), and what
        iterating `request.body` raises: then nothing is published.
        """
        raise UnsupportedError(
            f"The backend {self.name} passes nothing on.", bucket=request.bucket, key=request.key
        )

    # --- the register: the few bytes by which nodes agree (docs/ARCHITECTURE.md) ---------------------------------

    async def read_register(self, name: str) -> bytes | None:
        """The value of register `name`, None if it was never set. Linearizable with `compare_and_swap`."""
        raise UnsupportedError(f"The backend {self.name} has no registers.")

    async def compare_and_swap(self, name: str, expected: bytes | None, new: bytes) -> None:
        """Set register `name` to `new` if it holds `expected` (None: unset), atomically among all users of this storage.

        Raises RegisterConflictError, with the actual value where known. Values are up to 64 KiB.
        """
        raise UnsupportedError(f"The backend {self.name} has no registers.")
