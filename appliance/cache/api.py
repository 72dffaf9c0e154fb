"""`Cache` and `Reader`: what the front ends (S3, mount, status) see of the cache. `appliance.cache.object_cache` implements them.

Everything here speaks names, values and errors of `appliance.model`; nothing knows HTTP, FUSE or peers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from appliance.model.objects import (
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
from appliance.model.ranges import ByteRange
from appliance.plugin import Body, Chunk, ForwardAnswer, ForwardRequest


class Reader(Protocol):
    """One version of one object, open: it stays readable, whole, whatever happens to the name meanwhile. Close it.

    Bytes are served from `fd` (sendfile, preadv) once `available` says they are there; a front end that cannot use a descriptor, or finds
    `fd` < 0 (the bytes do not touch this disk: it is full or failing), iterates `stream`. Look at `fd` anew after each `available`: when
    the disk gives out in the middle, it becomes a window in memory, where what `available` named can be read until 16 MiB have come since.
    """

    info: ObjectInfo
    fd: int
    source: str  # "hit", "miss", "local" (the backend's own file) or "direct" (past the cache): for logs and metrics
    stale: bool  # the backend is down and this could not be checked (on_outage = "serve"); front ends must mark it

    def available_nowait(self, offset: int, length: int) -> int:
        """Bytes from `offset` that can be read from `fd` now: 0 to `length`. Blocks nothing and asks nobody."""
        ...

    async def available(self, offset: int, length: int) -> int:
        """Wait until at least one byte at `offset` can be read from `fd`; how many can, 1 to `length`. Fetches what is missing, with
        read-ahead. Requires `length` >= 1 and `offset + length <= info.size`. Raises VersionChangedError, BackendUnavailableError, ...
        """
        ...

    def stream(self, offset: int, length: int) -> AsyncIterator[Chunk]:
        """Exactly these bytes, in chunks valid until the next one is asked for."""
        ...

    async def read(self, offset: int, length: int) -> bytes:
        """Exactly these bytes at once (fewer at the end of the object)."""
        ...

    def close(self) -> None:
        """Release the version. Idempotent; cancels fetches that nobody else waits for."""
        ...


class Invalidation(msgspec.Struct, frozen=True):
    """A name changed: through which front end ("s3", "mount", "peer", "backend"), and to which version (None: deleted or unknown).

    `pending`: a write is in progress, or it is not known what became of one; another one follows when it is.
    """

    bucket: str
    key: str
    origin: str
    info: ObjectInfo | None
    pending: bool = False


class Cache(Protocol):
    """All operations on buckets and objects. Errors are those of `appliance.plugin.Backend`, plus SlowDownError.

    `version_id`: "" is the current version. Any id may be asked for whatever the backend can: one without versions has `NULL_VERSION` only.
    `owner` and `acl` are kept where the bucket's backend can (`keeps_acls`).
    `origin` names the front end that writes, and comes back in `Invalidation.origin`.
    """

    # --- buckets -----------------------------------------------------------------

    async def list_buckets(self) -> Sequence[BucketInfo]: ...
    async def head_bucket(self, bucket: str) -> BucketInfo: ...
    async def create_bucket(self, bucket: str) -> None: ...
    async def delete_bucket(self, bucket: str) -> None: ...
    async def get_versioning(self, bucket: str) -> Versioning: ...
    async def put_versioning(self, bucket: str, state: Versioning) -> None: ...
    def keeps_acls(self, bucket: str) -> bool:
        """Whether objects of this bucket have owners and ACLs of their own (`Capabilities.acls`). Raises NoSuchBucketError."""
        ...

    def keeps_checksum(self, bucket: str, algorithm: str) -> bool:
        """Whether objects of this bucket keep a checksum of that kind (`Capabilities.checksums`). Raises NoSuchBucketError."""
        ...

    # --- reading -----------------------------------------------------------------

    def open_nowait(self, bucket: str, key: str) -> Reader | None:
        """A reader on a trusted entry, at once, without I/O that could block; None where that cannot be told: then `open`."""
        ...

    async def open(self, bucket: str, key: str, *, version_id: str = "") -> Reader:
        """A reader on the current version. Raises NoSuchKeyError, NoSuchBucketError, BackendUnavailableError; with `version_id`
        NoSuchVersionError, DeleteMarkerError.
        """
        ...

    def head_nowait(self, bucket: str, key: str) -> ObjectInfo | None:
        """As `open_nowait`, for what `head` tells."""
        ...

    async def head(self, bucket: str, key: str, *, version_id: str = "") -> ObjectInfo: ...
    def holds_below(self, bucket: str, prefix: str) -> bool:
        """Whether anything whose key begins with `prefix` is here to be served while the backend is away. Looks at every entry."""
        ...

    async def part(
        self, bucket: str, key: str, number: int, *, version: str, version_id: str = ""
    ) -> ObjectPart:
        """Where a part lies, from the backend: for objects uploaded in parts whose `part_sizes` are not known."""
        ...

    async def list_objects(self, bucket: str, request: ListRequest) -> ListPage: ...
    async def list_versions(self, bucket: str, request: VersionListRequest) -> VersionPage: ...

    # --- writing -----------------------------------------------------------------

    async def put(
        self,
        bucket: str,
        key: str,
        body: Body,
        options: PutOptions,
        conditions: Conditions = NO_CONDITIONS,
        *,
        origin: str = "s3",
    ) -> ObjectInfo: ...

    async def delete(
        self,
        bucket: str,
        key: str,
        conditions: Conditions = NO_CONDITIONS,
        *,
        version_id: str = "",
        origin: str = "s3",
    ) -> Deleted: ...

    async def delete_many(
        self, bucket: str, keys: Sequence[str], *, origin: str = "s3"
    ) -> Sequence[DeleteOutcome]: ...

    async def delete_versions(
        self, bucket: str, targets: Sequence[DeleteTarget], *, origin: str = "s3"
    ) -> Sequence[DeleteOutcome]:
        """As `delete_many`, where some name a version."""
        ...

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
        origin: str = "s3",
    ) -> ObjectInfo:
        """Copy, server-side where both names live in one backend that can; otherwise by reading and putting."""
        ...

    async def get_tags(self, bucket: str, key: str, *, version_id: str = "") -> dict[str, str]: ...
    async def put_tags(
        self, bucket: str, key: str, tags: dict[str, str], *, version_id: str = ""
    ) -> ObjectInfo: ...
    async def put_acl(
        self, bucket: str, key: str, acl: bytes, *, version_id: str = ""
    ) -> ObjectInfo:
        """Replace an object's ACL. Raises UnsupportedError where `keeps_acls` is False."""
        ...

    # --- multipart uploads ----------------------------------------------------------

    async def create_upload(self, bucket: str, key: str, options: PutOptions) -> UploadInfo: ...

    async def put_part(
        self, bucket: str, key: str, upload_id: str, number: int, body: Body
    ) -> PartInfo: ...

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
    ) -> PartInfo: ...

    async def list_parts(
        self, bucket: str, key: str, upload_id: str, *, after: int = 0, limit: int = 1000
    ) -> PartPage: ...

    async def list_uploads(
        self,
        bucket: str,
        *,
        prefix: str = "",
        delimiter: str = "",
        key_marker: str = "",
        upload_id_marker: str = "",
        limit: int = 1000,
    ) -> UploadPage: ...

    async def complete_upload(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        parts: Sequence[CompletedPart],
        conditions: Conditions = NO_CONDITIONS,
        *,
        origin: str = "s3",
    ) -> ObjectInfo: ...

    async def abort_upload(self, bucket: str, key: str, upload_id: str) -> None: ...

    # --- what is passed on as it is ---------------------------------------------------

    def forwards(self, bucket: str) -> bool:
        """Whether the bucket's backend passes on requests of S3's API that the appliance does not interpret."""
        ...

    def forward(self, request: ForwardRequest) -> AbstractAsyncContextManager[ForwardAnswer]:
        """See `Backend.forward`. Not for what changes an object that readers see: that is `forward_write`'s."""
        ...

    async def forward_write(
        self, request: ForwardRequest, *, origin: str = "s3"
    ) -> tuple[ForwardAnswer, bytes]:
        """The same for what changes the object `request.key`: no reader finds what was cached of it. The answer, and its body."""
        ...

    # --- keeping front ends coherent ---------------------------------------------------

    def subscribe(
        self,
        listener: Callable[[Invalidation], None],
        told: Callable[[str, str], Awaitable[None]] | None = None,
    ) -> Callable[[], None]:
        """Call `listener`, synchronously, at every change of a name that the cache makes or learns of, before the change is acknowledged;
        it must not block. Returns the function that unsubscribes.

        `told(bucket, key)` returns when everybody behind the listener knows of its changes so far. A write from "s3" waits for it before it
        is acknowledged, a few seconds at most; others do not, as whoever is to be told may be waiting for them.
        """
        ...

    def trust_seconds(self, bucket: str, key: str = "") -> float:
        """How long what was just read of this bucket may be believed without asking again: inf, or seconds; 0 to ask at each use.

        With `key`: what was read of the file or directory of that name, "/" at its end or not, and of what is below.
        """
        ...

    # --- care ------------------------------------------------------------------------------

    async def pin(self, bucket: str, key: str) -> None: ...
    async def unpin(self, bucket: str, key: str) -> None: ...
    def statistics(self) -> dict[str, float]: ...
