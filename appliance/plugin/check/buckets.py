"""Buckets: made, found, listed, removed, and kept apart."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable

from appliance.model.errors import (
    ApplianceError,
    BucketExistsError,
    BucketNotEmptyError,
    InvalidBucketNameError,
    NoSuchBucketError,
)
from appliance.model.objects import NO_CONDITIONS, CompletedPart, ListRequest, PutOptions
from appliance.plugin.body import BytesBody
from appliance.plugin.check import expect
from appliance.plugin.check.trial import Trial, fresh_token, together

INVALID = (
    "",
    "ab",
    "a" * 64,
    "Upper",
    "under_score",
    "dots..dots",
    "-dash",
    "dash-",
    "a/b",
    "../x",
    "ü",
)
# Names that reach out of a directory of buckets, if anybody joins them to a path.
ESCAPES = ("..", ".", "../..", "a/../b", "/etc", "/", "a\0b", "")


async def are_listed_in_order(trial: Trial) -> None:
    """The bucket is found by `head_bucket` and in `list_buckets`, which is ordered by name."""
    info = await trial.backend.head_bucket(trial.bucket)
    expect.equal(info.name, trial.bucket, "name told by head_bucket")
    listed = [bucket.name for bucket in await trial.backend.list_buckets()]
    expect.true(trial.bucket in listed, f"{trial.bucket} is not in list_buckets")
    expect.equal(listed, sorted(listed), "order of list_buckets")


async def that_exist_cannot_be_created(trial: Trial) -> None:
    """Also where buckets cannot be made at all, an existing one is not made again."""
    await trial.put("a", b"1")
    wanted = (ApplianceError,) if trial.shared else (BucketExistsError,)
    with expect.raises(*wanted, what="create_bucket of an existing bucket"):
        await trial.backend.create_bucket(trial.bucket)
    await trial.holds("a", b"1", "after create_bucket of its bucket")


async def with_invalid_names_are_refused(trial: Trial) -> None:
    for name in INVALID:
        with expect.raises(InvalidBucketNameError, what=f"create_bucket({name!r})"):
            await trial.backend.create_bucket(name)


async def that_do_not_exist_are_named_as_such(trial: Trial) -> None:
    """Every method of a bucket raises NoSuchBucketError for one that is not there."""
    backend, none, key = trial.backend, f"none-{fresh_token()}", "a"
    body = functools.partial(BytesBody, b"data")
    await trial.put("source", b"1")
    source = trial.key("source")
    attempts: dict[str, Callable[[], Awaitable[object]]] = {
        "head_bucket": lambda: backend.head_bucket(none),
        "delete_bucket": lambda: backend.delete_bucket(none),
        "list_objects": lambda: backend.list_objects(none, ListRequest()),
        "head": lambda: backend.head(none, key),
        "put": lambda: backend.put(none, key, body(), PutOptions()),
        "delete": lambda: backend.delete(none, key),
        "copy into it": lambda: backend.copy(trial.bucket, source, none, key),
        "copy out of it": lambda: backend.copy(none, key, trial.bucket, trial.key("b")),
        "create_upload": lambda: backend.create_upload(none, key, PutOptions()),
        "list_uploads": lambda: backend.list_uploads(none),
    }
    for what, attempt in attempts.items():
        with expect.raises(NoSuchBucketError, what=f"{what} of a missing bucket"):
            await attempt()
    with expect.raises(NoSuchBucketError, what="read of a missing bucket"):
        async with backend.read(none, key, conditions=NO_CONDITIONS):
            pass


async def with_escaping_names_do_not_exist(trial: Trial) -> None:
    """No name of a bucket reaches anything else: it is invalid, or there is no such bucket."""
    errors = (NoSuchBucketError, InvalidBucketNameError)
    for name in ESCAPES:
        with expect.raises(*errors, what=f"head_bucket({name!r})"):
            await trial.backend.head_bucket(name)
        with expect.raises(*errors, what=f"list_objects of the bucket {name!r}"):
            await trial.backend.list_objects(name, ListRequest())
        with expect.raises(*errors, what=f"put into the bucket {name!r}"):
            await trial.backend.put(name, "a", BytesBody(b"x"), PutOptions())
        with expect.raises(*errors, what=f"delete_bucket({name!r})"):
            await trial.backend.delete_bucket(name)


async def that_hold_objects_are_kept(trial: Trial) -> None:
    if trial.shared:
        await that_exist_cannot_be_created(trial)
        return
    await trial.put("deep/down/a", b"1")
    with expect.raises(BucketNotEmptyError, what="delete_bucket with an object in it"):
        await trial.backend.delete_bucket(trial.bucket)
    await trial.holds("deep/down/a", b"1", "after delete_bucket was refused")


async def are_gone_once_deleted(trial: Trial) -> None:
    """Emptied, a bucket can be deleted, and made again: empty."""
    if trial.shared:
        await that_exist_cannot_be_created(trial)
        return
    other = await trial.another_bucket()
    await trial.backend.put(other, "deep/a", BytesBody(b"1"), PutOptions())
    await trial.backend.delete(other, "deep/a")
    await trial.backend.delete_bucket(other)
    with expect.raises(NoSuchBucketError, what="head_bucket after delete_bucket"):
        await trial.backend.head_bucket(other)
    await trial.backend.create_bucket(other)
    page = await trial.backend.list_objects(other, ListRequest())
    expect.equal(page.objects, (), "objects in a bucket that was deleted and made again")


async def are_not_kept_by_uploads(trial: Trial) -> None:
    """An upload in progress does not keep a bucket alive, and is gone with it."""
    if trial.shared:
        await that_exist_cannot_be_created(trial)
        return
    backend, other = trial.backend, await trial.another_bucket()
    upload = await backend.create_upload(other, "a", PutOptions())
    part = await backend.put_part(other, "a", upload.upload_id, 1, BytesBody(b"1"))
    await backend.delete_bucket(other)
    with expect.raises(NoSuchBucketError, what="complete_upload in a deleted bucket"):
        chosen = [CompletedPart(number=1, etag=part.etag)]
        await backend.complete_upload(other, "a", upload.upload_id, chosen)
    await backend.create_bucket(other)
    page = await backend.list_uploads(other)
    expect.equal(page.uploads, (), "uploads in a bucket that was deleted and made again")


async def do_not_see_each_other(trial: Trial) -> None:
    if trial.shared:
        await that_exist_cannot_be_created(trial)
        return
    other = await trial.another_bucket()
    await trial.put("a", b"here")
    await trial.backend.put(other, "a", BytesBody(b"there"), PutOptions())
    await trial.holds("a", b"here", "with another of the same key in another bucket")
    await trial.backend.delete(other, "a")
    await trial.holds("a", b"here", "after the other was deleted")


async def are_created_once_by_many(trial: Trial) -> None:
    """Of several that create a bucket at once, one succeeds."""
    if trial.shared:
        await that_exist_cannot_be_created(trial)
        return
    name = f"check-{fresh_token()}"
    tries = [functools.partial(trial.backend.create_bucket, name) for _ in range(4)]
    results = await together(*tries)
    await trial.backend.delete_bucket(name)
    winners = [result for result in results if result is None]
    expect.equal(len(winners), 1, "creators of one bucket that succeeded at once")
    losers = {type(result) for result in results if result is not None}
    expect.equal(losers, {BucketExistsError}, "errors of those that did not")


CHECKS = (
    are_listed_in_order,
    that_exist_cannot_be_created,
    with_invalid_names_are_refused,
    that_do_not_exist_are_named_as_such,
    with_escaping_names_do_not_exist,
    that_hold_objects_are_kept,
    are_gone_once_deleted,
    are_not_kept_by_uploads,
    do_not_see_each_other,
    are_created_once_by_many,
)
