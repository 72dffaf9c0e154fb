"""Writes that do not end well: whatever was there stays whole, whatever was not there is still not there."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable

import trio

from appliance.model.errors import ChecksumMismatchError
from appliance.model.objects import PutOptions, UploadInfo
from appliance.plugin.body import Body
from appliance.plugin.check import expect
from appliance.plugin.check.bodies import FailingBody, StallingBody
from appliance.plugin.check.trial import Trial

MIB = 1 << 20


class SenderGoneError(Exception):
    """What a body may raise: anything."""


async def of_bodies_leave_nothing(trial: Trial) -> None:
    """A body that raises at its beginning, middle or very end: the error comes through as it is, and no object is there."""
    data = trial.data(2 * MIB)
    for good_bytes in (0, MIB, len(data)):
        for size_known in (True, False):
            for error in (SenderGoneError("gone"), ChecksumMismatchError()):
                await _fails(trial, "new", data, good_bytes, error, size_known=size_known)
                await trial.missing("new", f"after its body raised at byte {good_bytes}")
    expect.equal(await trial.names(), [], "objects after bodies that raised")


async def of_bodies_leave_the_old_object(trial: Trial) -> None:
    """The old version stays: bytes, metadata, version."""
    old = await trial.put("a", b"old", metadata={"x": "1"})
    data = trial.data(2 * MIB)
    for good_bytes in (0, MIB, len(data)):
        await _fails(trial, "a", data, good_bytes, SenderGoneError("gone"))
        info = await trial.holds("a", b"old", f"after a body raised at byte {good_bytes}")
        expect.equal(info.version, old.version, "version after a body that raised")
        expect.equal(info.metadata, {"x": "1"}, "metadata after a body that raised")


async def of_small_bodies_leave_nothing(trial: Trial) -> None:
    """One chunk, then an error; an error where an empty body should have ended."""
    for data in (b"", b"x", b"y" * 1000):
        await _fails(trial, "new", data, len(data), ChecksumMismatchError())
        await trial.missing("new", "after its body raised")


async def of_parts_leave_the_old_part(trial: Trial) -> None:
    """A part whose body raises is not listed, and an earlier one of its number stays."""
    upload = await trial.create_upload("a")
    old = await trial.put_part(upload, 1, b"old")
    data = trial.data(MIB)
    for number in (1, 2):
        for good_bytes in (0, MIB // 2, MIB):
            error = SenderGoneError("gone")
            body = FailingBody(data, good_bytes=good_bytes, error=error)
            with expect.raises(SenderGoneError, what=f"put_part {number} whose body raises"):
                await _put_part(trial, upload, number, body)
    expect.equal([p.etag for p in await trial.parts(upload)], [old.etag], "parts afterwards")
    await trial.complete(upload, [old])
    await trial.holds("a", b"old", "after parts that failed")


async def by_cancellation_leave_nothing(trial: Trial) -> None:
    """A put that is cancelled while its body comes, at its beginning, middle or end."""
    data = trial.data(MIB)
    for good_bytes in (0, MIB // 2, MIB):
        body = StallingBody(data, good_bytes=good_bytes)
        await _cancelled(functools.partial(_put, trial, "new", body), body.reached)
        await trial.missing("new", f"after its put was cancelled at byte {good_bytes}")
    expect.equal(await trial.names(), [], "objects after cancelled puts")


async def by_cancellation_leave_the_old_object(trial: Trial) -> None:
    old = await trial.put("a", b"old")
    data = trial.data(MIB)
    for good_bytes in (0, MIB // 2, MIB):
        body = StallingBody(data, good_bytes=good_bytes)
        await _cancelled(functools.partial(_put, trial, "a", body), body.reached)
        info = await trial.holds("a", b"old", f"after a put was cancelled at byte {good_bytes}")
        expect.equal(info.version, old.version, "version after a cancelled put")


async def by_cancellation_leave_the_old_part(trial: Trial) -> None:
    upload = await trial.create_upload("a")
    old = await trial.put_part(upload, 1, b"old")
    for number in (1, 2):
        body = StallingBody(trial.data(MIB), good_bytes=MIB // 2)
        put_part = functools.partial(_put_part, trial, upload, number, body)
        await _cancelled(put_part, body.reached)
    expect.equal([p.etag for p in await trial.parts(upload)], [old.etag], "parts afterwards")


async def by_cancellation_at_any_await(trial: Trial) -> None:
    """Cancelled before it began to wait, a method has done all or nothing; the backend works on."""
    await trial.put("a", b"old")
    with trio.CancelScope() as scope:
        scope.cancel()
        await trial.put("a", b"new")
    expect.true(await trial.read("a") in (b"old", b"new"), "a cancelled put left a mixture")
    with trio.CancelScope() as scope:
        scope.cancel()
        await trial.delete("a")
    names = await trial.names()
    expect.true(names in ([], ["a"]), "a cancelled delete left something else")
    await trial.put("a", b"next")
    await trial.holds("a", b"next", "after cancelled operations")


async def of_readers_leave_nothing(trial: Trial) -> None:
    """A reader that is cancelled between chunks, or raises, holds nothing up."""
    data = trial.data(3 * MIB)
    await trial.put("a", data)
    with trio.CancelScope() as scope:
        async with trial.backend.read(trial.bucket, trial.key("a")) as stream:
            async for _ in stream:
                scope.cancel()
                await trio.lowlevel.checkpoint()
    with expect.raises(SenderGoneError, what="a reader that raises"):
        async with trial.backend.read(trial.bucket, trial.key("a")) as stream:
            async for _ in stream:
                raise SenderGoneError("the reader is gone")
    await trial.put("a", b"next")
    await trial.holds("a", b"next", "after readers that went")


async def _put(trial: Trial, name: str, body: Body) -> None:
    await trial.backend.put(trial.bucket, trial.key(name), body, PutOptions())


async def _put_part(trial: Trial, upload: UploadInfo, number: int, body: Body) -> None:
    await trial.backend.put_part(trial.bucket, upload.key, upload.upload_id, number, body)


async def _fails(
    trial: Trial,
    name: str,
    data: bytes,
    good_bytes: int,
    error: Exception,
    *,
    size_known: bool = True,
) -> None:
    body = FailingBody(data, good_bytes=good_bytes, error=error, size_known=size_known)
    with expect.raises(type(error), what=f"put whose body raises at byte {good_bytes}"):
        await _put(trial, name, body)


async def _cancelled(function: Callable[[], Awaitable[None]], reached: trio.Event) -> None:
    """Run it until `reached`, then cancel it."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(function)
        await reached.wait()
        nursery.cancel_scope.cancel()


CHECKS = (
    of_bodies_leave_nothing,
    of_bodies_leave_the_old_object,
    of_small_bodies_leave_nothing,
    of_parts_leave_the_old_part,
    by_cancellation_leave_nothing,
    by_cancellation_leave_the_old_object,
    by_cancellation_leave_the_old_part,
    by_cancellation_at_any_await,
    of_readers_leave_nothing,
)
