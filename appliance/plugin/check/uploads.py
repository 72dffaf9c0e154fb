"""Uploads in progress: forged ids, pages of uploads and parts, and parts copied from objects."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from appliance.model.errors import (
    ApplianceError,
    InvalidArgumentError,
    InvalidRangeError,
    NoSuchKeyError,
    NoSuchUploadError,
    VersionChangedError,
)
from appliance.model.names import key_bytes
from appliance.model.objects import PART_SIZE_MIN, CompletedPart, UploadInfo, UploadPage
from appliance.model.ranges import ByteRange
from appliance.plugin.body import BytesBody
from appliance.plugin.check import expect
from appliance.plugin.check.listing import entries
from appliance.plugin.check.trial import Trial

FORGED = (
    "", ".", "..", "../..", "../../../etc/passwd", "/", "/etc/passwd", "a/b", "a\\b", "\0", "a\0b", "%2e%2e", "%2F", "*", "?", "\n",
    "ü", "x" * 5000, "0" * 32, "none", "-1", "' OR 1=1", "a b", "\udcff",
)  # fmt: skip


async def with_forged_ids_do_not_exist(trial: Trial) -> None:
    """Whatever is in an id that no create_upload gave: NoSuchUploadError, from every method, and nothing changes."""
    await trial.put("a", b"old")
    real = await trial.create_upload("a")
    part = await trial.put_part(real, 1, b"part")
    similar = (
        real.upload_id[:-1],
        real.upload_id + "x",
        real.upload_id + "/",
        "./" + real.upload_id,
    )
    for forged in (*FORGED, *similar):
        await _is_unknown(trial, real.key, forged)
    expect.equal(await trial.parts(real), [part], "parts of the real upload afterwards")
    await trial.holds("a", b"old", "after forged uploads")


async def belong_to_their_key(trial: Trial) -> None:
    """The id of an upload of another key is as unknown as a forged one."""
    upload = await trial.create_upload("a")
    await trial.put_part(upload, 1, b"part")
    for name in ("b", "a/", "A", "a/../a"):
        if not trial.allow.unstorable(trial.key(name)):
            await _is_unknown(trial, trial.key(name), upload.upload_id)
    expect.equal(len(await trial.parts(upload)), 1, "parts of the upload afterwards")


async def _is_unknown(trial: Trial, key: str, upload_id: str) -> None:
    backend, bucket = trial.backend, trial.bucket
    what = f"the upload id {expect.short(upload_id)} of {key!r}"
    with expect.raises(NoSuchUploadError, what=f"put_part with {what}"):
        await backend.put_part(bucket, key, upload_id, 1, BytesBody(b"forged"))
    with expect.raises(NoSuchUploadError, what=f"list_parts with {what}"):
        await backend.list_parts(bucket, key, upload_id)
    with expect.raises(NoSuchUploadError, what=f"abort_upload with {what}"):
        await backend.abort_upload(bucket, key, upload_id)
    with expect.raises(NoSuchUploadError, what=f"complete_upload with {what}"):
        chosen = [CompletedPart(number=1, etag="0" * 32)]
        await backend.complete_upload(bucket, key, upload_id, chosen)
    with expect.raises(NoSuchUploadError, NoSuchKeyError, what=f"copy_part with {what}"):
        await backend.copy_part(bucket, trial.key("a"), bucket, key, upload_id, 1)


async def have_pages_of_parts(trial: Trial) -> None:
    """`after` is exclusive, `next_marker` goes on and is 0 on the last page."""
    upload = await trial.create_upload("a")
    numbers = (1, 2, 3, 5, 8, 13, 10_000)
    for number in numbers:
        await trial.put_part(upload, number, str(number).encode())
    for limit in (1, 2, 3, 7, 1000):
        seen: list[int] = []
        after = 0
        while True:
            page = await trial.backend.list_parts(
                trial.bucket, upload.key, upload.upload_id, after=after, limit=limit
            )
            expect.true(len(page.parts) <= limit, f"{len(page.parts)} parts in a page of {limit}")
            expect.equal(page.upload.upload_id, upload.upload_id, "upload told by list_parts")
            seen += [part.number for part in page.parts]
            if not page.next_marker:
                break
            expect.equal(page.next_marker, seen[-1], "next_marker")
            after = page.next_marker
        expect.equal(seen, list(numbers), f"parts in pages of {limit}")
    page = await trial.backend.list_parts(trial.bucket, upload.key, upload.upload_id, after=6)
    expect.equal([part.number for part in page.parts], [8, 13, 10_000], "parts after 6")


async def are_listed_by_key_and_time(trial: Trial) -> None:
    """With prefix and delimiter, in pages that go on by the two markers."""
    names = ["a", "a/1", "a/1", "a/2", "b", "b", "b", "b.c", "b/x/y", "c", "ü"]
    made = [await trial.create_upload(name) for name in names]
    for prefix in ("", "a/", "b", "none"):
        for limit in (1, 2, 3, 1000):
            await _compare(trial, made, prefix, "", limit)
            await _compare(trial, made, prefix, "/", limit)


async def after_a_key_marker(trial: Trial) -> None:
    """Without an upload id, a key marker skips all uploads of that key and before."""
    made = [await trial.create_upload(name) for name in ("a", "b", "b", "c")]
    page = await trial.backend.list_uploads(
        trial.bucket, prefix=trial.prefix, key_marker=trial.key("b")
    )
    expect.equal([one.upload_id for one in page.uploads], [made[3].upload_id], "uploads after b")


async def of_deleted_uploads_go_on(trial: Trial) -> None:
    """A marker whose upload was aborted meanwhile still marks its place."""
    made = [await trial.create_upload(f"k{number}") for number in range(4)]
    page = await trial.backend.list_uploads(trial.bucket, prefix=trial.prefix, limit=2)
    await trial.backend.abort_upload(trial.bucket, made[1].key, made[1].upload_id)
    page = await trial.backend.list_uploads(
        trial.bucket,
        prefix=trial.prefix,
        key_marker=page.next_key_marker,
        upload_id_marker=page.next_upload_id_marker,
    )
    expect.equal([one.key for one in page.uploads], [made[2].key, made[3].key], "uploads left")


async def _compare(
    trial: Trial, made: Sequence[UploadInfo], prefix: str, delimiter: str, limit: int
) -> None:
    seen: list[str] = []
    uploads: list[UploadInfo] = []
    markers: dict[str, Any] = {}
    prefix = trial.key(prefix)
    while True:
        page = await trial.backend.list_uploads(
            trial.bucket, prefix=prefix, delimiter=delimiter, limit=limit, **markers
        )
        expect.true(_count(page) <= limit, f"{_count(page)} entries in a page of {limit}")
        seen += sorted([*(one.key for one in page.uploads), *page.common_prefixes], key=key_bytes)
        uploads += page.uploads
        if not page.truncated:
            break
        expect.true(_count(page), "a truncated page is empty")
        markers = {
            "key_marker": page.next_key_marker,
            "upload_id_marker": page.next_upload_id_marker,
        }
    what = f"uploads with prefix={prefix!r} delimiter={delimiter!r} limit={limit}"
    expected = entries((one.key for one in made), prefix, delimiter, "")
    expect.equal(sorted(set(seen), key=key_bytes), expected, what)
    singles = [one for one in made if one.key in expected and one.key.startswith(prefix)]
    singles = [one for one in singles if not delimiter or delimiter not in one.key[len(prefix) :]]
    ids = {one.upload_id for one in singles}
    expect.equal({one.upload_id for one in uploads}, ids, f"ids of {what}")
    expect.equal(len(uploads), len(ids), f"number of {what}")
    keys = [one.key for one in uploads]
    expect.equal(keys, sorted(keys, key=key_bytes), f"order of {what}")


def _count(page: UploadPage) -> int:
    return len(page.uploads) + len(page.common_prefixes)


async def take_parts_from_objects(trial: Trial) -> None:
    """copy_part copies an object or a range of it; its ETag is the MD5 of those bytes."""
    data = trial.data(PART_SIZE_MIN + 1000)
    source = await trial.put("source", data)
    upload = await trial.create_upload("a")
    ranges = (ByteRange(0, PART_SIZE_MIN), None, ByteRange(7, 1))
    parts = []
    for number, one in enumerate(ranges, start=1):
        part = await trial.backend.copy_part(
            trial.bucket,
            source.key,
            trial.bucket,
            upload.key,
            upload.upload_id,
            number,
            range=one,
            source_version=source.version,
        )
        piece = data if one is None else data[one.offset : one.end]
        expect.equal((part.number, part.size), (number, len(piece)), f"part copied of {one}")
        md5 = hashlib.md5(piece, usedforsecurity=False).hexdigest()
        expect.equal(part.etag, md5, f"ETag of the part copied of {one}")
        parts.append(part)
    await trial.complete(upload, parts)
    await trial.holds("a", data[:PART_SIZE_MIN] + data + data[7:8], "made of copied parts")


async def refuse_wrong_part_copies(trial: Trial) -> None:
    """Missing sources, old versions, ranges beyond the end; no part is left by them."""
    old = await trial.put("source", b"old!")
    await trial.put("source", b"0123456789")
    upload = await trial.create_upload("a")

    async def copy(source: str, **options: Any) -> None:
        await trial.backend.copy_part(
            trial.bucket,
            trial.key(source),
            trial.bucket,
            upload.key,
            upload.upload_id,
            1,
            **options,
        )

    with expect.raises(NoSuchKeyError, what="copy_part of a missing key"):
        await copy("none")
    with expect.raises(VersionChangedError, what="copy_part of an old version"):
        await copy("source", source_version=old.version)
    with expect.raises(
        InvalidArgumentError, InvalidRangeError, what="copy_part of a range beyond the end"
    ):
        await copy("source", range=ByteRange(5, 100))
    with expect.raises(ApplianceError, what="copy_part of a range after the end"):
        await copy("source", range=ByteRange(50, 10))
    expect.equal(await trial.parts(upload), [], "parts after copies that failed")


CHECKS = (
    with_forged_ids_do_not_exist,
    belong_to_their_key,
    have_pages_of_parts,
    are_listed_by_key_and_time,
    after_a_key_marker,
    of_deleted_uploads_go_on,
    take_parts_from_objects,
    refuse_wrong_part_copies,
)
