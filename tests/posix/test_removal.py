"""Deleting many keys at once: directories are synchronised once for all that lay in them, and not forgotten when they are gone."""

from __future__ import annotations

import os

from appliance.model.objects import DeleteTarget
from appliance_posix import directories, removal
from appliance_posix.bucket import Bucket
from tests.support.posix import all_keys, put, started


def count_syncs(monkeypatch) -> list[int]:
    """The inodes that `directories` synchronises from now on."""
    inodes = []
    true_fsync = os.fsync

    def fsync(fd: int) -> None:
        inodes.append(os.fstat(fd).st_ino)
        true_fsync(fd)

    monkeypatch.setattr(directories.os, "fsync", fsync)
    return inodes


async def test_directories_are_synchronised_once(tmp_path, monkeypatch):
    async with started(tmp_path, "bucket") as backend:
        keys = [f"d{number % 3}/k{number}" for number in range(60)]
        for key in keys:
            await put(backend, key)
        expected = {(tmp_path / "bucket" / f"d{number}").stat().st_ino for number in range(3)}
        synced = count_syncs(monkeypatch)
        outcomes = await backend.delete_many("bucket", [*keys, "never"])
        assert [outcome.error for outcome in outcomes] == [None] * 61
        assert (len(synced), set(synced)) == (3, expected)
        assert await all_keys(backend) == []
        assert not any((tmp_path / "bucket" / f"d{number}").exists() for number in range(3))


async def test_one_that_fails_does_not_keep_the_others(tmp_path):
    async with started(tmp_path, "bucket") as backend:
        await put(backend, "a")
        outcomes = await backend.delete_many("bucket", ["", "a"])
        assert [outcome.error is None for outcome in outcomes] == [False, True]
        assert await all_keys(backend) == []


async def test_for_a_directory_that_is_gone_the_one_above_is_synchronised(tmp_path, monkeypatch):
    async with started(tmp_path, "bucket") as backend:
        await put(backend, "d/e/k")
        await put(backend, "d/l")
        synced = []

        def settle(bucket, later):
            # Somebody else finds the directory empty first.
            (tmp_path / "bucket" / "d" / "e").rmdir()
            synced.append(count_syncs(monkeypatch))
            directories.settle(bucket, later)

        monkeypatch.setattr(removal, "settle", settle)
        with Bucket(backend.volume, "bucket") as bucket:
            [outcome] = removal.remove_many(bucket, [DeleteTarget(key="d/e/k")])
        assert outcome.error is None
        assert synced == [[(tmp_path / "bucket" / "d").stat().st_ino]]
        assert await all_keys(backend) == ["d/l"]
