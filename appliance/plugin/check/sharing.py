"""Two backends on one storage, as two nodes are: what one acknowledges the other sees at once, and races have one winner.

Runs on `check_backend(..., other=...)`, a second backend on the same storage; without one, both are the same, and little is proven.
"""

from __future__ import annotations

import functools

from appliance.model.errors import (
    ConflictError,
    NoSuchUploadError,
    PreconditionFailedError,
    RegisterConflictError,
    UnsupportedError,
    VersionChangedError,
)
from appliance.model.objects import CompletedPart, Conditions, ObjectInfo, PutOptions
from appliance.plugin.body import BytesBody
from appliance.plugin.check import expect
from appliance.plugin.check.trial import Trial, fresh_token, together


async def shows_every_change(trial: Trial) -> None:
    """Puts, overwrites and deletes of one are seen by the other's head, read and listing, with the same version token."""
    other = trial.by_other()
    first = await trial.put("d/a", b"first", metadata={"x": "1"})
    seen = await other.holds("d/a", b"first", "put by the other backend")
    expect.equal(
        (seen.version, seen.etag), (first.version, first.etag), "version seen by the other"
    )
    expect.equal(seen.metadata, {"x": "1"}, "metadata seen by the other")
    expect.equal(await other.names(), ["d/a"], "names listed by the other")
    second = await other.put("d/a", b"again")
    info = await trial.holds("d/a", b"again", "overwritten by the other backend")
    expect.equal(info.version, second.version, "version after the other's put")
    with expect.raises(VersionChangedError, what="read of a version that the other replaced"):
        await trial.read("d/a", version=first.version)
    valid = trial.backend.validate_nowait(trial.bucket, trial.key("d/a"), first.version)
    expect.true(valid is not True, "validate_nowait confirms a version that the other replaced")
    await other.delete("d/a")
    await trial.missing("d/a", "after the other deleted it")


async def goes_on_with_uploads(trial: Trial) -> None:
    """An upload begun by one takes parts from both and is completed by the other; its options came with its beginning."""
    other = trial.by_other()
    upload = await trial.create_upload("a", metadata={"x": "1"})
    large = await other.put_part(upload, 1, b"l" * (5 << 20))
    small = await trial.put_part(upload, 2, b"small")
    expect.equal([p.etag for p in await other.parts(upload)], [large.etag, small.etag], "parts")
    page = await other.backend.list_uploads(other.bucket, prefix=other.prefix)
    expect.equal([one.upload_id for one in page.uploads], [upload.upload_id], "uploads, listed")
    await other.complete(upload, [large, small])
    info = await trial.holds("a", b"l" * (5 << 20) + b"small", "completed by the other")
    expect.equal(info.metadata, {"x": "1"}, "metadata of an upload completed by the other")
    with expect.raises(NoSuchUploadError, what="list_parts of what the other completed"):
        await trial.parts(upload)


async def aborts_uploads_for_both(trial: Trial) -> None:
    other = trial.by_other()
    upload = await trial.create_upload("a")
    part = await trial.put_part(upload, 1, b"part")
    await other.backend.abort_upload(other.bucket, upload.key, upload.upload_id)
    with expect.raises(NoSuchUploadError, what="complete_upload of what the other aborted"):
        chosen = [CompletedPart(number=1, etag=part.etag)]
        await trial.backend.complete_upload(trial.bucket, upload.key, upload.upload_id, chosen)
    await trial.missing("a", "after the other aborted its upload")


async def lets_one_creator_win(trial: Trial) -> None:
    """Conditional puts of one key through both backends at once."""
    other = trial.by_other()
    for turn in range(4):
        name = f"d/{turn}/a"
        puts = [
            functools.partial(one.put, name, f"{number}".encode(), Conditions(if_none_match=("*",)))
            for number, one in enumerate((trial, other, trial, other))
        ]
        results = await together(*puts)
        if not trial.can.conditional_put:
            kinds = {type(result) for result in results}
            expect.equal(kinds, {UnsupportedError}, "conditional puts, not declared")
            continue
        winners = [n for n, result in enumerate(results) if isinstance(result, ObjectInfo)]
        expect.equal(len(winners), 1, "conditional puts that succeeded at once")
        allowed = (ObjectInfo, PreconditionFailedError, ConflictError)
        wrong = [result for result in results if not isinstance(result, allowed)]
        expect.equal(wrong, [], "errors of the others")
        await trial.holds(name, f"{winners[0]}".encode(), "after the race")


async def lets_one_swap_win(trial: Trial) -> None:
    """Registers are one for both."""
    if not trial.can.compare_and_swap:
        with expect.raises(UnsupportedError, what="read_register without compare_and_swap"):
            await trial.backend.read_register("check-none")
        return
    name, last = f"check-{fresh_token()}", None
    backends = (trial.backend, trial.by_other().backend) * 2
    for turn in range(4):
        values = [f"{turn}-{number}".encode() for number in range(len(backends))]
        swaps = [
            functools.partial(backend.compare_and_swap, name, last, value)
            for backend, value in zip(backends, values, strict=True)
        ]
        results = await together(*swaps)
        winners = [value for value, result in zip(values, results, strict=True) if result is None]
        expect.equal(len(winners), 1, "swaps from one value that succeeded at once")
        losers = {type(result) for result in results if result is not None}
        expect.equal(losers, {RegisterConflictError}, "errors of the others")
        for backend in backends[:2]:
            expect.equal(await backend.read_register(name), winners[0], "the register, by each")
        last = winners[0]


async def loses_no_neighbour(trial: Trial) -> None:
    """One deletes the last key of a prefix while the other puts a key below it."""
    other = trial.by_other()
    for turn in range(6):
        await trial.put("p/q/old", b"old")
        put = functools.partial(
            other.backend.put,
            other.bucket,
            other.key(f"p/q/r/new{turn}"),
            BytesBody(b"new"),
            PutOptions(),
        )
        results = await together(functools.partial(trial.delete, "p/q/old"), put)
        expect.true(isinstance(results[1], ObjectInfo), f"a put beside a delete: {results[1]}")
        await trial.holds(f"p/q/r/new{turn}", b"new", "while its neighbour was deleted")
        await trial.delete(f"p/q/r/new{turn}")


CHECKS = (
    shows_every_change,
    goes_on_with_uploads,
    aborts_uploads_for_both,
    lets_one_creator_win,
    lets_one_swap_win,
    loses_no_neighbour,
)
