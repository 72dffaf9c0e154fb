import os

import pytest
import trio
import trio.testing

from appliance.cache.object_cache import is_at
from appliance.cache.routes import Route
from appliance.model.checksums import encode, new_hasher
from appliance.model.errors import (
    BackendUnavailableError,
    IncompleteBodyError,
    NoSuchKeyError,
    PreconditionFailedError,
    StorageFullError,
    UnsupportedError,
)
from appliance.model.objects import CompletedPart, Conditions, PutOptions
from appliance.model.ranges import ByteRange
from appliance.plugin import Body, BytesBody
from appliance.policy.buckets import BucketPolicy
from tests.support.cache_stack import MIB, FaultyBackend, stack

FOR_EVER = float("inf")


class BrokenBody(Body):
    """Its sender goes away in the middle."""

    size = 10

    def __aiter__(self):
        return self

    sent = False

    async def __anext__(self):
        if self.sent:
            raise IncompleteBodyError
        self.sent = True
        return b"12345"

    def digests(self):
        raise AssertionError


@pytest.mark.parametrize("size", [0, 1, 5000, MIB, MIB + 1, 7 * MIB + 3])
async def test_what_was_written_is_a_hit(tmp_path, size):
    data = os.urandom(size)
    async with stack(tmp_path, freshness_s=FOR_EVER) as s:
        info = await s.put("k", data, metadata={"a": "b"})
        assert s.nowait("k")
        assert await s.get("k") == data
        assert s.cache.head_nowait("data", "k") == info
        assert s.backend.asked == {"put": 1}


async def test_every_write_is_seen_by_every_later_read(tmp_path):
    async with stack(tmp_path, freshness_s=FOR_EVER) as s:
        for number in range(10):
            await s.put("k", b"%d" % number)
            assert await s.get("k") == b"%d" % number
        await s.cache.delete("data", "k")
        with pytest.raises(NoSuchKeyError):
            await s.get("k")
        await s.quiet()
        assert s.files() == []


async def test_front_ends_are_told_before_a_write_is_acknowledged(tmp_path):
    async with stack(tmp_path, freshness_s=FOR_EVER) as s:
        told = []
        unsubscribe = s.cache.subscribe(told.append)
        info = await s.cache.put("data", "k", BytesBody(b"x"), PutOptions(), origin="mount")
        await s.cache.delete("data", "k")
        assert [(c.bucket, c.key, c.origin, c.info) for c in told] == [
            ("data", "k", "mount", None),
            ("data", "k", "mount", info),
            ("data", "k", "s3", None),
            ("data", "k", "s3", None),
        ]
        unsubscribe()
        unsubscribe()
        await s.put("k", b"y")
        assert len(told) == 4


async def test_a_read_during_a_write_asks_the_backend(tmp_path):
    async with stack(tmp_path, freshness_s=FOR_EVER) as s:
        await s.put("k", b"old")
        s.backend.arrived.clear()
        s.backend.gates["after put"] = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(s.put, "k", b"new")
            await s.backend.arrived["after put"].wait()
            await trio.testing.wait_all_tasks_blocked()
            # The backend has it, the writer has no answer yet: either is right, but only the backend may say.
            assert not s.nowait("k")
            assert s.cache.trust_seconds("data") == 0
            assert s.cache.trust_seconds("data", "k") == 0
            assert s.cache.trust_seconds("data", "other") == FOR_EVER
            assert await s.get("k") == b"new"
            s.backend.gates["after put"].set()
        assert s.cache.trust_seconds("data") == FOR_EVER
        assert s.nowait("k")


@pytest.mark.parametrize("place", ["", "d", "d/", "d/e", "d/e/", "d/e/k", "d/e/k/"])
def test_a_write_may_change_what_is_found_at_its_name_and_above(place):
    assert is_at("d/e/k", place)


@pytest.mark.parametrize(
    ("key", "place"),
    [("d/e", "d/e/x"), ("d/ef", "d/e"), ("d/ef", "d/e/"), ("d/e", "d/ef"), ("e", "d/e")],
)
def test_a_write_changes_nothing_beside_or_below_its_name(key, place):
    assert not is_at(key, place)


