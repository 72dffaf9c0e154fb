"""What the kernel asks, answered: the thin layer between pyfuse3 and `Tree` and `Files`.

Every handler ends in a result or in `FUSEError`; anything else that escaped would end the whole mount, so `answers` lets nothing through.
"""

from __future__ import annotations

import errno
import functools
import logging
import os
import stat
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ParamSpec, TypeVar

import pyfuse3
import trio

from appliance.model.errors import ApplianceError
from appliance.model.objects import ListRequest
from appliance.mount import xattrs
from appliance.mount.attributes import TIMEOUT_MAX_S, Attributes
from appliance.mount.directory import DirectoryEntry
from appliance.mount.errno_map import errno_of, errno_of_os_error
from appliance.mount.failure import Errno
from appliance.mount.files import Change, Files
from appliance.mount.handles import DirectoryHandle, FileHandle, Handles
from appliance.mount.inodes import Inodes, Node
from appliance.mount.names import split
from appliance.mount.posix_metadata import PosixFacts
from appliance.mount.tree import Tree, is_regular

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

# statfs(2): a bucket has no size; enough that no program thinks it is full, and not so much that 32-bit ones overflow on 1 MiB blocks.
_STATFS_BLOCK_BYTES = 1 << 20
_STATFS_BLOCKS = 1 << 30
_STATFS_FILES = 1 << 30


