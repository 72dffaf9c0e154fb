"""Object tags, or their honest absence."""

from __future__ import annotations

from appliance.model.errors import NoSuchKeyError, UnsupportedError
from appliance.model.objects import TAGS_MAX
from appliance.plugin.check import expect
from appliance.plugin.check.trial import Trial

SECOND = 10**9


async def come_and_go(trial: Trial) -> None:
    """Set, replaced as a whole, removed; the object's bytes, ETag and time stay."""
    before = await trial.put("a", b"data", metadata={"x": "1"})
    if not trial.can.tagging:
        await _are_refused(trial)
        return
    expect.equal(await _tags(trial), {}, "tags of an object without any")
    for tags in ({"a": "1", "b": ""}, {"b": "2"}, {"key with spaces": "ü+-=._:/@"}, {}):
        info = await trial.backend.put_tags(trial.bucket, trial.key("a"), tags)
        expect.equal(await _tags(trial), tags, "tags after put_tags")
        expect.equal(info.etag, before.etag, "ETag after put_tags")
        head = await trial.holds("a", b"data", "after put_tags")
        expect.equal(head.version, info.version, "version told by put_tags and by head")
        expect.equal(head.metadata, {"x": "1"}, "metadata after put_tags")
        if trial.allow.tag_times:
            expect.equal(head.modified_ns // SECOND, before.modified_ns // SECOND, "time")
        expect.equal(head.tag_count, len(tags), "tag_count")


async def _are_refused(trial: Trial) -> None:
    with expect.raises(UnsupportedError, what="get_tags without tagging"):
        await _tags(trial)
    with expect.raises(UnsupportedError, what="put_tags without tagging"):
        await trial.backend.put_tags(trial.bucket, trial.key("a"), {"a": "1"})
    with expect.raises(UnsupportedError, what="put with tags without tagging"):
        await trial.put("b", b"data", tags={"a": "1"})
    await trial.missing("b", "after a put with tags was refused")


async def come_with_a_put(trial: Trial) -> None:
    """And go with the next one."""
    if not trial.can.tagging:
        await trial.put("a", b"data")
        await _are_refused(trial)
        return
    tags = {f"tag {number}": f"value {number}" for number in range(TAGS_MAX)}
    await trial.put("a", b"data", tags=tags)
    expect.equal(await _tags(trial), tags, "tags given with a put")
    expect.equal((await trial.head("a")).tag_count, TAGS_MAX, "tag_count")
    await trial.put("a", b"data")
    expect.equal(await _tags(trial), {}, "tags after a put without any")


async def come_with_an_upload(trial: Trial) -> None:
    if not trial.can.tagging:
        await trial.put("a", b"data")
        await _are_refused(trial)
        return
    await trial.upload("a", b"part", tags={"stage": "raw"})
    expect.equal(await _tags(trial), {"stage": "raw"}, "tags given with create_upload")


async def of_nothing_do_not_exist(trial: Trial) -> None:
    error = NoSuchKeyError if trial.can.tagging else UnsupportedError
    with expect.raises(error, what="get_tags of a missing key"):
        await trial.backend.get_tags(trial.bucket, trial.key("none"))
    with expect.raises(error, what="put_tags of a missing key"):
        await trial.backend.put_tags(trial.bucket, trial.key("none"), {"a": "1"})
    await trial.missing("none", "after put_tags on it")


async def _tags(trial: Trial) -> dict[str, str]:
    return await trial.backend.get_tags(trial.bucket, trial.key("a"))


CHECKS = (come_and_go, come_with_a_put, come_with_an_upload, of_nothing_do_not_exist)
