"""Objects: what was put is what is found, all of it, and until it is deleted."""

from __future__ import annotations

import hashlib

from appliance.model.checksums import ALGORITHMS
from appliance.model.errors import NoSuchKeyError
from appliance.model.objects import ObjectInfo, PutOptions
from appliance.plugin.body import BytesBody
from appliance.plugin.check import expect
from appliance.plugin.check.bodies import ScribblingBody
from appliance.plugin.check.trial import Trial

MIB = 1 << 20
SIZES = (0, 1, 511, 4096, 65537, MIB, MIB + 1, 3 * MIB + 7)
CHUNK_BYTES_MAX = 2 * MIB  # "about 1 MiB"
HEADERS = {
    "cache-control": "max-age=60, private",
    "content-disposition": 'attachment; filename="a b.txt"',
    "content-encoding": "identity",
    "content-language": "en-GB",
    "content-type": "text/x-check; charset=utf-8",
    "expires": "Thu, 01 Dec 2033 16:00:00 GMT",
}
METADATA = {
    "plain": "value",
    "with-dash": "a b  c",
    "percent": "100%25 = %3D",
    "quotes": "\"double\" 'single' <tag> & more; and, so: on",
    "mtime": "1700000000.123456789",
}


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


async def come_back_as_they_were_put(trial: Trial) -> None:
    """Bytes, size, ETag (MD5) and one and the same answer from put, head and read, at sizes around the usual block sizes."""
    for size in SIZES:
        data = trial.data(size)
        put = await trial.put(f"size-{size}", data)
        expect.equal(put.etag, md5(data), f"ETag of an object of {size} bytes")
        head = await trial.holds(f"size-{size}", data, "after put")
        same(put, head, f"put and head of {size} bytes")
        expect.equal(head.key, trial.key(f"size-{size}"), "key told by head")
        expect.true(head.modified_ns > 0, "head tells no time of modification")


def same(first: ObjectInfo, second: ObjectInfo, what: str) -> None:
    """Two answers about one version agree in all that matters to a client."""
    for field in ("size", "etag", "version", "headers", "metadata"):
        expect.equal(getattr(second, field), getattr(first, field), f"{field}, by {what}")


async def stream_in_modest_chunks(trial: Trial) -> None:
    """Reading yields chunks of at most about 1 MiB, none empty, and tells info and range on entry."""
    data = trial.data(3 * MIB + 7)
    info = await trial.put("a", data)
    async with trial.backend.read(trial.bucket, trial.key("a")) as stream:
        expect.equal(stream.info.etag, info.etag, "ETag told on entry of read")
        expect.equal((stream.range.offset, stream.range.length), (0, len(data)), "range on entry")
        sizes = [len(chunk) async for chunk in stream]
    expect.true(max(sizes) <= CHUNK_BYTES_MAX, f"a chunk of {max(sizes)} bytes")
    expect.true(min(sizes) > 0, "an empty chunk")


async def may_be_read_in_part_and_left(trial: Trial) -> None:
    """A reader that stops early leaves nothing open or locked."""
    data = trial.data(3 * MIB)
    await trial.put("a", data)
    async with trial.backend.read(trial.bucket, trial.key("a")) as stream:
        first = await stream.__aiter__().__anext__()
    expect.true(data.startswith(bytes(first)), "the first chunk is not the beginning")
    async with trial.backend.read(trial.bucket, trial.key("a")):
        pass
    await trial.put("a", b"new")
    await trial.holds("a", b"new", "after readers that left early")


async def are_taken_chunk_by_chunk(trial: Trial) -> None:
    """A chunk is valid only until the next is asked for, whatever its size; no byte of a later one may leak in."""
    for chunk_bytes in (1, 7, 4096, MIB):
        data = trial.data(min(chunk_bytes * 50 + 3, 3 * MIB))
        body = ScribblingBody(data, chunk_bytes=chunk_bytes)
        await trial.backend.put(trial.bucket, trial.key("a"), body, PutOptions())
        await trial.holds("a", data, f"put in chunks of {chunk_bytes} bytes")


async def may_be_of_unknown_size(trial: Trial) -> None:
    """`Body.size` is None where the sender did not say."""
    for size in (0, 1, MIB + 5):
        data = trial.data(size)
        body = ScribblingBody(data, size_known=False)
        info = await trial.backend.put(trial.bucket, trial.key("a"), body, PutOptions())
        expect.equal(info.etag, md5(data), f"ETag of {size} bytes of unknown size")
        await trial.holds("a", data, "put with unknown size")