def answers(
    handler: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Translate what a handler raises into FUSEError."""

    @functools.wraps(handler)
    async def answered(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await handler(*args, **kwargs)
        except Errno as answer:
            raise pyfuse3.FUSEError(answer.number) from None
        except ApplianceError as error:
            number = errno_of(error)
            if number == errno.EIO:
                log.warning("%s failed: %s", handler.__name__, error)
            raise pyfuse3.FUSEError(number) from None
        except OSError as error:
            log.warning("%s failed: %s", handler.__name__, error)
            raise pyfuse3.FUSEError(errno_of_os_error(error)) from None
        except pyfuse3.FUSEError:
            raise
        except Exception:
            log.exception("%s failed", handler.__name__)
            raise pyfuse3.FUSEError(errno.EIO) from None

    return answered


class MountOperations(pyfuse3.Operations):
    """See pyfuse3.Operations."""

    supports_dot_lookup = False

    def __init__(self, tree: Tree, files: Files, inodes: Inodes, attributes: Attributes) -> None:
        super().__init__()
        self._tree = tree
        self._files = files
        self._inodes = inodes
        self._attributes = attributes
        self.handles = Handles()
        self.initialized = trio.Event()

    def init(self) -> None:
        self.initialized.set()

    # --- names and attributes -----------------------------------------------------

    def _node(self, inode: int) -> Node:
        node = self._inodes.get(inode)
        if node is None:
            raise Errno(errno.ESTALE)
        return node

    def _directory(self, inode: int) -> Node:
        """As `_node`, of a directory in which the kernel is about to learn names."""
        node = self._node(inode)
        node.shown = True
        return node

    def _entry(self, node: Node, timeout: float) -> pyfuse3.EntryAttributes:
        # A file's attributes change only through this mount (see `inodes`). A listing tells less: enough for one `ls -l`.
        attr_timeout = timeout
        if not node.is_dir:
            attr_timeout = TIMEOUT_MAX_S if node.complete else min(timeout, self._tree.grace_s)
        return self._attributes.of(node, timeout, attr_timeout)

    def _found(self, node: Node, timeout: float) -> pyfuse3.EntryAttributes:
        node.lookups += 1
        return self._entry(node, timeout)

    def _timeout(self, node: Node) -> float:
        if node.is_dir:
            return self._tree.directory_timeout(node.bucket, node.key)
        return self._tree.file_timeout(node.bucket, node.key)

    @answers
    async def lookup(
        self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        node, timeout = await self._tree.lookup(self._directory(parent_inode), name)
        if node is not None:
            kept = await self._files.keep_for(ctx.pid, node)
            return self._found(kept, timeout if kept is node else 0.0)
        absent = pyfuse3.EntryAttributes()
        absent.st_ino = 0
        absent.entry_timeout = min(timeout, TIMEOUT_MAX_S)
        return absent

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        self._inodes.forget(inode_list)

    @answers
    async def getattr(self, inode: int, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        node = self._node(inode)
        if not node.named and not node.unlinked and node.opened == 0:
            raise Errno(errno.ESTALE)
        if not self._tree.in_listing(node):
            await self._files.complete(node)
        return self._entry(node, self._timeout(node))

    @answers
    async def setattr(
        self,
        inode: int,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        node = self._node(inode)
        if fields.update_size:
            handle = None if fh is None else self.handles.files.get(fh)
            await self._files.truncate(node, handle, attr.st_size)
        facts = PosixFacts(
            stat.S_IMODE(attr.st_mode) if fields.update_mode else None,
            attr.st_uid if fields.update_uid else None,
            attr.st_gid if fields.update_gid else None,
            # The times that go with a truncation are the draft's already.
            attr.st_mtime_ns if fields.update_mtime and not fields.update_size else None,
        )
        if facts != PosixFacts():
            change = self._tree.change_directory if node.is_dir else self._files.change
            await change(node, facts)
        return self._entry(node, self._timeout(node))

    @answers
    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        data = pyfuse3.StatvfsData()
        data.f_bsize = data.f_frsize = _STATFS_BLOCK_BYTES
        data.f_blocks = data.f_bfree = data.f_bavail = _STATFS_BLOCKS
        data.f_files = data.f_ffree = data.f_favail = _STATFS_FILES
        data.f_namemax = 255
        return data

    # --- directories ------------------------------------------------------------------

    @answers
    async def opendir(self, inode: int, ctx: pyfuse3.RequestContext) -> int:
        node = self._directory(inode)
        node.listings += 1
        return self.handles.add_directory(DirectoryHandle(node))

    @answers
    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        handle = self.handles.directories[fh]
        if start_id == 0 and handle.entries:
            handle.rewind()
        # Offsets 1 and 2 are behind "." and "..".
        index = start_id
        while True:
            if index < 2:
                if not self._reply_dots(token, handle.node, index):
                    return
            else:
                while index - 2 >= len(handle.entries):
                    if handle.complete:
                        return
                    await self._more(handle)
                if not self._reply(token, handle.node, handle.entries[index - 2], index + 1):
                    return
            index += 1

    def _reply_dots(self, token: pyfuse3.ReaddirToken, node: Node, index: int) -> bool:
        shown = node if index == 0 else self._inodes.parent(node) or node
        entry = self._entry(shown, 0.0)
        return pyfuse3.readdir_reply(token, b"." if index == 0 else b"..", entry, index + 1)

    def _reply(
        self, token: pyfuse3.ReaddirToken, directory: Node, item: DirectoryEntry, next_id: int
    ) -> bool:
        node, timeout = self._tree.listed(directory, item)
        if node is None:
            return True
        if pyfuse3.readdir_reply(token, item.name, self._entry(node, timeout), next_id):
            node.lookups += 1
            return True
        self._inodes.drop_if_unused(node)
        return False

    async def _more(self, handle: DirectoryHandle) -> None:
        """Ask for the next page, and take from it what is certain."""
        mark = self._tree.recent.mark()
        if self._tree.is_top(handle.node):
            handle.entries += await self._tree.buckets(mark)
            handle.complete = True
            return
        request = ListRequest(
            prefix=handle.node.key, delimiter="/", continuation=handle.continuation
        )
        page = await self._tree.cache.list_objects(handle.node.bucket, request)
        handle.entries += handle.merge.feed(page, mark)
        handle.continuation = page.continuation
        if not page.continuation:
            handle.entries += handle.merge.finish()
            handle.complete = True
            self._add_pending(handle)

    def _add_pending(self, handle: DirectoryHandle) -> None:
        node = handle.node
        pending = [split(file.key)[1] for file in self._inodes.pending_in(node.bucket, node.key)]
        if pending:
            listed = {entry.name for entry in handle.entries}
            handle.entries += [
                DirectoryEntry(name, None, pending=True) for name in pending if name not in listed
            ]

    async def releasedir(self, fh: int) -> None:
        self.handles.directories.pop(fh).node.listings -= 1

    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        """Nothing to do: what made or removed a name was durable when it was answered."""

    @answers
    async def mkdir(
        self, parent_inode: int, name: bytes, mode: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        parent = self._directory(parent_inode)
        node = await self._tree.mkdir(parent, name, self._owner(mode, ctx, is_dir=True))
        return self._found(node, self._timeout(node))

    @answers
    async def rmdir(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        await self._tree.rmdir(self._node(parent_inode), name)

    # --- files --------------------------------------------------------------------------

    def _owner(self, mode: int, ctx: pyfuse3.RequestContext, *, is_dir: bool) -> PosixFacts:
        """Owner and mode of what this caller makes; silent where they are the default."""
        facts = PosixFacts(stat.S_IMODE(mode & ~ctx.umask), ctx.uid, ctx.gid)
        return self._attributes.minimal(facts, is_dir=is_dir)

    @answers
    async def open(self, inode: int, flags: int, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        handle = await self._files.open(self._node(inode), flags, ctx.pid)
        return self._opened(handle)

    def _opened(self, handle: FileHandle) -> pyfuse3.FileInfo:
        # An inode is one version, or what this kernel itself wrote: its cached pages are always right.
        return pyfuse3.FileInfo(fh=self.handles.add_file(handle), keep_cache=True)

    @answers
    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: pyfuse3.RequestContext
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        parent = self._writable_parent(parent_inode)
        handle = self._files.create(
            parent, name, self._owner(mode, ctx, is_dir=False), exclusive=bool(flags & os.O_EXCL)
        )
        return self._opened(handle), self._found(handle.node, self._timeout(handle.node))

    def _writable_parent(self, inode: int) -> Node:
        parent = self._directory(inode)
        if self._tree.is_top(parent):
            # Only buckets can be here.
            raise Errno(errno.EPERM)
        return parent

    @answers
    async def mknod(
        self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        if not is_regular(mode):
            raise Errno(errno.EPERM)
        parent = self._writable_parent(parent_inode)
        handle = self._files.create(
            parent, name, self._owner(mode, ctx, is_dir=False), exclusive=True
        )
        try:
            await self._files.flush(handle)
            return self._found(handle.node, self._timeout(handle.node))
        finally:
            await self._files.release(handle)

    @answers
    async def symlink(
        self, parent_inode: int, name: bytes, target: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        # symlink(2), link(2): EPERM is "the filesystem does not support the creation of ... links".
        raise Errno(errno.EPERM)

    @answers
    async def link(
        self, inode: int, new_parent_inode: int, new_name: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        raise Errno(errno.EPERM)

    @answers
    async def readlink(self, inode: int, ctx: pyfuse3.RequestContext) -> bytes:
        raise Errno(errno.EINVAL)

    @answers
    async def read(self, fh: int, off: int, size: int) -> memoryview | bytes:  # type: ignore[override]  # any buffer will do
        return await self._files.read(self.handles.files[fh], off, size)

    @answers
    async def write(self, fh: int, off: int, buf: bytes) -> int:
        return await self._files.write(self.handles.files[fh], off, buf)

    @answers
    async def flush(self, fh: int) -> None:
        await self._files.flush(self.handles.files[fh])

    @answers
    async def fsync(self, fh: int, datasync: bool) -> None:
        await self._files.flush(self.handles.files[fh])

    @answers
    async def release(self, fh: int) -> None:
        await self._files.release(self.handles.files.pop(fh))

    @answers
    async def unlink(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        await self._tree.unlink(self._writable_parent(parent_inode), name)

    @answers
    async def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: pyfuse3.RequestContext,
    ) -> None:
        if flags & ~pyfuse3.RENAME_NOREPLACE:
            raise Errno(errno.EINVAL)
        old_parent, parent = map(self._directory, (parent_inode_old, parent_inode_new))
        node, _ = await self._tree.lookup(old_parent, name_old)
        if node is None:
            raise Errno(errno.ENOENT)
        await self._files.publish(node)
        replace = not flags & pyfuse3.RENAME_NOREPLACE
        await self._tree.rename(node, old_parent, parent, name_new, replace=replace)

    # --- extended attributes -----------------------------------------------------------------

    @answers
    async def getxattr(self, inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> bytes:
        # The kernel asks for security.capability before every write: no look at the node for that.
        if xattrs.metadata_name(name) is None:
            raise Errno(errno.ENODATA)
        node = self._node(inode)
        await self._files.complete(node)
        return xattrs.get(node.metadata, name)

    @answers
    async def listxattr(self, inode: int, ctx: pyfuse3.RequestContext) -> Sequence[bytes]:
        node = self._node(inode)
        await self._files.complete(node)
        return xattrs.listing(node.metadata)

    @answers
    async def setxattr(
        self, inode: int, name: bytes, value: bytes, ctx: pyfuse3.RequestContext
    ) -> None:
        node = self._node(inode)
        await self._files.complete(node)
        await self._set_metadata(node, lambda old: xattrs.with_value(old, name, value))

    @answers
    async def removexattr(self, inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        node = self._node(inode)
        await self._files.complete(node)
        await self._set_metadata(node, lambda old: xattrs.without(old, name))

    async def _set_metadata(self, node: Node, change: Change) -> None:
        if node.is_dir:
            if node.key == "":
                raise Errno(errno.EOPNOTSUPP)
            await self._tree.put_marker(node.bucket, node.key, change(node.metadata))
        else:
            await self._files.set_metadata(node, change)

    def statistics(self) -> dict[str, float]:
        return {**self.handles.statistics()}
