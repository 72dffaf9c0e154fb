"""Versions of objects: what stays, what is current, what a delete does, and how they are listed."""

from __future__ import annotations

import functools

from appliance.model.errors import (
    BucketNotEmptyError,
    DeleteMarkerError,
    NoSuchKeyError,
    NoSuchVersionError,
    PreconditionFailedError,
    UnsupportedError,
)
from appliance.model.objects import (
    NULL_VERSION,
    Conditions,
    Deleted,
    DeleteTarget,
    ObjectVersion,
    Versioning,
    VersionListRequest,
    VersionPage,
)
from appliance.plugin.check import expect
from appliance.plugin.check.trial import Trial, together

RACERS = 6
Line = tuple[str, str, bool, bool]  # name, version id, latest, delete marker


async def without_versions_is_one_null_version(trial: Trial) -> None:
    """Where versioning was never enabled each object is its one version, and the listing pages."""
    names = ["a", "b", "c/1", "c/2", "d"]
    await trial.put_all(dict.fromkeys(names, b"data"))
    state = await trial.backend.get_versioning(trial.bucket)
    if not trial.shared:
        expect.equal(state, Versioning.OFF, "versioning of a new bucket")
        info = await trial.head("a")
        expect.equal(info.version_id, "", "version id in a bucket without versions")
    for limit in (1000, 2, 1):
        found = await _lines(trial, limit=limit)
        expect.equal([line[0] for line in found], names, f"keys by list_versions, {limit} a page")
        expect.true(all(line[2] and not line[3] for line in found), "each one is the latest")
    page = await _page(trial, "/")
    expect.equal(page.common_prefixes, (trial.key("c/"),), "common prefixes by list_versions")
    if trial.can.versioning:
        await trial.backend.delete(trial.bucket, trial.key("a"), version_id=NULL_VERSION)
        await trial.missing("a", "after its null version was deleted")


async def undeclared_are_refused(trial: Trial) -> None:
    """A backend without versions says so."""
    if trial.can.versioning:
        return
    with expect.raises(UnsupportedError, what="put_versioning without versioning"):
        await trial.backend.put_versioning(trial.bucket, Versioning.ENABLED)


async def stay_when_overwritten(trial: Trial) -> None:
    """Each put gives a new id; each id gives its bytes, whatever came later; the newest is current."""
    if not await _enable(trial):
        return
    infos = [await trial.put("a", f"version {n}".encode()) for n in range(3)]
    ids = [info.version_id for info in infos]
    expect.equal(len({*ids, "", NULL_VERSION}), 5, "distinct version ids of three puts")
    for n, version_id in enumerate(ids):
        expect.equal(await _read(trial, "a", version_id), f"version {n}".encode(), f"version {n}")
        head = await trial.backend.head(trial.bucket, trial.key("a"), version_id=version_id)
        expect.equal((head.version_id, head.etag), (version_id, infos[n].etag), "head by id")
        expect.equal(head.modified_ns, infos[n].modified_ns, "time of a version")
    head = await trial.holds("a", b"version 2", "after three puts")
    expect.equal(head.version_id, ids[2], "version id of the current version")
    expected = [("a", version_id, version_id == ids[2], False) for version_id in reversed(ids)]
    expect.equal(await _lines(trial), expected, "list_versions after three puts")


async def go_one_by_one(trial: Trial) -> None:
    """Deleting a version by id removes it for good; when it was current, the next newest is."""
    if not await _enable(trial):
        return
    ids = [(await trial.put("a", f"version {n}".encode())).version_id for n in range(4)]
    await _delete_version(trial, "a", ids[1])
    await trial.holds("a", b"version 3", "after an old version was deleted")
    with expect.raises(NoSuchVersionError, what="head of a deleted version"):
        await trial.backend.head(trial.bucket, trial.key("a"), version_id=ids[1])
    await _delete_version(trial, "a", ids[3])
    head = await trial.holds("a", b"version 2", "after the current version was deleted")
    expect.equal(head.version_id, ids[2], "version id of what became current")
    await _delete_version(trial, "a", ids[3])  # again: not an error
    await trial.holds("a", b"version 2", "after a version was deleted twice")
    await _delete_version(trial, "a", ids[2])
    await trial.holds("a", b"version 0", "after two versions were deleted")
    await _delete_version(trial, "a", ids[0])
    await trial.missing("a", "after all its versions were deleted")
    expect.equal(await _lines(trial), [], "list_versions after all were deleted")


