"""Version tokens: the same for the same state of an object, another after any change. The coherence of the cache rests on this."""

from __future__ import annotations

from appliance.model.errors import NoSuchKeyError, VersionChangedError
from appliance.model.objects import PutOptions
from appliance.plugin.check import expect
from appliance.plugin.check.trial import Trial


async def stay_while_nothing_changes(trial: Trial) -> None:
    """put, head, read and validate_nowait agree on the token; a listing's is the same, or empty."""
    put = await trial.put("a", b"data", metadata={"x": "1"})
    expect.true(put.version, "put returned no version")
    for _ in range(2):
        expect.equal((await trial.head("a")).version, put.version, "version told by head")
    async with trial.backend.read(trial.bucket, trial.key("a")) as stream:
        expect.equal(stream.info.version, put.version, "version told by read")
    (listed,) = await trial.infos()
    expect.true(
        listed.version in ("", put.version),
        f"a listing tells version {listed.version!r}, head {put.version!r}",
    )
    valid = trial.backend.validate_nowait(trial.bucket, trial.key("a"), put.version)
    expect.true(valid is not False, "validate_nowait denies the current version")


async def change_with_the_bytes(trial: Trial) -> None:
    """Each of many quick puts of the same size has a version of its own: no clock is fine enough for that alone."""
    seen = [(await trial.put("a", f"{number:04}".encode())).version for number in range(20)]
    expect.equal(len(set(seen)), len(seen), "different versions of 20 quick puts")
    for version in seen[:-1]:
        valid = trial.backend.validate_nowait(trial.bucket, trial.key("a"), version)
        expect.true(valid is not True, "validate_nowait confirms an old version")


async def change_with_the_metadata(trial: Trial) -> None:
    """A put of the same bytes with other metadata, and a copy onto itself, are changes."""
    first = await trial.put("a", b"data", metadata={"x": "1"})
    second = await trial.put("a", b"data", metadata={"x": "2"})
    expect.true(first.version != second.version, "a put with other metadata keeps the version")
    key = trial.key("a")
    options = PutOptions(metadata={"x": "3"})
    third = await trial.backend.copy(trial.bucket, key, trial.bucket, key, options=options)
    expect.true(second.version != third.version, "a metadata-only copy keeps the version")
    expect.equal((await trial.head("a")).version, third.version, "version after the copy")


async def are_not_reused_after_a_delete(trial: Trial) -> None:
    """Deleted and put again with other bytes of the same size, an object has another version."""
    first = await trial.put("a", b"one")
    await trial.delete("a")
    second = await trial.put("a", b"two")
    expect.true(first.version != second.version, "a new object has the version of the deleted")


async def can_be_asked_for_in_a_read(trial: Trial) -> None:
    """`read(version=...)` gives that version or raises VersionChangedError on entry; so do open_local and copy."""
    old = await trial.put("a", b"old")
    expect.equal(await trial.read("a", version=old.version), b"old", "read of the version")
    new = await trial.put("a", b"new")
    with expect.raises(VersionChangedError, what="read of an old version"):
        await trial.read("a", version=old.version)
    expect.equal(await trial.read("a", version=new.version), b"new", "read of the new version")
    with expect.raises(VersionChangedError, what="read of a forged version"):
        await trial.read("a", version="no-such-version/../%00")
    if trial.can.local_files:
        with expect.raises(VersionChangedError, what="open_local of an old version"):
            await trial.backend.open_local(trial.bucket, trial.key("a"), version=old.version)
    with expect.raises(VersionChangedError, what="copy of an old version"):
        await trial.backend.copy(
            trial.bucket,
            trial.key("a"),
            trial.bucket,
            trial.key("b"),
            source_version=old.version,
        )
    await trial.missing("b", "after a copy of an old version")


async def of_deleted_objects_are_gone(trial: Trial) -> None:
    """Reading a version of what was deleted raises NoSuchKeyError or VersionChangedError; validate_nowait does not confirm it."""
    info = await trial.put("a", b"data")
    await trial.delete("a")
    with expect.raises(NoSuchKeyError, VersionChangedError, what="read of a deleted version"):
        await trial.read("a", version=info.version)
    valid = trial.backend.validate_nowait(trial.bucket, trial.key("a"), info.version)
    expect.true(valid is not True, "validate_nowait confirms a deleted version")


CHECKS = (
    stay_while_nothing_changes,
    change_with_the_bytes,
    change_with_the_metadata,
    are_not_reused_after_a_delete,
    can_be_asked_for_in_a_read,
    of_deleted_objects_are_gone,
)
