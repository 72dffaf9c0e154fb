"""Settings of buckets: what was set is there at once and after a restart; a snapshot stays the same object until something changes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
import trio.testing

from appliance.journal.bucket_settings import NO_SETTINGS, JournalBucketSettings
from appliance.journal.journal import Journal
from appliance.world import RealWorld


@asynccontextmanager
async def kept(path: Path) -> AsyncIterator[JournalBucketSettings]:
    journal = Journal.open(path / "appliance.db", RealWorld())
    try:
        async with journal.running():
            yield JournalBucketSettings(journal)
        assert journal.verify() == []
    finally:
        journal.close()


async def test_what_was_set_is_there_at_once_and_after_a_restart(tmp_path):
    async with kept(tmp_path) as settings:
        assert settings.of("b") is NO_SETTINGS
        await settings.change("b", {"owner": b"me", "policy": b"{}"})
        assert dict(settings.of("b").values) == {"owner": b"me", "policy": b"{}"}
        await settings.change("b", {"policy": None, "cors": b"<c/>"})
        await settings.change("other", {"owner": b"you"})
    async with kept(tmp_path) as settings:
        assert dict(settings.of("b").values) == {"owner": b"me", "cors": b"<c/>"}
        assert settings.of("b").get("policy") is None
        assert settings.statistics() == {"buckets": 2, "settings": 3}


async def test_a_bucket_that_is_dropped_has_none(tmp_path):
    async with kept(tmp_path) as settings:
        await settings.change("b", {"owner": b"me"})
        await settings.change("c", {"owner": b"you"})
        await settings.drop("b")
        await settings.drop("never")
        assert settings.of("b") is NO_SETTINGS
    async with kept(tmp_path) as settings:
        assert settings.of("b") is NO_SETTINGS
        assert settings.of("c").get("owner") == b"you"


async def test_a_snapshot_is_the_same_object_until_something_changes(tmp_path):
    parsed: list[bytes] = []

    def parse(value: bytes) -> int:
        parsed.append(value)
        return int(value)

    async with kept(tmp_path) as settings:
        await settings.change("b", {"n": b"1"})
        before = settings.of("b")
        assert before.parsed("n", parse) == before.parsed("n", parse) == 1
        assert before.parsed("none", parse) is None
        assert settings.of("b") is before
        await settings.change("c", {"n": b"9"})
        assert settings.of("b") is before
        await settings.change("b", {"n": b"2"})
        assert settings.of("b").parsed("n", parse) == 2
        assert before.get("n") == b"1"
        assert parsed == [b"1", b"2"]


async def test_a_change_whose_caller_went_away_is_seen_once_it_is_durable(tmp_path):
    async with kept(tmp_path) as settings:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(settings.change, "b", {"owner": b"me"})
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        await settings.change("c", {"owner": b"you"})
        assert settings.of("b").get("owner") == b"me"