async def are_covered_by_delete_markers(trial: Trial) -> None:
    """A delete puts a marker on top, which is no object; without the marker the object is back."""
    if not await _enable(trial):
        return
    version_id = (await trial.put("a", b"data")).version_id
    marker = await trial.backend.delete(trial.bucket, trial.key("a")) or Deleted()
    expect.true(marker.delete_marker and marker.version_id, "delete told no delete marker")
    await trial.missing("a", "under a delete marker")
    expect.equal(await _read(trial, "a", version_id), b"data", "a version under a delete marker")
    with expect.raises(DeleteMarkerError, what="head of a delete marker"):
        await trial.backend.head(trial.bucket, trial.key("a"), version_id=marker.version_id)
    lines = [("a", marker.version_id, True, True), ("a", version_id, False, False)]
    expect.equal(await _lines(trial), lines, "list_versions under a delete marker")
    second = await trial.backend.delete(trial.bucket, trial.key("a")) or Deleted()
    expect.true(second.version_id != marker.version_id, "a second delete makes a second marker")
    await _delete_version(trial, "a", second.version_id, marker=True)
    await trial.missing("a", "under the first of two delete markers")
    await _delete_version(trial, "a", marker.version_id, marker=True)
    head = await trial.holds("a", b"data", "after its delete marker was deleted")
    expect.equal(head.version_id, version_id, "version id of what came back")
    await trial.put("a", b"new")
    await trial.holds("a", b"new", "after a put over what came back")


async def of_before_are_null(trial: Trial) -> None:
    """What was there before versioning was enabled is the null version, and stays like any other."""
    if not trial.can.versioning or trial.shared:
        return
    await trial.put("a", b"before")
    await _enable(trial)
    head = await trial.head("a")
    expect.equal(head.version_id, NULL_VERSION, "version id of what was there before")
    later = (await trial.put("a", b"later")).version_id
    expect.equal(await _read(trial, "a", NULL_VERSION), b"before", "the null version")
    lines = [("a", later, True, False), ("a", NULL_VERSION, False, False)]
    expect.equal(await _lines(trial), lines, "list_versions over a null version")
    await _delete_version(trial, "a", later)
    await trial.holds("a", b"before", "after the version above the null version was deleted")


async def of_suspended_buckets_are_null(trial: Trial) -> None:
    """While suspended, puts and deletes replace the null version; versions with ids stay."""
    if not await _enable(trial):
        return
    kept = (await trial.put("a", b"kept")).version_id
    await trial.backend.put_versioning(trial.bucket, Versioning.SUSPENDED)
    state = await trial.backend.get_versioning(trial.bucket)
    expect.equal(state, Versioning.SUSPENDED, "versioning after it was suspended")
    for data in (b"null 1", b"null 2"):
        info = await trial.put("a", data)
        expect.equal(info.version_id, NULL_VERSION, "version id of a put while suspended")
        await trial.holds("a", data, "after a put while suspended")
    lines = [("a", NULL_VERSION, True, False), ("a", kept, False, False)]
    expect.equal(await _lines(trial), lines, "list_versions while suspended")
    marker = await trial.backend.delete(trial.bucket, trial.key("a")) or Deleted()
    told = Deleted(version_id=NULL_VERSION, delete_marker=True)
    expect.equal(marker, told, "what a delete while suspended did")
    await trial.missing("a", "after a delete while suspended")
    lines = [("a", NULL_VERSION, True, True), ("a", kept, False, False)]
    expect.equal(await _lines(trial), lines, "list_versions after a delete while suspended")
    await _enable(trial)
    newest = (await trial.put("a", b"newest")).version_id
    lines = [("a", newest, True, False), ("a", NULL_VERSION, False, True), lines[1]]
    expect.equal(await _lines(trial), lines, "list_versions when enabled again")


