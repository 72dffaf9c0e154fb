"""Many at once: each operation happens as if alone, before or after each other."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import Any

from appliance.model.errors import (
    ApplianceError,
    BackendUnavailableError,
    ConflictError,
    InvalidPartError,
    NoSuchKeyError,
    NoSuchUploadError,
    PreconditionFailedError,
    UnsupportedError,
    VersionChangedError,
)
from appliance.model.objects import Conditions, ObjectInfo
from appliance.plugin.check import expect
from appliance.plugin.check.trial import Trial, together

MANY = 8
MIB = 1 << 20


async def creators_have_one_winner(trial: Trial) -> None:
    """`if_none_match="*"` on a new key: one put succeeds, and its object is there."""
    for turn in range(3):
        name = f"deep/{turn}/new"
        await _race(trial, name, Conditions(if_none_match=("*",)))


async def replacers_have_one_winner(trial: Trial) -> None:
    """`if_match` on one version: one put succeeds."""
    info = await trial.put("a", b"first")
    for _ in range(3):
        info = await _race(trial, "a", Conditions(if_match=(info.etag,)), info)


async def _race(
    trial: Trial, name: str, conditions: Conditions, before: ObjectInfo | None = None
) -> ObjectInfo:
    datas = [f"{name} by {number} {trial.token()}".encode() for number in range(MANY)]
    puts = [functools.partial(trial.put, name, data, conditions) for data in datas]
    results = await together(*puts)
    if not trial.can.conditional_put:
        kinds = {type(result) for result in results}
        expect.equal(kinds, {UnsupportedError}, "conditional puts, not declared")
        return before or await trial.put(name, b"plain")
    winners = [number for number, result in enumerate(results) if isinstance(result, ObjectInfo)]
    expect.equal(len(winners), 1, f"conditional puts of {name!r} that succeeded at once")
    losers = [result for result in results if not isinstance(result, ObjectInfo)]
    allowed = (PreconditionFailedError, ConflictError)
    wrong = [error for error in losers if not isinstance(error, allowed)]
    expect.equal(wrong, [], "errors of those that did not")
    return await trial.holds(name, datas[winners[0]], "after the race")


async def puts_are_whole(trial: Trial) -> None:
    """Of puts of one key at once, one is there afterwards: its bytes with its metadata."""
    datas = [bytes([65 + number]) * (100_000 + number) for number in range(MANY)]
    for _ in range(2):
        puts = [
            functools.partial(trial.put, "a", data, metadata={"writer": str(number)})
            for number, data in enumerate(datas)
        ]
        results = await together(*puts)
        _none_failed(results, "puts of one key at once")
        info = await trial.head("a")
        await trial.holds("a", datas[int(info.metadata["writer"])], "by its metadata")
        versions = [result.version for result in results]
        expect.equal(len(set(versions)), MANY, "different versions of puts at once")
        expect.true(info.version in versions, "the version there is none of those put")


async def readers_see_one_version(trial: Trial) -> None:
    """A reader whose object is replaced or deleted gets the rest of its version, or an error; never a mixture, never a short end."""
    old, new = b"o" * (3 * MIB), b"n" * (3 * MIB)
    for action in ("replace", "delete"):
        await trial.put("a", old)
        async with trial.backend.read(trial.bucket, trial.key("a")) as stream:
            chunks = stream.__aiter__()
            taken = [bytes(await chunks.__anext__())]
            await (trial.put("a", new) if action == "replace" else trial.delete("a"))
            try:
                taken += [bytes(chunk) async for chunk in chunks]
            except (VersionChangedError, BackendUnavailableError, NoSuchKeyError):
                continue
        expect.equal(b"".join(taken) == old, True, f"whole old version read during {action}")


async def readers_and_writers_mix(trial: Trial) -> None:
    """Each read is the bytes that its ETag names, while writers replace and delete."""
    datas = [bytes([97 + number]) * (50_000 + 30_000 * number) for number in range(4)]

    async def write(turn: int) -> None:
        for step in range(4):
            await trial.put("a", datas[(turn + step) % len(datas)])
        if turn == 0:
            await trial.delete("a")

    async def read() -> None:
        for _ in range(6):
            try:
                async with trial.backend.read(trial.bucket, trial.key("a")) as stream:
                    found = b"".join([bytes(chunk) async for chunk in stream])
            except (NoSuchKeyError, VersionChangedError, BackendUnavailableError):
                continue
            md5 = hashlib.md5(found, usedforsecurity=False).hexdigest()
            expect.equal(md5, stream.info.etag, "MD5 of what was read, by its ETag")

    writers = [functools.partial(write, turn) for turn in range(3)]
    readers = [functools.partial(read) for _ in range(3)]
    _none_failed(await together(*writers, *readers), "readers and writers of one key")


async def puts_and_deletes_leave_one_state(trial: Trial) -> None:
    """Afterwards the object is there, whole, or it is not, in head and listing alike. Neighbours that share a directory do not fail."""
    for turn in range(6):
        name = f"d/{turn % 2}/x"
        put = functools.partial(trial.put, name, b"data")
        await together_ok(put, functools.partial(trial.delete, name), put)
        other = functools.partial(trial.put, f"d/{turn % 2}/y", b"kept")
        await together_ok(functools.partial(trial.delete, name), other)
        await trial.holds(f"d/{turn % 2}/y", b"kept", "while its neighbour was deleted")
        await trial.missing(name, "after delete")


async def deep_neighbours_come_and_go(trial: Trial) -> None:
    """Deleting the last key of a prefix while another key is put below it loses neither."""
    for turn in range(10):
        await trial.put("p/q/r/old", b"old")
        delete = functools.partial(trial.delete, "p/q/r/old")
        put = functools.partial(trial.put, f"p/q/r/s/new{turn}", b"new")
        await together_ok(delete, put)
        await trial.holds(f"p/q/r/s/new{turn}", b"new", "while its neighbour was deleted")
        await trial.delete(f"p/q/r/s/new{turn}")
    expect.equal(await trial.names(), [], "names after all were deleted")


async def listings_miss_no_steady_key(trial: Trial) -> None:
    """Keys that nobody touches are in every listing, once, while others come and go between them."""
    steady = [f"k{number:02}" for number in range(0, 30, 3)]
    for name in steady:
        await trial.put(name, b"1")

    async def churn(number: int) -> None:
        for _ in range(3):
            await trial.put(f"k{number:02}", b"2")
            await trial.delete(f"k{number:02}")

    async def watch() -> None:
        for limit in (1, 3, 1000, 4):
            found = await trial.names(limit=limit)
            expect.equal([name for name in found if name in steady], steady, "steady keys listed")
            expect.equal(len(set(found)), len(found), "keys listed twice")

    churners = [functools.partial(churn, number) for number in (1, 4, 10, 28)]
    _none_failed(await together(*churners, functools.partial(watch)), "a listing under change")


async def parts_of_one_number_are_whole(trial: Trial) -> None:
    """The last to finish wins, whole."""
    upload = await trial.create_upload("a")
    datas = [bytes([65 + number]) * (50_000 + number) for number in range(4)]
    puts = [functools.partial(trial.put_part, upload, 1, data) for data in datas]
    _none_failed(await together(*puts), "the same part at once")
    (part,) = await trial.parts(upload)
    expect.true(part.size - 50_000 in range(4), f"a part of {part.size} bytes")
    await trial.complete(upload, [part])
    await trial.holds("a", datas[part.size - 50_000], "made of the part that won")


async def completions_have_one_outcome(trial: Trial) -> None:
    """Completed twice at once, or completed and aborted: the object is there if any complete_upload said so."""
    for turn, rival in enumerate(("complete", "abort")):
        name = f"a{turn}"
        upload = await trial.create_upload(name)
        part = await trial.put_part(upload, 1, b"data")
        complete = functools.partial(trial.complete, upload, [part])
        abort = functools.partial(
            trial.backend.abort_upload, trial.bucket, upload.key, upload.upload_id
        )
        results = await together(complete, complete if rival == "complete" else abort)
        errors = [result for result in results if isinstance(result, ApplianceError)]
        allowed = (NoSuchUploadError, InvalidPartError, ConflictError)
        wrong = [error for error in errors if not isinstance(error, allowed)]
        expect.equal(wrong, [], f"errors of complete_upload against {rival}")
        if any(isinstance(result, ObjectInfo) for result in results):
            await trial.holds(name, b"data", f"after complete_upload against {rival}")
        else:
            await trial.missing(name, f"although no complete_upload succeeded against {rival}")


async def different_keys_do_not_meet(trial: Trial) -> None:
    """Puts of different keys at once all succeed, below prefixes that do not exist yet."""
    names = [f"{number % 3}/{number % 2}/k{number}" for number in range(3 * MANY)]
    puts = [functools.partial(trial.put, name, name.encode()) for name in names]
    _none_failed(await together(*puts), "puts of different keys at once")
    for name in names:
        await trial.holds(name, name.encode(), "after puts of different keys at once")


async def together_ok(*functions: functools.partial[Any]) -> None:
    """Run them at once; none may fail."""
    _none_failed(await together(*functions), "operations at once")


def _none_failed(results: Sequence[object], what: str) -> None:
    failed = [f"{type(one).__name__}: {one}" for one in results if isinstance(one, ApplianceError)]
    expect.equal(failed, [], f"errors of {what}")


CHECKS = (
    creators_have_one_winner,
    replacers_have_one_winner,
    puts_are_whole,
    readers_see_one_version,
    readers_and_writers_mix,
    puts_and_deletes_leave_one_state,
    deep_neighbours_come_and_go,
    listings_miss_no_steady_key,
    parts_of_one_number_are_whole,
    completions_have_one_outcome,
    different_keys_do_not_meet,
)
