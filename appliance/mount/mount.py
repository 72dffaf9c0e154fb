"""`Mount`: a cache as a filesystem, from mounting to unmounting.

pyfuse3 keeps its session in globals: one mount per process. The process must never touch a path below its own mount, not even by `stat`:
nobody would be there to answer.
"""

from __future__ import annotations

import logging
import os
from typing import ClassVar

import pyfuse3
import trio

from appliance.cache.api import Cache
from appliance.model.errors import MountError
from appliance.model.objects import ListRequest
from appliance.mount import mountpoint
from appliance.mount.attributes import Attributes
from appliance.mount.files import Files
from appliance.mount.guarded import Guarded
from appliance.mount.inodes import Inodes
from appliance.mount.invalidate import Invalidator
from appliance.mount.operations import MountOperations
from appliance.mount.recent import Recent
from appliance.mount.settings import MountSettings
from appliance.mount.tree import Tree
from appliance.world import World

log = logging.getLogger(__name__)

_PREPARE_TIMEOUT_S = 30.0


class Mount:
    """Mounts `cache` as `settings` say. Run `serve` in a nursery; cancel it to unmount."""

    _mounted: ClassVar[str] = ""

    def __init__(self, cache: Cache, world: World, settings: MountSettings) -> None:
        self._cache = cache
        self._settings = settings
        self._inodes = Inodes(settings.bucket, world.now_ns())
        self._recent = Recent()
        attributes = Attributes(settings, os.getuid(), os.getgid())
        self._tree = Tree(cache, world, self._inodes, self._recent, settings.grace_s)
        self._invalidator = Invalidator(self._inodes, self._recent, pyfuse3)
        self._tree.drop_name = self._invalidator.drop_soon
        self._files = Files(
            cache,
            world,
            self._inodes,
            attributes,
            settings.staging,
            self._invalidator.forget_name,
        )
        self._operations = MountOperations(self._tree, self._files, self._inodes, attributes)

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Mount, and answer until cancelled or unmounted from outside; `started` when the filesystem can be used. Raises MountError.

        Cancelled, it answers no new request, gives uploads in progress `shutdown_grace_s` to end, and unmounts, also with files open: their
        users get ENOTCONN.
        """
        if Mount._mounted:
            raise MountError(
                f"This process has {Mount._mounted} mounted already: a process can have one mount only."
            )
        path = await self._prepared()
        unsubscribe = self._cache.subscribe(self._invalidator.changed, self._invalidator.told)
        try:
            self._init(path)
            Mount._mounted = path
            # In this thread, and before the first request is answered: see `guard`.
            guarded = Guarded(path, self._settings.staging)
            try:
                await trio.to_thread.run_sync(guarded.ready)
                await self._run(path, task_status)
            finally:
                # Both detach at once, open files or not. The guard goes first: closing /dev/fuse would not end the connection while a
                # thread waits for the kernel. The second is for when there is no guard.
                guarded.end()
                pyfuse3.close(unmount=True)
                Mount._mounted = ""
                self._files.close_all()
        finally:
            unsubscribe()

    async def _prepared(self) -> str:
        with trio.move_on_after(_PREPARE_TIMEOUT_S):
            return await trio.to_thread.run_sync(self._prepare, abandon_on_cancel=True)
        raise MountError(
            f"Whether {self._settings.path} can be mounted on could not be found out in {_PREPARE_TIMEOUT_S:.0f} s: "
            "is it, or the data directory, on a filesystem that hangs? Repair that, or name others."
        )

    def _prepare(self) -> str:
        path = mountpoint.prepare(self._settings.path, self._settings.staging)
        try:
            os.makedirs(self._settings.staging, mode=0o700, exist_ok=True)
        except OSError as error:
            raise MountError(
                f"The staging directory {self._settings.staging} cannot be made: {error.strerror}."
            ) from None
        return path

    def _init(self, path: str) -> None:
        try:
            pyfuse3.init(self._operations, path, options(self._settings))
        except RuntimeError as error:
            raise MountError(
                f"{path} could not be mounted ({error}): is /dev/fuse there and permitted, and, unless run as root, "
                "fusermount3 installed (Debian package fuse3)?"
            ) from None

    async def _run(self, path: str, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._invalidator.run, self._exists)
            ended = trio.Event()
            # Requests in progress outlive the cancellation by the grace; see `serve`.
            requests = trio.CancelScope(shield=True)
            nursery.start_soon(self._answer, requests, ended)
            try:
                await self._operations.initialized.wait()
                await trio.to_thread.run_sync(
                    mountpoint.set_read_ahead, path, self._settings.read_ahead_kb
                )
                log.info("Mounted at %s", path)
                task_status.started()
                await ended.wait()
            finally:
                if not ended.is_set():
                    pyfuse3.terminate()
                    requests.deadline = trio.current_time() + self._settings.shutdown_grace_s
            nursery.cancel_scope.cancel()

    async def _answer(self, requests: trio.CancelScope, ended: trio.Event) -> None:
        with requests:
            await pyfuse3.main(max_tasks=self._settings.tasks_max)
        ended.set()

    async def _exists(self, bucket: str, directory: str) -> bool:
        page = await self._cache.list_objects(bucket, ListRequest(prefix=directory, limit=1))
        return bool(page.objects or page.common_prefixes)

    async def settled(self) -> None:
        """Wait until the kernel knows of every change that the cache has told of."""
        await self._invalidator.settled()

    def statistics(self) -> dict[str, float]:
        parts = (
            self._inodes,
            self._recent,
            self._tree,
            self._files,
            self._operations,
            self._invalidator,
        )
        return {name: value for part in parts for name, value in part.statistics().items()}


def options(settings: MountSettings) -> set[str]:
    """Options for libfuse. No max_read: it would keep reads small."""
    # The name has a colon so that nothing takes it for a path: mount(8) would show a file of that name here.
    name = f"appliance:{settings.bucket}"
    chosen = {f"fsname={name}", "subtype=appliance", "default_permissions"}
    if settings.allow_other:
        chosen.add("allow_other")
    if settings.read_only:
        chosen.add("ro")
    return chosen
