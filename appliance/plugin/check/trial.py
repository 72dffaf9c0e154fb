"""`Trial`: one check's own corner of a backend, with the few verbs that checks are written in.

A check gets a bucket of its own, or, where buckets cannot be made, a key prefix of its own. It speaks in *names*, which become keys by
`key`; chance comes from a seed made of the run's seed and the check's name, so that a failure repeats.
"""

from __future__ import annotations

import functools
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec
import trio

from appliance.model.errors import ApplianceError, NoSuchBucketError, NoSuchKeyError
from appliance.model.objects import (
    NO_CONDITIONS,
    CompletedPart,
    Conditions,
    DeleteTarget,
    ListRequest,
    ObjectInfo,
    PartInfo,
    PutOptions,
    UploadInfo,
    Versioning,
    VersionListRequest,
)
from appliance.model.ranges import RangeSpec
from appliance.plugin.backend import Backend, Capabilities
from appliance.plugin.check import expect
from appliance.plugin.check.bodies import ScribblingBody, StallingBody

PUTS_AT_ONCE = 8


def _nothing(_key: str) -> bool:
    return False


class Allowances(msgspec.Struct, frozen=True, kw_only=True):
    """What this storage is known not to do, beyond its declared Capabilities. The default allows nothing.

    `gaps` maps names of checks to the reason why they fail here; each must still fail, so that the list stays true. `sometimes` is the same
    for what fails only now and then, as races do: such a check may pass. `unstorable` tells keys that the storage cannot hold: they must
    then be refused, not mangled. `part_sizes`: objects remember the sizes of their parts. `tag_times`: a change of tags leaves the time of
    modification. `timeout_s` bounds one check, in seconds; `many` is how many objects are many.
    """

    gaps: Mapping[str, str] = {}
    sometimes: Mapping[str, str] = {}
    unstorable: Callable[[str], bool] = _nothing
    part_sizes: bool = True
    tag_times: bool = True
    timeout_s: float = 60.0
    many: int = 120


