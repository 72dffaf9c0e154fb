"""Open files: reading versions, writing drafts, publishing them.

Interleavings that matter. *Write, then foreign version, then close*: the inode loses its name when the foreign version is learnt of;
close publishes all the same and takes the name back (the last close wins, as in NFS). *Unlink while open*: reads go on, what is written
is dropped with the last handle. *Rename while open*: the draft is published under the old name first, and later ones under the new. *Two
closes at once*: the draft's lock lets one publish; the other then finds nothing to do. *Cancelled while publishing*: the cache makes
nothing visible.
"""

from __future__ import annotations

import errno
import functools
import logging
import mimetypes
import os
from collections.abc import Awaitable, Callable

from appliance.cache.api import Cache, Reader
from appliance.model.errors import (
    ApplianceError,
    NoSuchKeyError,
    PreconditionFailedError,
    UnsupportedError,
    VersionChangedError,
)
from appliance.model.objects import NO_CONDITIONS, Conditions, ObjectInfo, PutOptions
from appliance.mount import posix_metadata
from appliance.mount.attributes import Attributes
from appliance.mount.errno_map import errno_of_any
from appliance.mount.failure import Errno
from appliance.mount.handles import FileHandle, ReadBuffer
from appliance.mount.inodes import Inodes, Node
from appliance.mount.names import child_key, fits
from appliance.mount.posix_metadata import PosixFacts
from appliance.mount.retried import Retried
from appliance.mount.staging import Draft, open_unnamed
from appliance.world import World

log = logging.getLogger(__name__)

# What makes new metadata from old.
Change = Callable[[dict[str, str]], dict[str, str]]

# How often a change of metadata is tried against others who change it at the same time.
ATTEMPTS = 5
_NOTHING_THERE = Conditions(if_none_match=("*",))
# The built-in table only: what a host has in /etc/mime.types must not decide what an object is.
_TYPES = mimetypes.MimeTypes(filenames=())


