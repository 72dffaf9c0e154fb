"""Keeping the kernel's caches exact: what changes elsewhere is dropped here, as soon as the cache tells.

The cache tells synchronously (`changed`), before the change is acknowledged. The tables are corrected at once; the kernel is told by
tasks, in threads, since it may have to wait for requests in the same directory that this process must answer first. The cache waits for
that (`told`) before it acknowledges a change that did not come through the mount, but not for long.

A file that has a new version loses its name in the kernel, and gets a new inode at the next lookup; its old inode stays as it is, so pages
are never invalidated. A directory that exists before and after is left alone: dropping it would drop everything cached below it, and the
current directory of whoever works in it.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from typing import Protocol

import trio

from appliance.cache.api import Invalidation
from appliance.model.errors import ApplianceError
from appliance.mount.inodes import Inodes, Node
from appliance.mount.names import ancestors, split
from appliance.mount.recent import Recent

log = logging.getLogger(__name__)

# Directories in which the kernel is told at the same time: one may have to wait for a request there.
THREADS = 8


class Kernel(Protocol):
    """What is needed of pyfuse3. Raises OSError; ENOENT if the kernel does not know the name."""

    def invalidate_entry(self, inode_p: int, name: bytes) -> None: ...


def names_to_drop(inodes: Inodes, change: Invalidation) -> Iterator[tuple[int, bytes]]:
    """(directory inode, name) of what the kernel may wrongly believe after `change`; corrects `inodes` on the way.

    Besides the name itself: names of directories above that were not there before (the kernel may believe that they are not), and of files
    that a new directory of the same name hides. Nothing in directories that the kernel knows, but has not looked into.
    """
    bucket, key = change.bucket, change.key
    file_key = key.removesuffix("/")
    touched = [file_key] if file_key else []
    if change.info is not None:
        touched += [directory.removesuffix("/") for directory in ancestors(file_key)]
    elif change.pending:
        # The kernel asks again until it is known what became of the write; nothing is hidden yet.
        yield from _absent_above(inodes, bucket, file_key)
    for name in touched:
        node = inodes.find(bucket, name)
        directory = inodes.find(bucket, name + "/")
        hidden = name != key
        if node is not None:
            node.not_directory_until = 0.0
            if node.draft is not None and node.ino in inodes.pending:
                continue
            if hidden or _is_news(node, change):
                if node.draft is None or not node.draft.dirty:
                    inodes.supersede(node)
            else:
                continue
        if directory is not None and (hidden or node is None):
            continue
        parent_key, component = split(name)
        parent = inodes.find(bucket, parent_key)
        if parent is not None and parent.shown:
            yield parent.ino, component


def _absent_above(inodes: Inodes, bucket: str, key: str) -> Iterator[tuple[int, bytes]]:
    """Names above `key` that stand for nothing, which the kernel may believe."""
    for directory in ancestors(key):
        name = directory.removesuffix("/")
        if inodes.find(bucket, directory) is None and inodes.find(bucket, name) is None:
            parent_key, component = split(name)
            parent = inodes.find(bucket, parent_key)
            if parent is not None and parent.shown:
                yield parent.ino, component


def _is_news(node: Node, change: Invalidation) -> bool:
    """True unless `change` tells of the very version that `node` stands for."""
    return change.info is None or node.info is None or change.info.version != node.info.version


class Invalidator:
    """Tells the kernel. `exists` of `run` asks whether a directory has anything in it, after something in it was deleted elsewhere."""

    def __init__(self, inodes: Inodes, recent: Recent, kernel: Kernel) -> None:
        self._inodes = inodes
        self._recent = recent
        self._kernel = kernel
        # What is to be told, and what is being told; each with what is set when the kernel knows.
        self._names: dict[tuple[int, bytes], trio.Event] = {}
        self._telling: dict[tuple[int, bytes], trio.Event] = {}
        self._directories: dict[tuple[str, str], None] = {}
        self._tasks = 0
        self._work = trio.Event()
        self._idle = trio.Event()
        self._idle.set()
        self._limiter = trio.CapacityLimiter(THREADS)
        self._told = 0

    def changed(self, change: Invalidation) -> None:
        """The cache's listener: never blocks."""
        if self._is_known_absence(change):
            return
        self._recent.touch(change.bucket, change.key)
        if change.origin == "mount":
            return
        parent = self._inodes.find(change.bucket, split(change.key)[0])
        if parent is not None:
            parent.changed_ns = max(
                parent.changed_ns, 0 if change.info is None else change.info.modified_ns
            )
        for name in names_to_drop(self._inodes, change):
            self._names.setdefault(name, trio.Event())
        if change.info is None and not change.pending:
            self._directories.update(
                ((change.bucket, directory), None)
                for directory in (change.key, *ancestors(change.key))
                if directory.endswith("/") and self._inodes.find(change.bucket, directory)
            )
        self._wake()

    def _is_known_absence(self, change: Invalidation) -> bool:
        """True if this tells that the backend lacks what nobody here believed in: a lookup of ours found nothing."""
        return (
            change.origin == "backend"
            and change.info is None
            and self._inodes.find(change.bucket, change.key) is None
        )

    def _wake(self) -> None:
        if self._names or self._directories:
            self._idle = trio.Event() if self._idle.is_set() else self._idle
            self._work.set()

    def drop_soon(self, parent: int, name: bytes) -> None:
        """Have the kernel drop a name; does not wait for it."""
        self._names.setdefault((parent, name), trio.Event())
        self._wake()

    async def forget_name(self, node: Node) -> None:
        """Have the kernel drop the name of `node`; returns when it has."""
        parent = self._inodes.parent(node)
        if parent is not None and node.named:
            name = (parent.ino, split(node.key)[1])
            self.drop_soon(*name)
            await self._known_to_kernel(name)

    async def told(self, bucket: str, key: str) -> None:
        """Wait until the kernel knows what was told so far of `key` and of the names above. Not in a request that the kernel waits for."""
        for name in (key.removesuffix("/"), *(place[:-1] for place in ancestors(key))):
            parent_key, component = split(name)
            parent = self._inodes.find(bucket, parent_key)
            if parent is not None:
                await self._known_to_kernel((parent.ino, component))

    async def _known_to_kernel(self, name: tuple[int, bytes]) -> None:
        for event in (self._telling.get(name), self._names.get(name)):
            if event is not None:
                await event.wait()

    async def settled(self) -> None:
        """Wait until the kernel knows of all changes told so far, and nothing is left to do."""
        await self._idle.wait()

    async def run(self, exists: Exists) -> None:
        """Tell the kernel what changed, until cancelled. `exists(bucket, directory)` asks the cache.

        One task for each directory, as one that must wait is not to hold up the others.
        """
        async with trio.open_nursery() as nursery:
            while True:
                await self._work.wait()
                self._work = trio.Event()
                names, self._names = self._names, {}
                directories, self._directories = self._directories, {}
                self._telling.update(names)
                for parent, group in by_parent(names).items():
                    self._tasks += 1
                    nursery.start_soon(self._tell_directory, parent, group)
                if directories:
                    self._tasks += 1
                    nursery.start_soon(self._check_all, directories, exists)

    async def _tell_directory(self, parent: int, group: dict[bytes, trio.Event]) -> None:
        await self._in_thread(parent, list(group))
        for name, event in group.items():
            event.set()
            if self._telling.get((parent, name)) is event:
                del self._telling[parent, name]
        self._ended()

    async def _check_all(self, directories: dict[tuple[str, str], None], exists: Exists) -> None:
        await self._check(directories, exists)
        self._ended()

    def _ended(self) -> None:
        self._tasks -= 1
        if not self._tasks and not self._names and not self._directories:
            self._idle.set()

    async def _in_thread(self, parent: int, names: list[bytes]) -> None:
        # Abandoned on cancellation: the call may wait for a request that will not be answered any more; closing the session frees it.
        await trio.to_thread.run_sync(
            self._tell, parent, names, limiter=self._limiter, abandon_on_cancel=True
        )
        self._told += len(names)

    def _tell(self, parent: int, names: list[bytes]) -> None:
        for name in names:
            try:
                self._kernel.invalidate_entry(parent, name)
            except OSError as error:
                # ENOENT: the kernel did not know it. ENOTDIR, ENOTCONN: it is going away.
                if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ENOTCONN}:
                    log.warning("The kernel did not drop a name: %s", error)

    async def _check(self, directories: dict[tuple[str, str], None], exists: Exists) -> None:
        """Drop directories with nothing left in them. Deepest first, as given."""
        for bucket, directory in directories:
            node = self._inodes.find(bucket, directory)
            if node is None:
                continue
            try:
                if await exists(bucket, directory):
                    continue
            except ApplianceError as error:
                log.info("Cannot tell whether %r still exists: %s", directory, error)
                node.believed_until = 0.0
                continue
            self._inodes.supersede(node)
            parent_key, component = split(directory)
            parent = self._inodes.find(bucket, parent_key)
            if parent is not None:
                await self._in_thread(parent.ino, [component])

    def statistics(self) -> dict[str, float]:
        return {
            "invalidated_names_total": self._told,
            "waiting_names": len(self._names) + len(self._telling),
        }


def by_parent(names: dict[tuple[int, bytes], trio.Event]) -> dict[int, dict[bytes, trio.Event]]:
    """By directory."""
    groups: dict[int, dict[bytes, trio.Event]] = {}
    for (parent, name), event in names.items():
        groups.setdefault(parent, {})[name] = event
    return groups


class Exists(Protocol):
    async def __call__(self, bucket: str, directory: str) -> bool: ...