class Trial:
    """See the module. `shared` is true where `bucket` belongs to somebody else and only `prefix` is ours."""

    def __init__(
        self,
        backend: Backend,
        bucket: str,
        prefix: str,
        *,
        allow: Allowances,
        seed: str,
        other: Backend | None = None,
    ) -> None:
        self.backend = backend
        self.other = other or backend
        self.bucket = bucket
        self.prefix = prefix
        self.shared = bool(prefix)
        self.allow = allow
        self.seed = seed
        self.random = random.Random(seed)  # noqa: S311  # repeatable on purpose
        self._buckets: list[str] = []

    @property
    def can(self) -> Capabilities:
        """What the backend declares; some learn it from their storage only when it is first used."""
        return self.backend.capabilities

    def by_other(self) -> Trial:
        """The same corner of the storage, through the second backend."""
        return Trial(self.other, self.bucket, self.prefix, allow=self.allow, seed=self.seed)

    def key(self, name: str) -> str:
        """The key of this trial that `name` stands for."""
        return self.prefix + name

    def data(self, size: int) -> bytes:
        """Random bytes."""
        return self.random.randbytes(size)

    def token(self) -> str:
        """A few characters that occur nowhere else."""
        return self.random.randbytes(6).hex()

    # --- objects -----------------------------------------------------------------

    async def put(
        self,
        name: str,
        data: bytes = b"",
        conditions: Conditions = NO_CONDITIONS,
        **options: Any,
    ) -> ObjectInfo:
        """Put an object whose chunks share one buffer; `options` are PutOptions' fields."""
        return await self.backend.put(
            self.bucket, self.key(name), ScribblingBody(data), PutOptions(**options), conditions
        )

    async def put_all(self, objects: Mapping[str, bytes]) -> dict[str, ObjectInfo]:
        """Put many objects, a few at a time: a storage that syncs each write can sync some together."""
        limiter = trio.CapacityLimiter(PUTS_AT_ONCE)
        infos: dict[str, ObjectInfo] = {}

        async def one(name: str, data: bytes) -> None:
            async with limiter:
                infos[name] = await self.put(name, data)

        async with trio.open_nursery() as nursery:
            for name, data in objects.items():
                nursery.start_soon(one, name, data)
        return infos

    async def head(self, name: str) -> ObjectInfo:
        return await self.backend.head(self.bucket, self.key(name))

    async def read(
        self,
        name: str,
        byte_range: RangeSpec | None = None,
        *,
        version: str = "",
        conditions: Conditions = NO_CONDITIONS,
    ) -> bytes:
        """All bytes of an object, or of a range of it."""
        async with self.backend.read(
            self.bucket, self.key(name), byte_range, version=version, conditions=conditions
        ) as stream:
            chunks = [bytes(chunk) async for chunk in stream]
        data = b"".join(chunks)
        expect.true(all(chunks), f"reading {name!r} yielded an empty chunk")
        expect.equal(len(data), stream.range.length, f"bytes read of {name!r}, by stream.range")
        return data

    async def delete(self, name: str, conditions: Conditions = NO_CONDITIONS) -> None:
        await self.backend.delete(self.bucket, self.key(name), conditions)

    async def overtaken(
        self,
        name: str,
        data: bytes,
        meanwhile: functools.partial[Any],
        conditions: Conditions = NO_CONDITIONS,
    ) -> ObjectInfo | ApplianceError:
        """Put an object, and run `meanwhile` after its body has begun and before it ends. What the put returned or raised."""
        body = StallingBody(data, good_bytes=len(data) // 2)

        async def put() -> ObjectInfo:
            try:
                return await self.backend.put(
                    self.bucket, self.key(name), body, PutOptions(), conditions
                )
            finally:
                body.reached.set()

        async def between() -> None:
            try:
                await body.reached.wait()
                await meanwhile()
            finally:
                body.go.set()

        result, failure = await together(functools.partial(put), functools.partial(between))
        expect.equal(failure, None, f"what was done during the put of {name!r}")
        expect.true(result, f"the put of {name!r} returned nothing")
        return cast("ObjectInfo | ApplianceError", result)

    async def missing(self, name: str, when: str) -> None:
        """Expect that there is no such object, however one asks."""
        with expect.raises(NoSuchKeyError, what=f"head of {name!r} {when}"):
            await self.head(name)
        with expect.raises(NoSuchKeyError, what=f"read of {name!r} {when}"):
            await self.read(name)
        expect.true(name not in await self.names(), f"{name!r} is listed {when}")

    async def holds(self, name: str, data: bytes, when: str) -> ObjectInfo:
        """Expect that an object has exactly these bytes."""
        expect.equal(await self.read(name), data, f"bytes of {name!r} {when}")
        info = await self.head(name)
        expect.equal(info.size, len(data), f"size of {name!r} {when}")
        return info

    async def names(self, **request: Any) -> list[str]:
        """Names of all objects of this trial, by listing."""
        return [info.key[len(self.prefix) :] for info in await self.infos(**request)]

    async def infos(self, *, limit: int = 1000) -> list[ObjectInfo]:
        """All objects of this trial, by listing."""
        return await _all_objects(self.backend, self.bucket, self.prefix, limit)

    # --- uploads -------------------------------------------------------------------

    async def create_upload(self, name: str, **options: Any) -> UploadInfo:
        return await self.backend.create_upload(self.bucket, self.key(name), PutOptions(**options))

    async def put_part(self, upload: UploadInfo, number: int, data: bytes) -> PartInfo:
        return await self.backend.put_part(
            self.bucket, upload.key, upload.upload_id, number, ScribblingBody(data)
        )

    async def complete(
        self,
        upload: UploadInfo,
        parts: Sequence[PartInfo],
        conditions: Conditions = NO_CONDITIONS,
    ) -> ObjectInfo:
        chosen = [CompletedPart(number=part.number, etag=part.etag) for part in parts]
        return await self.backend.complete_upload(
            self.bucket, upload.key, upload.upload_id, chosen, conditions
        )

    async def parts(self, upload: UploadInfo) -> list[PartInfo]:
        page = await self.backend.list_parts(self.bucket, upload.key, upload.upload_id)
        return list(page.parts)

    async def upload(self, name: str, *parts: bytes, **options: Any) -> ObjectInfo:
        """An object made of parts 1, 2, ..."""
        upload = await self.create_upload(name, **options)
        done = [await self.put_part(upload, n, data) for n, data in enumerate(parts, start=1)]
        return await self.complete(upload, done)

    # --- buckets -----------------------------------------------------------------------

    async def another_bucket(self) -> str:
        """A second bucket, removed with the trial."""
        name = f"check-{self.token()}"
        await self.backend.create_bucket(name)
        self._buckets.append(name)
        return name

    async def clean_up(self) -> None:
        """Leave nothing behind. A bucket that was emptied must be deletable: hidden leftovers show here."""
        for bucket in self._buckets:
            await _empty(self.backend, bucket, "")
            await _delete_bucket(self.backend, bucket)
        await _empty(self.backend, self.bucket, self.prefix)
        if not self.shared:
            await _delete_bucket(self.backend, self.bucket)


Check = Callable[[Trial], Any]  # an async function


@asynccontextmanager
async def open_trial(
    backend: Backend,
    name: str,
    *,
    bucket: str = "",
    allow: Allowances | None = None,
    seed: int = 1,
    other: Backend | None = None,
) -> AsyncIterator[Trial]:
    """A trial for the check `name`: in a bucket made for it, or below a prefix of the existing `bucket`."""
    made = bucket or f"check-{fresh_token()}"
    prefix = f"{name}-{fresh_token()}/" if bucket else ""
    allow = allow or Allowances()
    one = Trial(backend, made, prefix, allow=allow, seed=f"{seed} {name}", other=other)
    if not bucket:
        await backend.create_bucket(made)
    try:
        yield one
    except BaseException:
        # The check's own failure is the one to tell.
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 30):
            await _suppressed(one.clean_up)
        raise
    await one.clean_up()


