"""The namespace: what is called what. Looks names up in the cache, and makes, removes and renames them through it.

A directory is a prefix: it exists while something is below it, or has a `prefix/` marker object, which mkdir puts. Where a file `a` and a
directory `a/` both exist, the directory is shown.
"""

from __future__ import annotations

import errno
import logging
import math
import stat
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio

from appliance.cache.api import Cache
from appliance.model.errors import (
    ApplianceError,
    BackendUnavailableError,
    NoSuchBucketError,
    NoSuchKeyError,
    UnsupportedError,
    VersionChangedError,
)
from appliance.model.names import is_bucket_name
from appliance.model.objects import ListPage, ListRequest, ObjectInfo, PutOptions
from appliance.mount import posix_metadata
from appliance.mount.directory import DirectoryEntry
from appliance.mount.failure import Errno
from appliance.mount.hints import Hints, is_absent
from appliance.mount.inodes import Inodes, Node
from appliance.mount.moving import delete_version
from appliance.mount.names import NAME_BYTES_MAX, child_key, fits, is_component, split
from appliance.mount.posix_metadata import PosixFacts
from appliance.mount.recent import Recent
from appliance.plugin import BytesBody
from appliance.world import World

log = logging.getLogger(__name__)

A = TypeVar("A")
B = TypeVar("B")

# That a file's name is not a directory's too is asked for with the first lookup, and then believed at least this long: on a filesystem it
# cannot become one while the file is there, and in S3 only a foreign writer could make it one.
NOT_DIRECTORY_S = 60.0
# What is fetched with a lookup, if the directory's listing was asked for: more than a request's overhead is worth, less than a block.
FETCHED_BYTES_MAX = 256 << 10
# How long a directory outlives what was last removed from it through the mount, without a marker.
KEPT_S = 60.0
# How long a bucket is believed to exist at most.
BUCKET_S = 60.0
MARKER_TYPE = "application/x-directory"


