"""What all operations of the backend stand on: its life, and running one operation in one thread hop."""

from __future__ import annotations

import functools
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import trio

from appliance.model.checksums import ALGORITHMS
from appliance.model.errors import BackendUnavailableError
from appliance.plugin import Backend, BackendConfig, Body, Capabilities, Digests
from appliance_posix.bucket import Bucket
from appliance_posix.config import Options
from appliance_posix.errnos import domain_error
from appliance_posix.impersonation import ActingHost
from appliance_posix.intake import Intake, receive
from appliance_posix.reaper import reap
from appliance_posix.snapshot import Snapshots
from appliance_posix.staging import Staged
from appliance_posix.transfer import PIECE_BYTES, Hashing
from appliance_posix.volume import Volume, open_volume

T = TypeVar("T")
COUNTERS = (
    "puts",
    "reads",
    "heads",
    "deletes",
    "lists",
    "copies",
    "parts",
    "completed_uploads",
    "reaped_uploads",
    "reaped_files",
)


class PosixCore(Backend):
    """See `Backend`. Everything blocking is in the other modules, and knows no trio."""

    def __init__(self, config: BackendConfig, options: Options) -> None:
        self.name = config.name
        self._host = ActingHost(config.host)
        self._options = options
        self._root = os.fsencode(options.root)
        self._volume: Volume | None = None
        self._snapshots: Snapshots | None = None
        self._counters = dict.fromkeys(COUNTERS, 0.0)
        self.capabilities = Capabilities(
            local_files=True,
            cheap_validation=True,
            conditional_put=True,
            conditional_delete=True,
            server_side_copy=True,
            tagging=True,
            compare_and_swap=True,
            versioning=True,
            acls=True,
            callers=True,
            checksums=frozenset(ALGORITHMS),
        )

    # --- life ----------------------------------------------------------------

    def local_root(self) -> str:
        return os.fsdecode(self._root)

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

    async def maintain(self) -> None:
        """Remove leftovers older than the option `upload_max_age`."""
        reaped = await self._run(reap, self.volume, self._options.upload_max_age_s)
        self._counters["reaped_uploads"] += reaped.uploads
        self._counters["reaped_files"] += reaped.staged + reaped.sidecars + reaped.buckets
        if reaped.uploads:
            self._host.logger.info(
                "backend %s: removed %d multipart uploads abandoned for more than %d s",
                self.name,
                reaped.uploads,
                self._options.upload_max_age_s,
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
        counters = {f"{name}_total": count for name, count in self._counters.items()}
        return {**counters, **directories}

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
        call = functools.partial(with_bucket, self.volume, bucket, function)
        return await self._run(call, *args, bucket=bucket, key=key, **kwargs)

    @asynccontextmanager
    async def _received(self, bucket: str, key: str, body: Body) -> AsyncIterator[Intake]:
        """All of a body; what the block does not publish of it is let go of."""
        intake = Intake()
        try:
            try:
                await receive(self._host, self.volume, bucket, body, intake)
            except OSError as error:
                raise domain_error(error, bucket, key) from error
            yield intake
        finally:
            if intake.staged is not None:
                await self._discard(intake)

    async def _digests(self, body: Body, intake: Intake, wanted: Sequence[str]) -> Digests:
        """What the body hashed to; and the checksums that are wanted, if it did not compute them, from what was written."""
        digests = body.digests()
        missing = [algorithm for algorithm in wanted if algorithm not in digests.checksums]
        if not missing:
            return digests
        if intake.staged is not None:
            computed = await self._hash(intake.staged, missing)
        else:
            hashing = Hashing(missing)
            await self._host.run_blocking(hashing.update, intake.data)
            computed = hashing.digests()
        return Digests(digests.md5, {**digests.checksums, **computed.checksums})

    async def _hash(self, staged: Staged, algorithms: Sequence[str]) -> Digests:
        """Digests of a staged file."""
        hashing = Hashing(algorithms)
        for offset in range(0, staged.size, PIECE_BYTES):
            end = min(offset + PIECE_BYTES, staged.size)
            await self._run(hashing.catch_up, staged, end)
        return hashing.digests()

    async def _discard(self, *owned: Intake | Staged | None) -> None:
        """Let go of files that were not published, whatever happens: closing a large one frees its blocks, which takes time."""
        for one in owned:
            if one is not None:
                with trio.CancelScope(shield=True):
                    await self._host.run_blocking(one.discard)


def with_bucket(
    volume: Volume, name: str, function: Callable[..., T], *args: Any, **kwargs: Any
) -> T:
    """Call `function(opened bucket, ...)`."""
    with Bucket(volume, name) as bucket:
        return function(bucket, *args, **kwargs)
