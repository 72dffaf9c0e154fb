"""Server-side copies: of bytes with or without what is said about them, over anything, and onto itself."""

from __future__ import annotations

import functools
import hashlib
from typing import Any

from appliance.model.errors import NoSuchKeyError
from appliance.model.objects import PART_SIZE_MIN, ObjectInfo, PutOptions
from appliance.plugin.check import expect
from appliance.plugin.check.trial import Trial, together

HEADERS = {"content-type": "text/x-check", "cache-control": "no-store"}
METADATA = {"colour": "blue"}


async def take_everything_along(trial: Trial) -> None:
    """Without options: bytes, ETag, headers, metadata, tags and checksums."""
    data = trial.data(1 << 20)
    options: dict[str, Any] = {
        "headers": HEADERS,
        "metadata": METADATA,
        "checksums": tuple(trial.can.checksums),
    }
    if trial.can.tagging:
        options["tags"] = {"stage": "raw"}
    source = await trial.put("source", data, **options)
    copied = await _copy(trial, "source", "dir/copy")
    info = await trial.holds("dir/copy", data, "after copy")
    expect.equal(info.version, copied.version, "version told by copy and by head")
    expect.equal((copied.key, copied.size), (trial.key("dir/copy"), len(data)), "key and size")
    expect.equal(info.etag, source.etag, "ETag of a simple object's copy")
    expect.equal(info.metadata, METADATA, "metadata of the copy")
    expect.equal({name: info.headers.get(name) for name in HEADERS}, HEADERS, "headers of the copy")
    if trial.can.checksums:
        kept = (await trial.head("source")).checksums
        expect.equal(info.checksums, kept, "checksums of the copy")
    if trial.can.tagging:
        tags = await trial.backend.get_tags(trial.bucket, trial.key("dir/copy"))
        expect.equal(tags, {"stage": "raw"}, "tags of the copy")


async def replace_what_options_say(trial: Trial) -> None:
    """With options: headers and metadata are theirs, all of them; the bytes are the source's."""
    data = trial.data(1000)
    await trial.put("source", data, headers=HEADERS, metadata=METADATA)
    options = PutOptions(headers={"content-type": "image/png"}, metadata={"size": "big"})
    await _copy(trial, "source", "copy", options)
    info = await trial.holds("copy", data, "after copy with options")
    expect.equal(info.metadata, {"size": "big"}, "metadata of the copy")
    expect.equal(info.headers.get("content-type"), "image/png", "Content-Type of the copy")
    expect.equal(info.headers.get("cache-control"), None, "Cache-Control of the copy")


async def onto_itself_change_the_metadata(trial: Trial) -> None:
    """With options; bytes and ETag stay, the version changes."""
    data = trial.data(70_000)
    before = await trial.put("a", data, headers=HEADERS, metadata=METADATA)
    options = PutOptions(headers={"content-type": "image/png"}, metadata={"colour": "red"})
    after = await _copy(trial, "a", "a", options)
    info = await trial.holds("a", data, "after a copy onto itself")
    expect.equal(info.etag, before.etag, "ETag after a copy onto itself")
    expect.true(after.version != before.version, "the version stays after a copy onto itself")
    expect.equal(info.metadata, {"colour": "red"}, "metadata after a copy onto itself")


async def replace_their_destination(trial: Trial) -> None:
    """And are independent of their source from then on."""
    await trial.put("source", b"new")
    await trial.put("copy", b"a longer old one", metadata=METADATA)
    await _copy(trial, "source", "copy")
    info = await trial.holds("copy", b"new", "after copy over it")
    expect.equal(info.metadata, {}, "metadata of what was copied over")
    await trial.put("source", b"changed")
    await trial.holds("copy", b"new", "after its source changed")
    await trial.delete("source")
    await trial.holds("copy", b"new", "after its source was deleted")
    await trial.put("source", b"again")
    await trial.put("copy", b"over")
    await trial.holds("source", b"again", "after its copy changed")


async def of_multipart_objects_keep_the_bytes(trial: Trial) -> None:
    """The ETag is then the MD5 of the bytes, or a multipart-like one."""
    first, last = trial.data(PART_SIZE_MIN), trial.data(10)
    await trial.upload("source", first, last, metadata=METADATA)
    await _copy(trial, "source", "copy")
    info = await trial.holds("copy", first + last, "after copy of a multipart object")
    md5 = hashlib.md5(first + last, usedforsecurity=False).hexdigest()
    expect.true(info.etag == md5 or "-" in info.etag, f"ETag of the copy is {info.etag}")
    expect.equal(info.metadata, METADATA, "metadata of the copy")


async def of_empty_objects_are_empty(trial: Trial) -> None:
    await trial.put("source", b"")
    await _copy(trial, "source", "copy")
    await trial.holds("copy", b"", "after copy of an empty object")


async def reach_odd_keys(trial: Trial) -> None:
    """Names are quoted where the storage's own copy request wants it."""
    await trial.put("plain", b"data")
    odd = ("a b+c%20&d", "ü/日本 ", "q?x=1#y", "a//b", "dir/")
    for name in odd:
        if trial.allow.unstorable(trial.key(name)):
            continue
        await _copy(trial, "plain", name)
        await trial.holds(name, b"data", "after copy to it")
        await _copy(trial, name, "back")
        await trial.holds("back", b"data", f"after copy from {name!r}")
        await trial.delete("back")


async def cross_buckets(trial: Trial) -> None:
    """Within one backend, from any bucket to any."""
    await trial.put("a", b"data", metadata=METADATA)
    other = trial.bucket if trial.shared else await trial.another_bucket()
    info = await trial.backend.copy(trial.bucket, trial.key("a"), other, trial.key("b"))
    head = await trial.backend.head(other, trial.key("b"))
    expect.equal((head.etag, head.metadata), (info.etag, METADATA), "a copy in another bucket")


async def of_nothing_change_nothing(trial: Trial) -> None:
    await trial.put("a", b"old")
    with expect.raises(NoSuchKeyError, what="copy of a missing key"):
        await _copy(trial, "none", "a")
    await trial.holds("a", b"old", "after a copy of nothing")


async def during_changes_are_whole(trial: Trial) -> None:
    """A copy of an object that is being replaced has one version's bytes."""
    versions = [bytes([65 + n]) * 200_000 for n in range(4)]
    await trial.put("source", versions[0])
    for data in versions[1:]:
        put = functools.partial(trial.put, "source", data)
        await together(put, functools.partial(_copy, trial, "source", "copy"))
        info = await trial.head("copy")
        copied = await trial.read("copy")
        expect.true(copied in versions, "a copy mixes two versions of its source")
        expect.equal(info.etag, hashlib.md5(copied, usedforsecurity=False).hexdigest(), "its ETag")


async def _copy(
    trial: Trial, source: str, name: str, options: PutOptions | None = None
) -> ObjectInfo:
    return await trial.backend.copy(
        trial.bucket, trial.key(source), trial.bucket, trial.key(name), options=options
    )


CHECKS = (
    take_everything_along,
    replace_what_options_say,
    onto_itself_change_the_metadata,
    replace_their_destination,
    of_multipart_objects_keep_the_bytes,
    of_empty_objects_are_empty,
    reach_odd_keys,
    cross_buckets,
    of_nothing_change_nothing,
    during_changes_are_whole,
)