async def are_listed_by_pages(trial: Trial) -> None:
    """Pages of any length, prefix and delimiter, join to the same listing; markers go on in the middle of a key."""
    if not await _enable(trial):
        return
    for name in ("a", "a-b", "a/b", "a/b/c", "a0", "z/"):
        for n in range(1 + len(name) % 3):
            await trial.put(name, f"{n}".encode())
        if "b" in name:
            await trial.backend.delete(trial.bucket, trial.key(name))
    whole = await _lines(trial)
    keys = [line[0] for line in whole]
    expect.equal(keys, sorted(keys), "order of keys by list_versions")
    latest = [line[0] for line in whole if line[2]]
    expect.equal(latest, sorted(set(keys)), "keys that have a latest version")
    for limit in (1, 2, 3, 5):
        expect.equal(await _lines(trial, limit=limit), whole, f"list_versions, {limit} a page")
    below = [line for line in whole if line[0].startswith("a/")]
    expect.equal(await _lines(trial, prefix="a/", limit=2), below, "list_versions of a prefix")
    page = await _page(trial, "/")
    expect.equal(page.common_prefixes, (trial.key("a/"), trial.key("z/")), "common prefixes")
    flat = [line for line in whole if "/" not in line[0]]
    expect.equal(list(map(functools.partial(_line, trial), page.versions)), flat, "no prefix")


async def have_tags_of_their_own(trial: Trial) -> None:
    """Tags of one version, changed by its id, leave the others alone."""
    if not trial.can.tagging or not await _enable(trial):
        return
    old = (await trial.put("a", b"old", tags={"n": "1"})).version_id
    new = (await trial.put("a", b"new", tags={"n": "2"})).version_id
    key = trial.key("a")
    await trial.backend.put_tags(trial.bucket, key, {"n": "3"}, version_id=old)
    for version_id, tags in ((old, {"n": "3"}), (new, {"n": "2"}), ("", {"n": "2"})):
        found = await trial.backend.get_tags(trial.bucket, key, version_id=version_id)
        expect.equal(found, tags, f"tags of version {version_id!r}")
    expect.equal(await _read(trial, "a", old), b"old", "a version after its tags were changed")
    if trial.can.acls:
        info = await trial.backend.put_acl(trial.bucket, key, b"acl", version_id=old)
        expect.equal((info.acl, info.version_id), (b"acl", old), "what put_acl by id told")
        expect.equal((await trial.head("a")).acl, b"", "ACL of the other version")


async def are_sources_of_copies(trial: Trial) -> None:
    """Copies and copied parts take the version that is named; uploads make versions, too."""
    if not await _enable(trial):
        return
    old = (await trial.put("a", b"old")).version_id
    await trial.put("a", b"new")
    bucket, key = trial.bucket, trial.key("a")
    await trial.backend.copy(bucket, key, bucket, trial.key("b"), source_version_id=old)
    await trial.holds("b", b"old", "copied from an old version")
    restored = await trial.backend.copy(bucket, key, bucket, key, source_version_id=old)
    await trial.holds("a", b"old", "copied onto itself from an old version")
    expect.true(restored.version_id not in {"", old}, "a copy is a version of its own")
    upload = await trial.create_upload("c")
    part = await trial.backend.copy_part(
        bucket, key, bucket, upload.key, upload.upload_id, 1, source_version_id=old
    )
    made = await trial.complete(upload, [part])
    await trial.holds("c", b"old", "uploaded from an old version")
    expect.true(made.version_id not in {"", NULL_VERSION}, "an upload makes a version")
    expect.equal(len([line for line in await _lines(trial) if line[0] == "a"]), 3, "versions of a")