class Files:
    """Files of one mount."""

    def __init__(
        self,
        cache: Cache,
        world: World,
        inodes: Inodes,
        attributes: Attributes,
        staging: str,
        forget_name: Callable[[Node], Awaitable[None]],
    ) -> None:
        """`forget_name` has the kernel drop the name of a node."""
        self._cache = cache
        self._world = world
        self._inodes = inodes
        self._attributes = attributes
        self._staging = staging
        self._forget_name = forget_name
        self.buffer = ReadBuffer(world)
        self.retried = Retried(world)
        self.published = 0
        self.failed = 0

    # --- opening -----------------------------------------------------------------

    async def open(self, node: Node, flags: int, pid: int = -1) -> FileHandle:
        """Open the newest version; ESTALE if that is another inode's by now: the kernel then looks the name up again. See `retried`."""
        kept = self.retried.take(pid, node)
        try:
            return await self._open(node, flags, kept)
        except Errno as answer:
            if answer.number == errno.ESTALE:
                self.retried.refused(pid, node)
            raise

    async def _open(self, node: Node, flags: int, reader: Reader | None) -> FileHandle:
        writable = flags & os.O_ACCMODE != os.O_RDONLY
        truncate = writable and flags & os.O_TRUNC
        if reader is None and node.draft is None and not truncate:
            reader = await self._reader(node)
        if reader is None and truncate:
            self._check_named(node)
        handle = FileHandle(node, reader, writable=writable)
        self._opened(handle)
        try:
            if truncate:
                await self._truncate(node, handle, 0)
        except BaseException:
            self._closed(handle)
            raise
        return handle

    async def keep_for(self, pid: int, node: Node) -> Node:
        """`node` was looked up: the inode of a version that this thread's open will get, if its last one was overtaken."""
        if node.is_dir or node.draft is not None or not self.retried.is_retry(pid, node):
            return node
        bucket, key = node.bucket, node.key
        reader = await self._cache.open(bucket, key)
        found = self._inodes.file(bucket, key, reader.info, complete=True)
        if found.draft is not None or found.info is None:
            reader.close()
        else:
            self.retried.keep(pid, found, reader)
        return found

    async def _reader(self, node: Node) -> Reader | None:
        self._check_named(node)
        bucket, key = node.bucket, node.key
        try:
            reader = self._cache.open_nowait(bucket, key) or await self._cache.open(bucket, key)
        except NoSuchKeyError:
            self._inodes.supersede(node)
            raise Errno(errno.ESTALE) from None
        if has_draft(node):
            reader.close()
            return None
        if node.info is None or reader.info.version != node.info.version:
            reader.close()
            self._inodes.supersede(node)
            raise Errno(errno.ESTALE)
        node.learn(reader.info, complete=True)
        return reader

    def _check_named(self, node: Node) -> None:
        if not node.named and node.draft is None:
            raise Errno(errno.ESTALE)

    def create(
        self, parent: Node, name: bytes, facts: PosixFacts, *, exclusive: bool
    ) -> FileHandle:
        """A new file, seen by this mount only until it is first published. Raises OSError (the staging disk's)."""
        key = child_key(parent.key, name)
        if not fits(key):
            raise Errno(errno.ENAMETOOLONG)
        content_type, encoding = _TYPES.guess_type(key, strict=False)
        headers = {"content-type": content_type} if content_type and not encoding else {}
        draft = self._draft(headers, posix_metadata.merge({}, facts))
        draft.dirty = True
        draft.exclusive = exclusive
        node = self._inodes.create(parent.bucket, key)
        node.draft = draft
        parent.changed_ns = self._world.now_ns()
        handle = FileHandle(node, None, writable=True)
        self._opened(handle)
        return handle

    def _draft(self, headers: dict[str, str], metadata: dict[str, str]) -> Draft:
        fd = open_unnamed(self._staging)
        return Draft(fd, self._world, headers, metadata, self._world.now_ns())

    def _opened(self, handle: FileHandle) -> None:
        handle.node.opened += 1
        handle.node.writers += handle.writable

    # --- reading and writing --------------------------------------------------------

    async def read(self, handle: FileHandle, offset: int, size: int) -> memoryview | bytes:
        draft = handle.node.draft
        if draft is not None:
            return await self.buffer.read_file(draft.fd, offset, min(size, draft.size - offset))
        if handle.reader is None:
            return b""
        return await self.buffer.read(handle.reader, offset, size)

    async def write(self, handle: FileHandle, offset: int, data: bytes) -> int:
        """Write all of `data`. After an error the file's writers are told at each step, and nothing is published: see `Draft.broken`."""
        handle.check()
        draft = handle.node.draft
        try:
            if draft is None or draft.lock.locked():
                draft = await self._writable(handle.node, handle.reader)
            draft.check()
            await draft.write(offset, data, self._world.now_ns())
        except BaseException as error:
            number = errno_of_any(error)
            if draft is None:
                handle.broken = number
            else:
                draft.fail(number)
            raise
        return len(data)

    async def truncate(self, node: Node, handle: FileHandle | None, size: int) -> None:
        """Set the size. Without a handle (truncate(2)) there will be no close, so it is published at once."""
        if handle is not None and handle.writable:
            await self._truncate(node, handle, size)
            return
        own = await self.open(node, os.O_RDWR)
        try:
            await self._truncate(node, own, size)
            await self.publish(node)
        finally:
            self._closed(own)

    async def _truncate(self, node: Node, handle: FileHandle, size: int) -> None:
        draft = await self._writable(node, handle.reader, size)
        draft.truncate(size, self._world.now_ns())

    async def _writable(self, node: Node, reader: Reader | None, length: int = 2**63) -> Draft:
        """The node's draft, once nobody publishes it; made from the first `length` bytes of the version that is open."""
        if node.draft is None:
            await self.complete(node)
            draft = self._draft(dict(node.info.headers) if node.info else {}, dict(node.metadata))
            async with draft.lock:
                try:
                    if reader is not None and length > 0:
                        await draft.fill(reader, length)
                except BaseException:
                    draft.close()
                    raise
            if has_draft(node):
                draft.close()
            else:
                node.draft = draft
        draft = current_draft(node)
        if draft.lock.locked():
            async with draft.lock:
                pass
        return draft

    # --- publishing ---------------------------------------------------------------

    async def publish(self, node: Node) -> None:
        """Make what was written a version, if anything was. Raises the cache's errors; the draft then stays dirty."""
        draft = node.draft
        if draft is None or not self._has_news(node, draft):
            return
        async with draft.lock:
            if not self._has_news(node, draft):
                return
            draft.check()
            # Cleared first: a chmod meanwhile makes it dirty again.
            draft.dirty = False
            try:
                info = await self._put(node, draft)
            except BaseException:
                draft.dirty = draft.refused = True
                self.failed += 1
                raise
            draft.refused = False
            draft.exclusive = False
            self.published += 1
            self._inodes.published(node, info)

    def _has_news(self, node: Node, draft: Draft) -> bool:
        return draft.dirty and not node.unlinked

    async def _put(self, node: Node, draft: Draft) -> ObjectInfo:
        info = node.info
        tags = {}
        if info is not None and info.tag_count:
            tags = await self._cache.get_tags(node.bucket, node.key)
        return await self._cache.put(
            node.bucket,
            node.key,
            draft.body(),
            PutOptions(headers=draft.headers, metadata=self._stored(draft), tags=tags),
            _NOTHING_THERE if draft.exclusive else NO_CONDITIONS,
            origin="mount",
        )

    def _stored(self, draft: Draft) -> dict[str, str]:
        """Metadata to keep with a draft: its user's own, the time it was last written, and owner and mode where not the default."""
        own = posix_metadata.user_metadata(draft.metadata)
        facts = self._attributes.minimal(draft.facts, is_dir=False)
        facts = PosixFacts(facts.mode, facts.uid, facts.gid, draft.mtime_ns)
        return posix_metadata.merge(own, facts)

    async def flush(self, handle: FileHandle) -> None:
        """close(2) of one descriptor, or fsync(2)."""
        if not handle.writable:
            return
        try:
            await self.publish(handle.node)
            handle.check()
        except (ApplianceError, OSError):
            # If this was the last close, the name now stands for what the backend has, and the kernel must ask.
            await self._forget_name(handle.node)
            raise

    async def release(self, handle: FileHandle) -> None:
        """The last descriptor of this handle is closed. What shared mappings wrote after the last close is published here."""
        node = handle.node
        try:
            if handle.writable and node.draft is not None and not is_hopeless(node.draft):
                await self.publish(node)
        except (ApplianceError, OSError):
            log.exception(
                "What was last written to %r in %r could not be stored.", node.key, node.bucket
            )
        finally:
            self._closed(handle)

    def _closed(self, handle: FileHandle) -> None:
        if handle.reader is not None:
            handle.reader.close()
        node = handle.node
        node.opened -= 1
        node.writers -= handle.writable
        if node.opened > 0:
            return
        if node.draft is not None:
            self._drop_draft(node, node.draft)
        self._inodes.drop_if_unused(node)

    def _drop_draft(self, node: Node, draft: Draft) -> None:
        node.draft = None
        draft.close()
        if draft.dirty and not node.unlinked:
            # It could not be published, and close said so: the name stands for whatever the backend has.
            self._inodes.supersede(node)

    # --- attributes and metadata ------------------------------------------------------

    async def change(self, node: Node, facts: PosixFacts) -> None:
        """chmod, chown, utimens."""
        if node.draft is not None and facts.mtime_ns is not None:
            node.draft.mtime_ns = facts.mtime_ns
        await self.set_metadata(node, lambda old: posix_metadata.merge(old, facts))

    async def set_metadata(self, node: Node, change: Change) -> None:
        """Into the draft if there is one, which close publishes; else at once."""
        if node.draft is None:
            await self._replace_metadata(node, change)
            return
        node.draft.set_metadata(change(node.draft.metadata))
        node.draft.dirty = True
        if node.writers == 0:
            await self.publish(node)

    async def _replace_metadata(self, node: Node, change: Change) -> None:
        """Give a published file other metadata. ESTALE if the name stands for other bytes by now: the kernel then looks it up again.

        What has the same bytes, and other metadata, is changed in turn.
        """
        for _ in range(ATTEMPTS):
            self._check_named(node)
            info = await self._cache.head(node.bucket, node.key)
            if node.info is None or (info.etag, info.size) != (node.info.etag, node.info.size):
                break
            node.learn(info, complete=True)
            try:
                copied = await self._copy_onto_itself(node, info, change(dict(info.metadata)))
            except (VersionChangedError, PreconditionFailedError):
                continue
            self._inodes.published(node, copied)
            return
        self._inodes.supersede(node)
        raise Errno(errno.ESTALE)

    async def _copy_onto_itself(
        self, node: Node, info: ObjectInfo, metadata: dict[str, str]
    ) -> ObjectInfo:
        """Only while it is still the version `info`; the backend does it by itself where it can."""
        tags = await self._cache.get_tags(node.bucket, node.key) if info.tag_count else {}
        if posix_metadata.MTIME not in metadata:
            # The copy must not make the file look newer than its bytes.
            metadata[posix_metadata.MTIME] = posix_metadata.format_time(info.modified_ns)
        options = PutOptions(headers=dict(info.headers), metadata=metadata, tags=tags)
        copy = functools.partial(
            self._cache.copy,
            *(node.bucket, node.key, node.bucket, node.key),
            source_version=info.version,
            options=options,
            origin="mount",
        )
        try:
            return await copy(conditions=Conditions(if_match=(info.etag,)))
        except UnsupportedError:
            # No conditions on what is replaced there; that it is the source says nearly as much.
            return await copy()

    async def complete(self, node: Node) -> None:
        """Make sure the node's info has its metadata, which listings may lack."""
        if node.complete or node.draft is not None or node.is_dir or not node.named:
            return
        info = await self._cache.head(node.bucket, node.key)
        if node.info is not None and info.version != node.info.version:
            self._inodes.supersede(node)
            raise Errno(errno.ESTALE)
        node.learn(info, complete=True)

    # --- life ----------------------------------------------------------------------------

    def close_all(self) -> None:
        """Drop all drafts: the mount is gone."""
        self.retried.close()
        for node in self._inodes:
            if node.draft is not None:
                if node.draft.dirty and not node.unlinked:
                    log.warning(
                        "Unmounted while %r in %r was being written: dropped.",
                        node.key,
                        node.bucket,
                    )
                node.draft.close()
                node.draft = None

    def statistics(self) -> dict[str, float]:
        return {
            "published_total": self.published,
            "publish_failures_total": self.failed,
            **self.buffer.statistics(),
            **self.retried.statistics(),
        }


def has_draft(node: Node) -> bool:
    """Asked again after an `await`: another task may have made one meanwhile."""
    return node.draft is not None


def is_hopeless(draft: Draft) -> bool:
    """Whoever wrote it has been told already that it cannot be published."""
    return draft.refused or draft.broken != 0


def current_draft(node: Node) -> Draft:
    """The node's draft, which exists."""
    assert node.draft is not None, "a draft was just made"  # noqa: S101  # for the type checker; the caller has made sure
    return node.draft