_tokens = random.SystemRandom()


def fresh_token() -> str:
    """Characters for names that no earlier run on the same storage has used."""
    return f"{_tokens.getrandbits(48):012x}"


async def _suppressed(function: Callable[[], Any]) -> None:
    try:
        await function()
    except ApplianceError:
        return


async def _all_objects(
    backend: Backend, bucket: str, prefix: str, limit: int = 1000
) -> list[ObjectInfo]:
    found: list[ObjectInfo] = []
    continuation = ""
    while True:
        request = ListRequest(prefix=prefix, continuation=continuation, limit=limit)
        page = await backend.list_objects(bucket, request)
        found += page.objects
        continuation = page.continuation
        if not continuation:
            return found
        expect.true(page.objects, "a page without objects has a continuation")


async def _empty(backend: Backend, bucket: str, prefix: str) -> None:
    try:
        page = await backend.list_uploads(bucket, prefix=prefix)
    except NoSuchBucketError:
        return
    for upload in page.uploads:
        await backend.abort_upload(bucket, upload.key, upload.upload_id)
    await _empty_history(backend, bucket, prefix)
    keys = [info.key for info in await _all_objects(backend, bucket, prefix)]
    for first in range(0, len(keys), 1000):
        for outcome in await backend.delete_many(bucket, keys[first : first + 1000]):
            expect.equal(outcome.error, None, f"deleting {outcome.key!r} when all was done")


async def _empty_history(backend: Backend, bucket: str, prefix: str) -> None:
    """Where there are versions, each must go by its id."""
    if await backend.get_versioning(bucket) is Versioning.OFF:
        return
    while True:
        page = await backend.list_versions(bucket, VersionListRequest(prefix=prefix))
        targets = [
            DeleteTarget(key=one.info.key, version_id=one.info.version_id) for one in page.versions
        ]
        if not targets:
            return
        for outcome in await backend.delete_versions(bucket, targets):
            expect.equal(outcome.error, None, f"deleting a version of {outcome.key!r} when done")


async def _delete_bucket(backend: Backend, bucket: str) -> None:
    try:
        await backend.delete_bucket(bucket)
    except NoSuchBucketError:
        return
    except ApplianceError as error:
        raise expect.ViolationError(f"the emptied bucket cannot be deleted: {error}") from error


async def together(*functions: functools.partial[Any]) -> list[Any]:
    """Run async functions at the same time; their results, or the ApplianceErrors they raised, in order."""
    results: list[Any] = [None] * len(functions)

    async def one(index: int, function: functools.partial[Any]) -> None:
        try:
            results[index] = await function()
        except ApplianceError as error:
            results[index] = error

    async with trio.open_nursery() as nursery:
        for index, function in enumerate(functions):
            nursery.start_soon(one, index, function)
    return results