async def test_a_fetch_of_the_old_version_never_outlives_a_write(tmp_path):
    async with stack(tmp_path, freshness_s=FOR_EVER) as s:
        await s.backend.foreign_put("data", "k", b"o" * 1000)
        s.backend.hold_after = 0
        got = []

        async def get():
            got.append(await s.get("k"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(get)
            await s.backend.arrived["hold"].wait()  # it has seen the old version
            s.backend.hold_after = None
            await s.put("k", b"new")
            assert await s.get("k") == b"new"
            s.backend.released.set()
        assert got == [b"o" * 1000]
        assert await s.get("k") == b"new"
        assert s.nowait("k")


async def test_a_miss_that_began_before_a_write_serves_nobody_who_came_after(tmp_path):
    async with stack(tmp_path, freshness_s=FOR_EVER) as s:
        await s.backend.foreign_put("data", "k", b"old")
        s.backend.hold_after = 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(s.get, "k")
            await s.backend.arrived["hold"].wait()
            s.backend.hold_after = None
            await s.cache.delete("data", "k")
            with pytest.raises(NoSuchKeyError):
                await s.get("k")
            s.backend.released.set()
        with pytest.raises(NoSuchKeyError):
            await s.get("k")


async def test_of_two_overlapping_writes_the_backends_winner_is_read(tmp_path):
    async with stack(tmp_path, freshness_s=FOR_EVER) as s:
        s.backend.gates["after put"] = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(s.put, "k", b"first")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(s.put, "k", b"second")
            await trio.testing.wait_all_tasks_blocked()
            s.backend.gates["after put"].set()
        assert not s.nowait("k")
        assert await s.get("k") == b"second"


async def test_a_refused_write_leaves_the_cached_version_trusted(tmp_path):
    async with stack(tmp_path, freshness_s=FOR_EVER) as s:
        await s.put("k", b"old")
        with pytest.raises(PreconditionFailedError):
            await s.cache.put(
                "data", "k", BytesBody(b"new"), PutOptions(), Conditions(if_none_match=("*",))
            )
        assert s.nowait("k")
        assert await s.get("k") == b"old"
        assert s.journal.open_intents() == []


async def test_a_body_that_breaks_off_writes_nothing(tmp_path):
    async with stack(tmp_path, freshness_s=FOR_EVER) as s:
        await s.put("k", b"old")
        with pytest.raises(IncompleteBodyError):
            await s.cache.put("data", "k", BrokenBody(), PutOptions())
        assert s.nowait("k")
        assert s.journal.open_intents() == []
        await s.quiet()
        assert len(s.files()) == 1


@pytest.mark.parametrize("happened", [True, False])
async def test_a_write_of_unknown_outcome_is_asked_about_at_each_use(tmp_path, happened):
    async with stack(tmp_path, freshness_s=FOR_EVER) as s:
        await s.put("k", b"old")
        if happened:
            s.backend.lose_answer.add("put")
        else:
            s.backend.lose_request = True
        with pytest.raises(BackendUnavailableError):
            await s.put("k", b"new")
        now = b"new" if happened else b"old"
        assert not s.nowait("k")
        assert await s.get("k") == now
        assert not s.nowait("k")
        assert len(s.journal.open_intents()) == 1
        s.world.offset_s = 61
        await s.cache.settle()
        await s.journal.flush()
        assert s.journal.open_intents() == []
        assert await s.get("k") == now
        assert s.nowait("k")


async def test_a_cancelled_put_is_aborted_before_its_body_ended_and_unknown_after(tmp_path):
    async with stack(tmp_path, freshness_s=FOR_EVER) as s:
        for gate, unknown in (("put", 0), ("after put", 1)):
            s.backend.arrived.clear()
            s.backend.gates[gate] = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(s.put, "k", gate.encode())
                await s.backend.arrived[gate].wait()
                nursery.cancel_scope.cancel()
            s.backend.gates.clear()
            assert len(s.journal.open_intents()) == unknown
        assert await s.get("k") == b"after put"


async def test_delete_many_says_what_became_of_each(tmp_path):
    async with stack(tmp_path, freshness_s=FOR_EVER) as s:
        for key in "abc":
            await s.put(key, key.encode())
        outcomes = await s.cache.delete_many("data", ["a", "b", "b", "nothing"])
        assert [(o.key, o.error) for o in outcomes] == [
            (k, None) for k in ("a", "b", "b", "nothing")
        ]
        for key in "ab":
            with pytest.raises(NoSuchKeyError):
                await s.get(key)
        assert await s.get("c") == b"c"
        assert s.journal.open_intents() == []
        assert s.nowait("c")


async def test_copies_tags_and_completed_uploads_replace_what_was_cached(tmp_path):
    async with stack(tmp_path, freshness_s=FOR_EVER) as s:
        await s.put("a", b"A")
        await s.put("b", b"B")
        await s.cache.copy("data", "a", "data", "b")
        assert await s.get("b") == b"A"
        info = await s.cache.put_tags("data", "b", {"t": "1"})
        assert (await s.cache.head("data", "b")).tag_count == info.tag_count == 1
        assert await s.cache.get_tags("data", "b") == {"t": "1"}
        upload = await s.cache.create_upload("data", "b", PutOptions())
        part = await s.cache.put_part("data", "b", upload.upload_id, 1, BytesBody(b"part"))
        copied = await s.cache.copy_part("data", "a", "data", "b", upload.upload_id, 2)
        assert (await s.cache.list_parts("data", "b", upload.upload_id)).parts == (part, copied)
        await s.cache.abort_upload("data", "b", upload.upload_id)
        assert await s.get("b") == b"A"
        upload = await s.cache.create_upload("data", "b", PutOptions())
        part = await s.cache.put_part("data", "b", upload.upload_id, 1, BytesBody(b"whole"))
        assert len((await s.cache.list_uploads("data")).uploads) == 1
        await s.cache.complete_upload(
            "data", "b", upload.upload_id, [CompletedPart(number=1, etag=part.etag)]
        )
        assert await s.get("b") == b"whole"


async def test_a_copy_between_backends_carries_bytes_and_all_that_is_said_about_them(tmp_path):
    other = FaultyBackend("other")
    await other.create_bucket("other-bucket")
    route = Route("other-*", other, BucketPolicy(freshness_s=FOR_EVER))
    data = os.urandom(3 * MIB)
    async with stack(tmp_path, freshness_s=FOR_EVER, more_routes=(route,)) as s:
        source = await s.put(
            "k",
            data,
            headers={"content-type": "text/x"},
            metadata={"m": "1"},
            tags={"t": "2"},
            checksums=("sha256",),
        )
        target = await s.cache.copy(
            "data", "k", "other-bucket", "copy", source_version=source.version
        )
        assert (target.etag, target.headers, target.metadata, target.checksums) == (
            source.etag,
            source.headers,
            source.metadata,
            source.checksums,
        )
        assert await other.get_tags("other-bucket", "copy") == {"t": "2"}
        assert await s.get("copy", "other-bucket") == data
        upload = await s.cache.create_upload("other-bucket", "parts", PutOptions())
        part = await s.cache.copy_part(
            "data", "k", "other-bucket", "parts", upload.upload_id, 1, range=ByteRange(10, 2 * MIB)
        )
        hasher = new_hasher("md5")
        hasher.update(data[10 : 10 + 2 * MIB])
        assert part.etag == hasher.digest().hex()
        assert encode(b"") == ""
        assert [bucket.name for bucket in await s.cache.list_buckets()] == ["data", "other-bucket"]


async def test_a_deleted_bucket_takes_its_cached_objects_along(tmp_path):
    async with stack(tmp_path, freshness_s=FOR_EVER) as s:
        await s.put("k", b"data")
        await s.backend.foreign_delete("data", "k")
        await s.cache.delete_bucket("data")
        assert not s.nowait("k")
        await s.cache.create_bucket("data")
        with pytest.raises(NoSuchKeyError):
            await s.get("k")


async def test_what_a_backend_cannot_do_is_said_and_changes_nothing(tmp_path):
    async with stack(tmp_path, freshness_s=FOR_EVER) as s:
        await s.put("k", b"data")
        s.backend.fail["copy"] = UnsupportedError("no copies")
        with pytest.raises(UnsupportedError, match="no copies"):
            await s.cache.copy("data", "k", "data", "k")
        assert s.nowait("k")


async def test_a_journal_that_takes_no_intent_costs_the_cached_copy_and_not_the_write(
    tmp_path, monkeypatch
):
    backend = FaultyBackend()
    async with stack(tmp_path, backend=backend, freshness_s=FOR_EVER) as s:
        await s.put("k", b"old")
        [old] = s.files()

        async def full(*changes):
            raise StorageFullError

        monkeypatch.setattr(s.journal, "append", full)
        backend.arrived.clear()
        backend.gates["put"] = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(s.put, "k", b"new")
            await backend.arrived["put"].wait()
            assert not old.exists()  # a crash here leaves nothing that could be believed
            backend.gates["put"].set()
        assert await s.get("k") == b"new"
        monkeypatch.undo()
    async with stack(tmp_path, backend=backend, freshness_s=FOR_EVER) as s:
        assert await s.get("k") == b"new"


async def test_a_journal_that_takes_no_commit_leaves_the_name_suspect(tmp_path, monkeypatch):
    async with stack(tmp_path, freshness_s=FOR_EVER) as s:
        await s.put("k", b"old")
        append = s.journal.append

        async def full(*changes):
            if changes[0].kind == "commit":
                raise StorageFullError
            return await append(*changes)

        monkeypatch.setattr(s.journal, "append", full)
        await s.put("k", b"new")  # the backend has it: acknowledged
        monkeypatch.undo()
        assert not s.nowait("k")
        assert await s.get("k") == b"new"
        assert len(s.journal.open_intents()) == 1
        s.world.offset_s = 61
        await s.cache.settle()
        assert await s.get("k") == b"new"
        assert s.nowait("k")
