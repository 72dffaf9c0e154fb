"""Preconditions of reads and writes (RFC 9110 section 13, S3's conditional requests)."""

from __future__ import annotations

import functools

from appliance.model.errors import (
    ApplianceError,
    NoSuchKeyError,
    NotModifiedError,
    PreconditionFailedError,
    UnsupportedError,
)
from appliance.model.objects import Conditions, PutOptions
from appliance.plugin.check import expect
from appliance.plugin.check.trial import Trial

SECOND = 10**9
OTHER = "0123456789abcdef0123456789abcdef"
ANY = ("*",)


async def of_reads_are_honoured(trial: Trial) -> None:
    """All four, alone and together, as RFC 9110 orders them; the error of a 304 carries ETag and time."""
    info = await trial.put("a", b"data")
    etag, time = info.etag, (await trial.head("a")).modified_ns
    before, after = time - 10 * SECOND, time + 10 * SECOND
    failed, unmodified = PreconditionFailedError, NotModifiedError
    table: list[tuple[Conditions, type[ApplianceError] | None]] = [
        (Conditions(if_match=(etag,)), None),
        (Conditions(if_match=ANY), None),
        (Conditions(if_match=(OTHER, etag)), None),
        (Conditions(if_match=(OTHER,)), failed),
        (Conditions(if_none_match=(etag,)), unmodified),
        (Conditions(if_none_match=ANY), unmodified),
        (Conditions(if_none_match=(OTHER,)), None),
        (Conditions(if_modified_since_ns=after), unmodified),
        (Conditions(if_modified_since_ns=time), unmodified),
        (Conditions(if_modified_since_ns=before), None),
        (Conditions(if_unmodified_since_ns=before), failed),
        (Conditions(if_unmodified_since_ns=time), None),
        (Conditions(if_match=(etag,), if_unmodified_since_ns=before), None),
        (Conditions(if_none_match=(OTHER,), if_modified_since_ns=after), None),
        (Conditions(if_none_match=(etag,), if_modified_since_ns=before), unmodified),
        (Conditions(if_match=(OTHER,), if_none_match=(etag,)), failed),
    ]
    for conditions, error in table:
        if error is None:
            expect.equal(await trial.read("a", conditions=conditions), b"data", f"{conditions}")
            continue
        with expect.raises(error, what=f"read with {conditions}"):
            await trial.read("a", conditions=conditions)
    try:
        await trial.read("a", conditions=Conditions(if_none_match=(etag,)))
    except NotModifiedError as error:
        expect.equal(error.etag, etag, "ETag carried by NotModifiedError")
    with expect.raises(NoSuchKeyError, what="conditional read of a missing key"):
        await trial.read("none", conditions=Conditions(if_none_match=(etag,)))


async def of_puts_are_honoured(trial: Trial) -> None:
    """On nothing, and on an object; a put that fails changes nothing."""
    if not trial.can.conditional_put:
        await _puts_are_refused(trial)
        return
    with expect.raises(NoSuchKeyError, what="put with if_match on nothing"):
        await trial.put("a", b"x", Conditions(if_match=(OTHER,)))
    with expect.raises(NoSuchKeyError, what="put with if_match=* on nothing"):
        await trial.put("a", b"x", Conditions(if_match=ANY))
    await trial.missing("a", "after puts that failed")
    first = await trial.put("a", b"first", Conditions(if_none_match=ANY))
    with expect.raises(PreconditionFailedError, what="put with if_none_match=* on an object"):
        await trial.put("a", b"x", Conditions(if_none_match=ANY))
    with expect.raises(PreconditionFailedError, what="put with the wrong if_match"):
        await trial.put("a", b"x", Conditions(if_match=(OTHER,)))
    info = await trial.holds("a", b"first", "after puts that failed")
    expect.equal(info.version, first.version, "version after puts that failed")
    await trial.put("a", b"second", Conditions(if_match=(first.etag,)))
    with expect.raises(PreconditionFailedError, what="put with the ETag of before"):
        await trial.put("a", b"x", Conditions(if_match=(first.etag,)))
    await trial.holds("a", b"second", "after a put with the right if_match")
    await trial.delete("a")
    await trial.put("a", b"third", Conditions(if_none_match=ANY))
    await trial.holds("a", b"third", "put with if_none_match=* after a delete")