async def are_not_forged(trial: Trial) -> None:
    """Ids that nobody gave are no such version, whatever is in them, and change nothing."""
    if not await _enable(trial):
        return
    real = (await trial.put("a", b"data")).version_id
    other = (await trial.put("b", b"other")).version_id
    forged = [
        other,
        "x",
        "../../b",
        "a/b",
        "0" * len(real),
        real[:-1] + "\x7f",
        "%00",
        "é",
        "v" * 900,
    ]
    for version_id in forged:
        what = f"of version {version_id[:20]!r}"
        with expect.raises(NoSuchVersionError, what=f"head {what}"):
            await trial.backend.head(trial.bucket, trial.key("a"), version_id=version_id)
        with expect.raises(NoSuchVersionError, what=f"read {what}"):
            await _read(trial, "a", version_id)
        with expect.raises(NoSuchVersionError, what=f"put_tags {what}"):
            await trial.backend.put_tags(trial.bucket, trial.key("a"), {}, version_id=version_id)
    await _delete_version(trial, "a", other)
    await trial.holds("a", b"data", "after forged ids")
    await trial.holds("b", b"other", "after its id was used with another key")


async def meet_conditions(trial: Trial) -> None:
    """A delete marker is nothing there; conditions are about the current version."""
    if not trial.can.conditional_put or not await _enable(trial):
        return
    first = await trial.put("a", b"first")
    nothing, same = Conditions(if_none_match=("*",)), Conditions(if_match=(first.etag,))
    with expect.raises(PreconditionFailedError, what="If-None-Match: * over an object"):
        await trial.put("a", b"refused", nothing)
    await trial.put("a", b"second", same)
    with expect.raises(PreconditionFailedError, what="If-Match on an old version's ETag"):
        await trial.put("a", b"refused", same)
    await trial.backend.delete(trial.bucket, trial.key("a"))
    with expect.raises(NoSuchKeyError, PreconditionFailedError, what="If-Match on a marker"):
        await trial.put("a", b"refused", same)
    await trial.put("a", b"third", nothing)
    await trial.holds("a", b"third", "put over a delete marker")
    expect.equal(len(await _lines(trial)), 4, "versions and markers")


async def keep_the_bucket(trial: Trial) -> None:
    """A bucket with versions or delete markers left is not empty."""
    if not await _enable(trial):
        return
    version_id = (await trial.put("a", b"data")).version_id
    marker = await trial.backend.delete(trial.bucket, trial.key("a")) or Deleted()
    for left in (version_id, marker.version_id):
        with expect.raises(BucketNotEmptyError, what="delete_bucket with versions"):
            await trial.backend.delete_bucket(trial.bucket)
        await _delete_version(trial, "a", left, marker=left == marker.version_id)


async def are_deleted_in_one_request(trial: Trial) -> None:
    """Objects and versions together, each with its own outcome."""
    if not await _enable(trial):
        return
    old = (await trial.put("a", b"old")).version_id
    new = (await trial.put("a", b"new")).version_id
    await trial.put("b", b"data")
    targets = [
        DeleteTarget(key=trial.key("a"), version_id=old),
        DeleteTarget(key=trial.key("b")),
        DeleteTarget(key=trial.key("none")),
    ]
    outcomes = await trial.backend.delete_versions(trial.bucket, targets)
    told = [(one.key, one.version_id, one.error) for one in outcomes]
    expect.equal(told, [(one.key, one.version_id, None) for one in targets], "outcomes")
    expect.equal([one.deleted.delete_marker for one in outcomes], [False, True, True], "markers")
    lines = await _lines(trial)
    expect.true(("a", new, True, False) in lines and len(lines) == 4, f"left: {lines}")