async def keep_headers_and_metadata(trial: Trial) -> None:
    """System headers and user metadata come back as they were put, and only those."""
    await trial.put("a", b"1", headers=HEADERS, metadata=METADATA)
    info = await trial.head("a")
    expect.equal(info.metadata, METADATA, "user metadata")
    found = {name: info.headers.get(name) for name in HEADERS}
    expect.equal(found, HEADERS, "system headers")
    async with trial.backend.read(trial.bucket, trial.key("a")) as stream:
        expect.equal(stream.info.metadata, METADATA, "user metadata told by read")


async def keep_two_kilobytes_of_metadata(trial: Trial) -> None:
    """S3's limit for user metadata: 2 KB of names and values."""
    metadata = {f"name-{n:02}": "v" * 93 for n in range(20)}
    await trial.put("a", b"1", metadata=metadata)
    expect.equal((await trial.head("a")).metadata, metadata, "2,000 bytes of user metadata")


async def forget_what_they_replaced(trial: Trial) -> None:
    """A put replaces everything: bytes, headers, metadata, checksums."""
    checksums = tuple(trial.can.checksums)[:1]
    await trial.put("a", trial.data(5000), headers=HEADERS, metadata=METADATA, checksums=checksums)
    put = await trial.put("a", b"short")
    info = await trial.holds("a", b"short", "after a longer one")
    expect.equal(info.etag, put.etag, "ETag after replacing")
    expect.equal(info.metadata, {}, "user metadata after replacing")
    expect.equal(info.headers.get("cache-control"), None, "Cache-Control after replacing")
    stale = set(info.checksums) & set(checksums) - set(put.checksums)
    expect.equal(stale, set(), "checksums left of the replaced object")


async def that_do_not_exist_are_named_as_such(trial: Trial) -> None:
    await trial.put("other", b"1")
    for name in ("none", "other/below", "oth", "deep/none"):
        await trial.missing(name, "although never put")
        with expect.raises(NoSuchKeyError, what=f"copy of {name!r}"):
            key = trial.key(name)
            await trial.backend.copy(trial.bucket, key, trial.bucket, trial.key("copy"))
    await trial.missing("copy", "after copying nothing")
    if trial.can.local_files:
        with expect.raises(NoSuchKeyError, what="open_local of a missing key"):
            await trial.backend.open_local(trial.bucket, trial.key("none"))


async def are_gone_once_deleted(trial: Trial) -> None:
    """Deleting what is not there is no error, and deletes nothing else."""
    await trial.put("deep/a", b"1")
    await trial.put("deep/b", b"2")
    await trial.delete("deep/a")
    await trial.missing("deep/a", "after delete")
    await trial.delete("deep/a")
    await trial.delete("deep")
    await trial.delete("none/at/all")
    await trial.holds("deep/b", b"2", "after its neighbours were deleted")


async def are_deleted_many_at_once(trial: Trial) -> None:
    """`delete_many` has one outcome a key, in order, and counts missing ones as gone."""
    for number in range(12):
        await trial.put(f"d{number % 3}/k{number}", b"1")
    names = ["d0/k0", "none", "d1/k1", "d1", "d2/k5", "d0/k0", "ü &<>\"' %"]
    outcomes = await trial.backend.delete_many(trial.bucket, [trial.key(name) for name in names])
    expect.equal([o.key for o in outcomes], [trial.key(n) for n in names], "keys of the outcomes")
    expect.equal([o.error for o in outcomes], [None] * len(names), "errors of the outcomes")
    left = {f"d{number % 3}/k{number}" for number in range(12)} - set(names)
    expect.equal(set(await trial.names()), left, "objects that are left")


async def keep_their_checksums(trial: Trial) -> None:
    """Checksums asked for are kept where declared, whether the body brings them or not; none is ever wrong."""
    data = trial.data(MIB + 3)
    for algorithm in ALGORITHMS:
        right = BytesBody(data, (algorithm,)).digests().checksums
        for body in (BytesBody(data, (algorithm,)), ScribblingBody(data)):
            options = PutOptions(checksums=(algorithm,))
            await trial.backend.put(trial.bucket, trial.key("a"), body, options)
            kept = (await trial.head("a")).checksums
            if algorithm in trial.can.checksums:
                expect.equal(kept.get(algorithm), right[algorithm], f"{algorithm} of an object")
            expect.true(
                kept.get(algorithm) in (None, right[algorithm]), f"{algorithm} is wrong: {kept}"
            )


CHECKS = (
    come_back_as_they_were_put,
    stream_in_modest_chunks,
    may_be_read_in_part_and_left,
    are_taken_chunk_by_chunk,
    may_be_of_unknown_size,
    keep_headers_and_metadata,
    keep_two_kilobytes_of_metadata,
    forget_what_they_replaced,
    that_do_not_exist_are_named_as_such,
    are_gone_once_deleted,
    are_deleted_many_at_once,
    keep_their_checksums,
)
