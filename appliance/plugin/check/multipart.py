"""Multipart uploads from parts to object: what they become, what is refused, what stays invisible."""

from __future__ import annotations

import hashlib

from appliance.model.checksums import composite, full_object, multipart_etag
from appliance.model.errors import (
    ApplianceError,
    EntityTooSmallError,
    InvalidPartError,
    InvalidPartOrderError,
    NoSuchUploadError,
)
from appliance.model.objects import PART_SIZE_MIN, CompletedPart, PutOptions
from appliance.model.ranges import RangeSpec
from appliance.plugin.body import BytesBody
from appliance.plugin.check import expect
from appliance.plugin.check.trial import Trial

HEADERS = {"content-type": "video/x-check", "cache-control": "no-store"}
METADATA = {"camera": "3"}
OTHER = "0123456789abcdef0123456789abcdef"


async def become_one_object(trial: Trial) -> None:
    """Bytes, size, S3's multipart ETag, headers, metadata, part sizes; ranges cross the border between parts."""
    parts = (trial.data(PART_SIZE_MIN), trial.data(PART_SIZE_MIN + 1), trial.data(5))
    whole = b"".join(parts)
    done = await trial.upload("a", *parts, headers=HEADERS, metadata=METADATA)
    info = await trial.holds("a", whole, "after complete_upload")
    etag = multipart_etag(hashlib.md5(part, usedforsecurity=False).hexdigest() for part in parts)
    expect.equal(info.etag, etag, "ETag of a multipart object")
    expect.equal((done.etag, done.version), (etag, info.version), "what complete_upload told")
    expect.equal(info.metadata, METADATA, "metadata")
    expect.equal({name: info.headers.get(name) for name in HEADERS}, HEADERS, "headers")
    (listed,) = await trial.infos()
    expect.equal((listed.etag, listed.size), (etag, len(whole)), "what a listing tells of it")
    if trial.allow.part_sizes:
        expect.equal(info.part_sizes, tuple(map(len, parts)), "part_sizes")
    border = RangeSpec(PART_SIZE_MIN - 3, PART_SIZE_MIN + 2)
    expect.equal(await trial.read("a", border), whole[border.first : PART_SIZE_MIN + 3], "a range")


async def may_have_one_small_part(trial: Trial) -> None:
    """Only parts before the last have a least size; the ETag has a -1 nevertheless."""
    for name, data in (("small", b"tiny"), ("empty", b"")):
        info = await trial.upload(name, data)
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        expect.equal(info.etag, multipart_etag([md5]), f"ETag of {name} single part")
        await trial.holds(name, data, "of a single part")


async def may_come_in_any_order(trial: Trial) -> None:
    """Numbers may have gaps and arrive backwards; they order the object. Parts that are not named are dropped."""
    upload = await trial.create_upload("a")
    last = await trial.put_part(upload, 10_000, b"tail")
    await trial.put_part(upload, 8, b"not named")
    middle = await trial.put_part(upload, 7, b"m" * PART_SIZE_MIN)
    expect.equal([p.number for p in await trial.parts(upload)], [7, 8, 10_000], "parts, listed")
    await trial.complete(upload, [middle, last])
    await trial.holds("a", b"m" * PART_SIZE_MIN + b"tail", "after complete_upload")


async def are_listed_as_they_were_put(trial: Trial) -> None:
    upload = await trial.create_upload("a")
    data = trial.data(4000)
    put = await trial.put_part(upload, 3, data)
    (listed,) = await trial.parts(upload)
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    for what, part in (("put_part", put), ("list_parts", listed)):
        expect.equal((part.number, part.size, part.etag), (3, 4000, md5), f"part told by {what}")


async def may_be_put_again(trial: Trial) -> None:
    """The later part counts, and the ETag of the earlier is refused."""
    upload = await trial.create_upload("a")
    first = await trial.put_part(upload, 1, b"a longer first attempt")
    second = await trial.put_part(upload, 1, b"second")
    expect.equal([p.etag for p in await trial.parts(upload)], [second.etag], "parts, listed")
    with expect.raises(InvalidPartError, what="complete_upload with a replaced part's ETag"):
        await trial.complete(upload, [first])
    await trial.complete(upload, [second])
    await trial.holds("a", b"second", "after a part was put again")