async def of_racing_writers_all_stay(trial: Trial) -> None:
    """Nobody's version is lost, and exactly one is current."""
    if not await _enable(trial):
        return
    writers = [functools.partial(trial.put, "a", f"writer {n}".encode()) for n in range(RACERS)]
    infos = await together(*writers)
    ids = {info.version_id for info in infos}
    lines = await _lines(trial)
    expect.equal({line[1] for line in lines}, ids, "ids after racing puts")
    expect.equal([line[2] for line in lines], [True] + [False] * (RACERS - 1), "which is latest")
    for info in infos:
        head = await trial.backend.head(trial.bucket, trial.key("a"), version_id=info.version_id)
        expect.equal(head.etag, info.etag, "ETag of a version after racing puts")
    head = await trial.head("a")
    expect.equal(head.version_id, lines[0][1], "the current version is the latest listed")
    other = trial.by_other()
    expect.equal(await _lines(other), lines, "versions seen by a second backend")
    info = await other.put("a", b"by the other")
    head = await trial.holds("a", b"by the other", "put through a second backend")
    expect.equal(head.version_id, info.version_id, "its version id")


# --- what the checks are written in -----------------------------------------------------


async def _enable(trial: Trial) -> bool:
    """Whether versions can be tried here: not below a prefix of a bucket that belongs to somebody else."""
    if not trial.can.versioning or trial.shared:
        return False
    await trial.backend.put_versioning(trial.bucket, Versioning.ENABLED)
    state = await trial.backend.get_versioning(trial.bucket)
    expect.equal(state, Versioning.ENABLED, "versioning after it was enabled")
    return True


async def _read(trial: Trial, name: str, version_id: str) -> bytes:
    async with trial.backend.read(trial.bucket, trial.key(name), version_id=version_id) as stream:
        return b"".join([bytes(chunk) async for chunk in stream])


async def _delete_version(
    trial: Trial, name: str, version_id: str, *, marker: bool = False
) -> None:
    deleted = await trial.backend.delete(trial.bucket, trial.key(name), version_id=version_id)
    told = (deleted or Deleted()).delete_marker
    expect.equal(told, marker, f"delete_marker told by the delete of version {version_id!r}")


async def _page(trial: Trial, delimiter: str) -> VersionPage:
    asked = VersionListRequest(prefix=trial.prefix, delimiter=delimiter)
    return await trial.backend.list_versions(trial.bucket, asked)


async def _lines(trial: Trial, *, prefix: str = "", limit: int = 1000) -> list[Line]:
    """Everything that is listed, page by page."""
    found: list[Line] = []
    key_marker = version_id_marker = ""
    while True:
        page = await trial.backend.list_versions(
            trial.bucket,
            VersionListRequest(
                prefix=trial.key(prefix),
                key_marker=key_marker,
                version_id_marker=version_id_marker,
                limit=limit,
            ),
        )
        expect.true(len(page.versions) <= limit, "a page is longer than its limit")
        found += [_line(trial, version) for version in page.versions]
        key_marker, version_id_marker = page.next_key_marker, page.next_version_id_marker
        if not page.truncated:
            return found
        expect.true(page.versions, "a truncated page is empty")


def _line(trial: Trial, version: ObjectVersion) -> Line:
    info = version.info
    name = info.key[len(trial.prefix) :]
    return (name, info.version_id, version.latest, version.delete_marker)


CHECKS = (
    without_versions_is_one_null_version,
    undeclared_are_refused,
    stay_when_overwritten,
    go_one_by_one,
    are_covered_by_delete_markers,
    of_before_are_null,
    of_suspended_buckets_are_null,
    are_listed_by_pages,
    have_tags_of_their_own,
    are_sources_of_copies,
    are_not_forged,
    meet_conditions,
    keep_the_bucket,
    are_deleted_in_one_request,
    of_racing_writers_all_stay,
)