class Tree:
    """Names of one mount."""

    def __init__(
        self, cache: Cache, world: World, inodes: Inodes, recent: Recent, grace_s: float
    ) -> None:
        self.cache = cache
        self.inodes = inodes
        self.recent = recent
        # Has the kernel drop a name, (directory inode, name), soon: it may be waiting for this very request.
        self.drop_name: Callable[[int, bytes], None] = lambda _parent, _name: None
        self._world = world
        self.grace_s = grace_s
        self._hints = Hints(recent)
        self._several = inodes.root.bucket == ""

    # --- how long answers hold -----------------------------------------------------

    def file_timeout(self, bucket: str, key: str) -> float:
        """Seconds for which the name of a file may be believed to stand for the same version."""
        return self.cache.trust_seconds(bucket, key)

    def directory_timeout(self, bucket: str, key: str) -> float:
        if bucket == "":
            return self.grace_s
        return max(self.cache.trust_seconds(bucket, key), self.grace_s)

    def absent_timeout(self, bucket: str, key: str) -> float:
        """As `file_timeout`, for names that stand for nothing: short where others may write, who like to see their file appear."""
        trust = self.cache.trust_seconds(bucket, key)
        return trust if math.isinf(trust) else min(trust, self.grace_s)

    # --- lookup --------------------------------------------------------------------

    async def lookup(self, parent: Node, name: bytes) -> tuple[Node | None, float]:
        """What `name` stands for (None: nothing), and for how many seconds."""
        if len(name) > NAME_BYTES_MAX:
            raise Errno(errno.ENAMETOOLONG)
        if self.is_top(parent):
            return await self._lookup_bucket(name)
        if not is_component(name):
            return None, 0.0
        bucket, key = parent.bucket, child_key(parent.key, name)
        if not fits(key):
            raise Errno(errno.ENAMETOOLONG)
        known = self._known(bucket, key)
        if known is not None:
            return known
        mark = self.recent.mark()
        try:
            info, page = await self._ask(bucket, key)
        except BackendUnavailableError:
            return await self._unchecked(bucket, key)
        is_dir = bool(page.objects or page.common_prefixes)
        marker = await self._marker(bucket, key + "/", page)
        # A file may have been created here while the backend was asked.
        pending = self.inodes.find(bucket, key)
        if pending is not None and pending.draft is not None:
            return pending, self.file_timeout(bucket, key)
        changed = self.recent.touched(mark, bucket, key) or self.recent.touched(
            mark, bucket, key + "/"
        )
        found = self._learn(bucket, key, info, is_dir=is_dir, changed=changed)
        if is_dir and marker is not None and found[0] is not None:
            found[0].learn(marker, complete=True)
        return found

    def is_top(self, node: Node) -> bool:
        """True for the root of a mount of all buckets, whose children are buckets."""
        return self._several and node is self.inodes.root

    def _known(self, bucket: str, key: str) -> tuple[Node, float] | None:
        """What can be told without asking."""
        node = self.inodes.find(bucket, key)
        if node is not None and node.draft is not None:
            return node, self.file_timeout(bucket, key)
        now = self._world.boot_s()
        directory = self.inodes.find(bucket, key + "/")
        if directory is not None and (
            max(directory.kept_until, directory.believed_until) > now
            or self.inodes.in_listing(directory, now)
        ):
            return directory, self.directory_timeout(bucket, key)
        if node is not None and self.inodes.in_listing(node, now):
            return node, self.file_timeout(bucket, key)
        if node is not None and node.not_directory_until > now:
            info = self.cache.head_nowait(bucket, key)
            if info is not None:
                node = self._file(bucket, key, info, now)
                return node, self.file_timeout(bucket, key)
        return None

    async def _unchecked(self, bucket: str, key: str) -> tuple[Node, float]:
        """What the cache serves of a name while the backend is away; and directories in which there is such a thing.

        Raises BackendUnavailableError where that is nothing, as nobody can tell whether the backend has it.
        """
        if self.cache.holds_below(bucket, key + "/"):
            return self.inodes.directory(bucket, key + "/"), 0.0
        info = await self._head(bucket, key)
        if info is None:
            raise BackendUnavailableError(bucket=bucket, key=key)
        return self.inodes.file(bucket, key, info, complete=True), 0.0

    async def _ask(self, bucket: str, key: str) -> tuple[ObjectInfo | None, ListPage]:
        """Ask the cache: the file's info, and the first entry of the directory of that name."""
        now = self._world.boot_s()
        node = self.inodes.find(bucket, key)
        size = self._hints.size(bucket, key, now)
        if size is not None or (node is not None and node.not_directory_until > now):
            info = await self._fetch(bucket, key, size)
            if info is not None:
                return info, ListPage()
        info = self.cache.head_nowait(bucket, key)
        if info is not None:
            return info, await self._first_below(bucket, key)
        return await both(lambda: self._head(bucket, key), lambda: self._first_below(bucket, key))

    async def _first_below(self, bucket: str, key: str) -> ListPage:
        """The first entry of the directory `key/`, if there is one; or a page of the directory above, if that shows that there is none."""
        now = self._world.boot_s()
        directory, _ = split(key)
        if self._hints.missed(bucket, directory, now, NOT_DIRECTORY_S):
            mark = self.recent.mark()
            request = ListRequest(prefix=directory, delimiter="/", start_after=key)
            page = await self.cache.list_objects(bucket, request)
            self._hints.learn(bucket, page, mark, now + NOT_DIRECTORY_S)
            if is_absent(page, key):
                return ListPage()
        return await self.cache.list_objects(bucket, ListRequest(prefix=key + "/", limit=1))

    async def _fetch(self, bucket: str, key: str, size: int | None) -> ObjectInfo | None:
        """As `_head`, but a small file's bytes are brought along, into the cache."""
        if size is None or size > FETCHED_BYTES_MAX:
            return await self._head(bucket, key)
        try:
            reader = await self.cache.open(bucket, key)
        except NoSuchKeyError:
            return None
        try:
            done, size = 0, reader.info.size
            while reader.fd >= 0 and done < size <= FETCHED_BYTES_MAX:
                done += await reader.available(done, size - done)
        except ApplianceError:
            # Whoever reads it will be told.
            log.debug("Could not fetch %r along with its name", key)
        finally:
            reader.close()
        return reader.info

    async def _marker(self, bucket: str, key: str, page: ListPage) -> ObjectInfo | None:
        """The marker of a directory with its metadata (mode, owner), if it has one; it sorts before all that is in the directory."""
        if not page.objects or page.objects[0].key != key:
            return None
        known = self.inodes.find(bucket, key)
        listed = page.objects[0]
        if known is not None and known.info is not None and known.info.version == listed.version:
            return known.info
        return listed if listed.metadata else await self._head(bucket, key)

    async def _head(self, bucket: str, key: str) -> ObjectInfo | None:
        try:
            return await self.cache.head(bucket, key)
        except NoSuchKeyError:
            return None

    def _learn(
        self, bucket: str, key: str, info: ObjectInfo | None, *, is_dir: bool, changed: bool
    ) -> tuple[Node | None, float]:
        now = self._world.boot_s()
        file = self.inodes.find(bucket, key)
        if is_dir:
            if file is not None:
                self.inodes.supersede(file)
            directory = self.inodes.directory(bucket, key + "/")
            timeout = 0.0 if changed else self.directory_timeout(bucket, key)
            directory.believed_until = now + timeout
            return directory, timeout
        gone = self.inodes.find(bucket, key + "/")
        if gone is not None:
            self.inodes.supersede(gone)
        if info is not None:
            return self._file(bucket, key, info, now), (
                0.0 if changed else self.file_timeout(bucket, key)
            )
        if file is not None:
            self.inodes.supersede(file)
        return None, 0.0 if changed else self.absent_timeout(bucket, key)

    def _file(self, bucket: str, key: str, info: ObjectInfo, now: float) -> Node:
        node = self.inodes.file(bucket, key, info, complete=True)
        node.not_directory_until = now + max(self.file_timeout(bucket, key), NOT_DIRECTORY_S)
        return node

    async def _lookup_bucket(self, name: bytes) -> tuple[Node | None, float]:
        bucket = name.decode("ascii", "replace")
        if not is_bucket_name(bucket):
            return None, 0.0
        node = self.inodes.find(bucket, "")
        now = self._world.boot_s()
        if node is None or node.believed_until <= now:
            try:
                created_ns = (await self.cache.head_bucket(bucket)).created_ns
            except NoSuchBucketError:
                if node is not None:
                    self.inodes.supersede(node)
                return None, 0.0
            except BackendUnavailableError:
                if not self.cache.holds_below(bucket, ""):
                    raise
                return self.inodes.directory(bucket, ""), 0.0
            node = self.inodes.directory(bucket, "")
            node.changed_ns = max(node.changed_ns, created_ns)
            node.believed_until = now + self._bucket_timeout(bucket)
        return node, self._bucket_timeout(bucket)

    def _bucket_timeout(self, bucket: str) -> float:
        """Bounded, because nothing tells that an (empty) bucket was deleted."""
        return min(self.directory_timeout(bucket, ""), BUCKET_S)

    # --- listings ----------------------------------------------------------------------

    async def buckets(self, mark: int) -> list[DirectoryEntry]:
        """Entries of the root of a mount of all buckets."""
        found = await self.cache.list_buckets()
        return [DirectoryEntry(bucket.name.encode(), None, mark) for bucket in found]

    def listed(self, directory: Node, entry: DirectoryEntry) -> tuple[Node | None, float]:
        """The node of a listing's entry (None: gone since), and for how long it may be believed."""
        if self.is_top(directory):
            bucket = entry.name.decode()
            return self.inodes.directory(bucket, ""), self._bucket_timeout(bucket)
        bucket, key = directory.bucket, child_key(directory.key, entry.name)
        now = self._world.boot_s()
        file = self.inodes.find(bucket, key)
        if entry.pending or (file is not None and file.draft is not None):
            return file, self.file_timeout(bucket, key)
        changed = self.recent.touched(entry.mark, bucket, key)
        if entry.info is None:
            if file is not None:
                self.inodes.supersede(file)
            node = self.inodes.directory(bucket, key + "/")
            timeout = 0.0 if changed else self.directory_timeout(bucket, key)
            node.believed_until = now + timeout
            if not changed:
                node.listed_at = now
            return node, timeout
        if changed and file is not None:
            # The listing may be older than what is known.
            return file, 0.0
        node = self._listed_file(bucket, key, entry.info)
        node.not_directory_until = now + max(self.file_timeout(bucket, key), NOT_DIRECTORY_S)
        if changed:
            return node, 0.0
        node.listed_at = now
        return node, max(self.file_timeout(bucket, key), self.grace_s)

    def in_listing(self, node: Node) -> bool:
        """True while whoever was told of `node` by a listing is still at it; see `Inodes.in_listing`."""
        return self.inodes.in_listing(node, self._world.boot_s())

    def _listed_file(self, bucket: str, key: str, info: ObjectInfo) -> Node:
        """A listing tells name, size and time; the cache may know the metadata of the same version without asking."""
        node = self.inodes.file(bucket, key, info, complete=False)
        if not node.complete:
            known = self.cache.head_nowait(bucket, key)
            if known is not None and known.version == info.version:
                node.learn(known, complete=True)
        return node

    def statistics(self) -> dict[str, float]:
        return self._hints.statistics()

    # --- directories -----------------------------------------------------------------

    async def mkdir(self, parent: Node, name: bytes, facts: PosixFacts) -> Node:
        """Make a bucket, or a directory by its marker. `facts` are kept in the marker's metadata."""
        if self.is_top(parent):
            bucket = name.decode("ascii", "replace")
            await self.cache.create_bucket(bucket)
            return self.inodes.directory(bucket, "")
        existing, _ = await self.lookup(parent, name)
        if existing is not None:
            raise Errno(errno.EEXIST)
        key = child_key(parent.key, name) + "/"
        if not fits(key):
            raise Errno(errno.ENAMETOOLONG)
        await self.put_marker(parent.bucket, key, posix_metadata.merge({}, facts, directory=True))
        node = self.inodes.directory(parent.bucket, key)
        self._touched(parent)
        return node

    async def put_marker(self, bucket: str, key: str, metadata: dict[str, str]) -> None:
        options = PutOptions(headers={"content-type": MARKER_TYPE}, metadata=metadata)
        info = await self.cache.put(bucket, key, BytesBody(b""), options, origin="mount")
        node = self.inodes.directory(bucket, key)
        node.learn(info, complete=True)
        node.changed_ns = self._world.now_ns()

    async def change_directory(self, node: Node, facts: PosixFacts) -> None:
        """chmod, chown and utimens of a directory are kept with its marker. A bucket has none: only its time can be set, until
        unmounted."""
        if facts.mtime_ns is not None:
            node.changed_ns = facts.mtime_ns
        if node.key == "":
            if facts != PosixFacts(mtime_ns=facts.mtime_ns):
                raise Errno(errno.EPERM)
            return
        merged = posix_metadata.merge(node.metadata, facts, directory=True)
        await self.put_marker(node.bucket, node.key, merged)

    async def rmdir(self, parent: Node, name: bytes) -> None:
        node, _ = await self.lookup(parent, name)
        if node is None:
            raise Errno(errno.ENOENT)
        if not node.is_dir:
            raise Errno(errno.ENOTDIR)
        if node.key == "":
            await self.cache.delete_bucket(node.bucket)
        else:
            await self._check_empty(node)
            await self.cache.delete(node.bucket, node.key, origin="mount")
        self.inodes.unlink(node)
        self._touched(parent, kept=True)

    async def _check_empty(self, node: Node) -> None:
        if next(self.inodes.pending_in(node.bucket, node.key), None) is not None:
            raise Errno(errno.ENOTEMPTY)
        page = await self.cache.list_objects(node.bucket, ListRequest(prefix=node.key, limit=2))
        if any(info.key != node.key for info in page.objects):
            raise Errno(errno.ENOTEMPTY)

    # --- files -------------------------------------------------------------------------

    async def unlink(self, parent: Node, name: bytes) -> None:
        node, _ = await self.lookup(parent, name)
        if node is None:
            raise Errno(errno.ENOENT)
        if node.is_dir:
            raise Errno(errno.EISDIR)
        if node.info is not None or node.ino not in self.inodes.pending:
            await self.cache.delete(node.bucket, node.key, origin="mount")
        self.inodes.unlink(node)
        self._touched(parent, kept=True)

    async def rename(
        self, node: Node, old_parent: Node, parent: Node, name: bytes, *, replace: bool
    ) -> None:
        """Give the published file `node` another name: copy, then delete, as S3 has nothing better.

        Directories, and files between backends that cannot copy to each other, are EXDEV: mv(1) then copies and deletes by itself.
        """
        target, _ = await self.lookup(parent, name)
        if target is node:
            return
        if target is not None and not replace:
            raise Errno(errno.EEXIST)
        if node.is_dir or self.is_top(parent):
            raise Errno(errno.EXDEV)
        if target is not None and target.is_dir:
            raise Errno(errno.EISDIR)
        key = child_key(parent.key, name)
        try:
            info = await self._move(node, (parent.bucket, key))
        except UnsupportedError:
            raise Errno(errno.EXDEV) from None
        except BaseException as error:
            # The copy may be there, and the kernel need not know.
            copied = self.inodes.find(parent.bucket, key)
            if copied is not None:
                self.inodes.supersede(copied)
            self.drop_name(parent.ino, name)
            if isinstance(error, VersionChangedError):
                self.inodes.supersede(node)
            raise
        self.inodes.rename(node, parent.bucket, key)
        node.learn(info, complete=True)
        node.not_directory_until = self._world.boot_s() + NOT_DIRECTORY_S
        self._touched(old_parent, kept=True)
        self._touched(parent)

    async def _move(self, node: Node, target: tuple[str, str]) -> ObjectInfo:
        """See `moving`. The kernel gives the new name this very inode, so only what it stands for may be moved."""
        source = (node.bucket, node.key)
        mark = self.recent.mark()
        moved = await self.cache.head(*source)
        if node.info is None or moved.version != node.info.version:
            raise VersionChangedError(bucket=node.bucket, key=node.key)
        version = moved.version
        info = await self.cache.copy(*source, *target, source_version=version, origin="mount")
        await delete_version(self.cache, self.recent, source, moved, mark)
        return info

    def _touched(self, parent: Node, *, kept: bool = False) -> None:
        parent.changed_ns = self._world.now_ns()
        if kept:
            parent.kept_until = self._world.boot_s() + KEPT_S


def is_regular(mode: int) -> bool:
    """True for the modes mknod(2) may be given here."""
    return stat.S_ISREG(mode) or stat.S_IFMT(mode) == 0


async def both(
    first: Callable[[], Awaitable[A]], second: Callable[[], Awaitable[B]]
) -> tuple[A, B]:
    """Run both at once and give both results, or the first domain error, as it is and not in a group."""
    results: dict[str, Any] = {}
    errors: list[ApplianceError] = []

    async def run(name: str, function: Callable[[], Awaitable[object]]) -> None:
        try:
            results[name] = await function()
        except ApplianceError as error:
            errors.append(error)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, "second", second)
        await run("first", first)
    if errors:
        raise errors[0]
    return results["first"], results["second"]