async def _puts_are_refused(trial: Trial) -> None:
    """Without the capability: a condition that cannot be honoured is not ignored."""
    await trial.put("a", b"old")
    with expect.raises(UnsupportedError, what="conditional put without conditional_put"):
        await trial.put("a", b"new", Conditions(if_none_match=ANY))
    await trial.holds("a", b"old", "after a put that was refused")
    with expect.raises(UnsupportedError, what="conditional put without conditional_put"):
        await trial.put("b", b"new", Conditions(if_none_match=ANY))
    await trial.missing("b", "after a put that was refused")


async def of_uploads_are_honoured(trial: Trial) -> None:
    """complete_upload checks as put does; when it fails, the upload stays and can be completed otherwise."""
    await trial.put("a", b"old")
    upload = await trial.create_upload("a")
    part = await trial.put_part(upload, 1, b"new")
    error = PreconditionFailedError if trial.can.conditional_put else UnsupportedError
    with expect.raises(error, what="complete_upload with if_none_match=* on an object"):
        await trial.complete(upload, [part], Conditions(if_none_match=ANY))
    await trial.holds("a", b"old", "after complete_upload failed")
    expect.equal(len(await trial.parts(upload)), 1, "parts after complete_upload failed")
    conditions = Conditions()
    if trial.can.conditional_put:
        conditions = Conditions(if_match=((await trial.head("a")).etag,))
    await trial.complete(upload, [part], conditions)
    await trial.holds("a", b"new", "after complete_upload")


async def of_copies_are_honoured(trial: Trial) -> None:
    """Conditions of a copy are about its destination; a storage that cannot check them says so, whatever it does for puts."""
    source = await trial.put("source", b"new")
    await trial.put("a", b"old")

    async def copy(name: str, conditions: Conditions) -> None:
        key = trial.key("source")
        await trial.backend.copy(
            trial.bucket, key, trial.bucket, trial.key(name), conditions=conditions
        )

    for conditions in (Conditions(if_none_match=ANY), Conditions(if_match=(source.etag,))):
        with expect.raises(PreconditionFailedError, UnsupportedError, what=f"copy, {conditions}"):
            await copy("a", conditions)
    await trial.holds("a", b"old", "after copies that failed")
    try:
        await copy("b", Conditions(if_none_match=ANY))
    except UnsupportedError:
        await trial.missing("b", "after a conditional copy was refused")
    else:
        await trial.holds("b", b"new", "copied with if_none_match=*")


async def of_deletes_are_honoured(trial: Trial) -> None:
    info = await trial.put("a", b"data")
    error = PreconditionFailedError if trial.can.conditional_delete else UnsupportedError
    with expect.raises(error, what="delete with the wrong if_match"):
        await trial.delete("a", Conditions(if_match=(OTHER,)))
    await trial.holds("a", b"data", "after a delete that failed")
    if not trial.can.conditional_delete:
        return
    await trial.delete("a", Conditions(if_match=(info.etag,)))
    await trial.missing("a", "after a delete with the right if_match")
    with expect.raises(NoSuchKeyError, PreconditionFailedError, what="delete of nothing, if_match"):
        await trial.delete("a", Conditions(if_match=(info.etag,)))


async def are_checked_when_publishing(trial: Trial) -> None:
    """Not when the put begins: another put that is acknowledged meanwhile is not overwritten."""
    if not trial.can.conditional_put:
        await _puts_are_refused(trial)
        return
    old = await trial.put("b", b"old")
    for name, conditions in (
        ("a", Conditions(if_none_match=ANY)),
        ("b", Conditions(if_match=(old.etag,))),
    ):
        meanwhile = functools.partial(trial.put, name, b"meanwhile")
        result = await trial.overtaken(name, b"late" * 1000, meanwhile, conditions)
        expect.equal(
            type(result), PreconditionFailedError, f"outcome of an overtaken put of {name}"
        )
        await trial.holds(name, b"meanwhile", "after the overtaken put failed")


async def on_the_same_bytes_hold(trial: Trial) -> None:
    """Conditions compare ETags, not metadata: a metadata-only change keeps a simple object's ETag."""
    if not trial.can.conditional_put:
        await _puts_are_refused(trial)
        return
    info = await trial.put("a", b"data", metadata={"x": "1"})
    key = trial.key("a")
    options = PutOptions(metadata={"x": "2"})
    await trial.backend.copy(trial.bucket, key, trial.bucket, key, options=options)
    await trial.put("a", b"next", Conditions(if_match=(info.etag,)))
    await trial.holds("a", b"next", "put with the ETag of the same bytes")


CHECKS = (
    of_reads_are_honoured,
    of_puts_are_honoured,
    of_uploads_are_honoured,
    of_copies_are_honoured,
    of_deletes_are_honoured,
    are_checked_when_publishing,
    on_the_same_bytes_hold,
)