async def are_refused_when_wrong(trial: Trial) -> None:
    """Order, missing parts, wrong ETags, parts that are too small; after each the upload is as before, and completes."""
    await trial.put("a", b"old")
    upload = await trial.create_upload("a")
    small = await trial.put_part(upload, 1, b"small")
    large = await trial.put_part(upload, 2, b"l" * PART_SIZE_MIN)
    last = await trial.put_part(upload, 3, b"last")

    def chosen(*pairs: tuple[int, str]) -> list[CompletedPart]:
        return [CompletedPart(number=number, etag=etag) for number, etag in pairs]

    one, two, three = ((part.number, part.etag) for part in (small, large, last))
    table: list[tuple[str, list[CompletedPart], tuple[type[ApplianceError], ...]]] = [
        ("backwards", chosen(three, two), (InvalidPartOrderError,)),
        ("twice the same", chosen(two, two), (InvalidPartOrderError,)),
        ("a missing part", chosen(two, (4, OTHER)), (InvalidPartError,)),
        ("a wrong ETag", chosen((2, OTHER), three), (InvalidPartError,)),
        ("no ETag", chosen((3, "")), (InvalidPartError,)),
        ("a part's name for another", chosen((3, large.etag)), (InvalidPartError,)),
        ("a small part first", chosen(one, two), (EntityTooSmallError,)),
        ("no parts", [], (ApplianceError,)),
    ]
    for what, parts, errors in table:
        with expect.raises(*errors, what=f"complete_upload with {what}"):
            await trial.backend.complete_upload(trial.bucket, upload.key, upload.upload_id, parts)
        expect.equal(len(await trial.parts(upload)), 3, f"parts after {what}")
        await trial.holds("a", b"old", f"after complete_upload with {what}")
    await trial.complete(upload, [large, last])
    await trial.holds("a", b"l" * PART_SIZE_MIN + b"last", "completed after refusals")


async def have_numbers_from_1_to_10000(trial: Trial) -> None:
    upload = await trial.create_upload("a")
    for number in (0, -1, 10_001, 10**12):
        with expect.raises(ApplianceError, what=f"put_part number {number}"):
            await trial.put_part(upload, number, b"data")
    expect.equal(await trial.parts(upload), [], "parts after numbers were refused")


async def stay_invisible_until_complete(trial: Trial) -> None:
    """No listing, head or read sees an upload; the object that is there stays."""
    await trial.put("a", b"old")
    for name in ("a", "b"):
        upload = await trial.create_upload(name)
        part = await trial.put_part(upload, 1, b"new")
        if name == "a":
            await trial.holds("a", b"old", "during an upload over it")
            expect.equal(await trial.names(), ["a"], "names during an upload")
        else:
            await trial.missing("b", "during its upload")
        await trial.complete(upload, [part])
        await trial.holds(name, b"new", "after complete_upload")


async def are_gone_once_completed(trial: Trial) -> None:
    upload = await trial.create_upload("a")
    part = await trial.put_part(upload, 1, b"data")
    await trial.complete(upload, [part])
    with expect.raises(NoSuchUploadError, what="list_parts of a completed upload"):
        await trial.parts(upload)
    with expect.raises(NoSuchUploadError, what="put_part of a completed upload"):
        await trial.put_part(upload, 2, b"late")
    page = await trial.backend.list_uploads(trial.bucket, prefix=trial.prefix)
    expect.equal(page.uploads, (), "uploads after complete_upload")
    await trial.holds("a", b"data", "after complete_upload")


async def are_gone_once_aborted(trial: Trial) -> None:
    await trial.put("a", b"old")
    upload = await trial.create_upload("a")
    part = await trial.put_part(upload, 1, b"data")
    await trial.backend.abort_upload(trial.bucket, upload.key, upload.upload_id)
    with expect.raises(NoSuchUploadError, what="list_parts of an aborted upload"):
        await trial.parts(upload)
    with expect.raises(NoSuchUploadError, what="put_part of an aborted upload"):
        await trial.put_part(upload, 2, b"late")
    with expect.raises(NoSuchUploadError, what="complete_upload of an aborted upload"):
        await trial.complete(upload, [part])
    with expect.raises(NoSuchUploadError, what="abort_upload of an aborted upload"):
        await trial.backend.abort_upload(trial.bucket, upload.key, upload.upload_id)
    await trial.holds("a", b"old", "after abort_upload")


async def of_one_key_do_not_mix(trial: Trial) -> None:
    """Several uploads of a key go on side by side; the last completed is the object."""
    first, second = await trial.create_upload("a"), await trial.create_upload("a")
    expect.true(first.upload_id != second.upload_id, "two uploads share an id")
    one = await trial.put_part(first, 1, b"first")
    two = await trial.put_part(second, 1, b"second")
    await trial.complete(second, [two])
    await trial.holds("a", b"second", "after the second upload")
    await trial.complete(first, [one])
    await trial.holds("a", b"first", "after the first upload")


async def keep_full_object_checksums(trial: Trial) -> None:
    """A CRC of the whole follows from the parts' (FULL_OBJECT), also when the parts came without."""
    await _keeps(trial, "crc32", "FULL_OBJECT")
    await _keeps(trial, "crc32c", "FULL_OBJECT")
    await _keeps(trial, "crc64nvme", "FULL_OBJECT")


async def keep_composite_checksums(trial: Trial) -> None:
    """A checksum of the parts' checksums (COMPOSITE), as S3 makes it."""
    await _keeps(trial, "sha256", "COMPOSITE")
    await _keeps(trial, "sha1", "COMPOSITE")
    await _keeps(trial, "crc32c", "COMPOSITE")


async def _keeps(trial: Trial, algorithm: str, kind: str) -> None:
    if algorithm not in trial.can.checksums:
        return
    backend, bucket = trial.backend, trial.bucket
    datas = (b"p" * PART_SIZE_MIN, trial.data(1000))
    upload = await trial.create_upload("a", checksums=(algorithm,), checksum_type=kind)
    parts = []
    for number, data in enumerate(datas, start=1):
        body = BytesBody(data, (algorithm,))
        part = await backend.put_part(bucket, upload.key, upload.upload_id, number, body)
        sums = body.digests().checksums
        expect.equal(part.checksums.get(algorithm), sums[algorithm], f"{algorithm} of a part")
        parts.append(CompletedPart(number=number, etag=part.etag, checksums=sums))
    wrong = [*parts[:1], CompletedPart(number=2, etag=parts[1].etag, checksums=parts[0].checksums)]
    with expect.raises(InvalidPartError, what=f"complete_upload with a wrong {algorithm}"):
        await backend.complete_upload(bucket, upload.key, upload.upload_id, wrong)
    await backend.complete_upload(bucket, upload.key, upload.upload_id, parts)
    info = await trial.head("a")
    values = [part.checksums[algorithm] for part in parts]
    sized = list(zip(values, map(len, datas), strict=True))
    composed = kind == "COMPOSITE"
    expected = composite(algorithm, values) if composed else full_object(algorithm, sized)
    expect.equal(info.checksums.get(algorithm), expected, f"{kind} {algorithm}")
    expect.equal(info.checksum_type, kind, f"checksum_type with {algorithm}")


async def compute_checksums_that_parts_lack(trial: Trial) -> None:
    """A part may come without the checksum its upload was created with."""
    for algorithm in sorted(trial.can.checksums & {"crc32", "crc32c", "crc64nvme"}):
        options = {"checksums": (algorithm,), "checksum_type": "FULL_OBJECT"}
        data = trial.data(3000)
        await trial.upload("a", data, **options)
        right = BytesBody(data, (algorithm,)).digests().checksums[algorithm]
        found = (await trial.head("a")).checksums.get(algorithm)
        expect.equal(found, right, f"{algorithm} of an upload whose part came without")


async def reach_odd_keys(trial: Trial) -> None:
    """Every key can be uploaded in parts."""
    odd = ("a b+c%20&d", "ü/日本 ", "a//b", "dir/", "../up", "a/../b", "a", "a/b", "x" * 255)
    names = [name for name in odd if not trial.allow.unstorable(trial.key(name))]
    for name in names:
        await trial.upload(name, name.encode())
    for name in names:
        await trial.holds(name, name.encode(), "uploaded in parts")


async def take_their_options_from_the_start(trial: Trial) -> None:
    """Metadata belongs to create_upload; a put of the same key meanwhile has its own."""
    upload = await trial.create_upload("a", metadata=METADATA)
    part = await trial.put_part(upload, 1, b"uploaded")
    await trial.backend.put(
        trial.bucket, trial.key("a"), BytesBody(b"put"), PutOptions(metadata={"x": "1"})
    )
    expect.equal((await trial.head("a")).metadata, {"x": "1"}, "metadata of the put")
    await trial.complete(upload, [part])
    info = await trial.holds("a", b"uploaded", "after complete_upload")
    expect.equal(info.metadata, METADATA, "metadata of the upload")


CHECKS = (
    become_one_object,
    may_have_one_small_part,
    may_come_in_any_order,
    are_listed_as_they_were_put,
    may_be_put_again,
    are_refused_when_wrong,
    have_numbers_from_1_to_10000,
    stay_invisible_until_complete,
    are_gone_once_completed,
    are_gone_once_aborted,
    of_one_key_do_not_mix,
    keep_full_object_checksums,
    keep_composite_checksums,
    compute_checksums_that_parts_lack,
    reach_odd_keys,
    take_their_options_from_the_start,
)
