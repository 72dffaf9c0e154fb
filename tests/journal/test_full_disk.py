"""A disk that is really full: a small tmpfs, filled to the last byte."""

from __future__ import annotations

import errno
import subprocess

import pytest

from appliance.journal import Journal
from appliance.journal.inspect import summary
from appliance.model.errors import JournalError, StorageFullError
from appliance.world import RealWorld
from tests.support.journal import fill, intent, pin

pytestmark = pytest.mark.real


@pytest.fixture
def small_disk(tmp_path):
    where = tmp_path / "disk"
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", where], check=True)
    yield where
    subprocess.run(["umount", "--lazy", where], check=True)


def fill_up(path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError as error:
            assert error.errno == errno.ENOSPC  # noqa: PT017  # not what is tested


async def test_a_full_disk_fails_appends_whole_and_recovers(small_disk, caplog):
    journal = Journal.open(small_disk / "appliance.db", RealWorld())
    async with journal.running():
        acknowledged = [*await journal.append(fill("k1"), pin("p"))]
        fill_up(small_disk / "ballast")
        with pytest.raises(StorageFullError):  # noqa: PT012  # which of them fails is not known
            for number in range(1000):
                batch = [intent(f"{number}-{n}" + "x" * 900) for n in range(10)]
                acknowledged += await journal.append(*batch)
        journal.append_soon(fill("k2"))  # nobody waits for it: kept for later
        with pytest.raises(StorageFullError):
            await journal.append(*(pin("lost" + "x" * 900) for _ in range(100)))
        assert journal.events(limit=10**6) == acknowledged
        assert journal.entry("b", "k1") is not None
        assert journal.verify() == []

        (small_disk / "ballast").unlink()
        acknowledged += await journal.append(pin("after"))
        await journal.flush()
        assert journal.entry("b", "k2") is not None
        assert ("b", "after") in journal.pins()
        assert not any(key.startswith("lost") for _, key in journal.pins())
        assert journal.verify() == []
    journal.close()
    again = Journal.open(small_disk / "appliance.db", RealWorld())
    assert again.clean_stop
    events = again.events(limit=10**6)
    assert [event for event in events if event.key != "k2"] == acknowledged
    again.close()


async def test_a_stop_on_a_full_disk_loses_nothing_and_can_be_started_again_there(
    small_disk, caplog
):
    path = small_disk / "appliance.db"
    journal = Journal.open(path, RealWorld())
    async with journal.running():
        await journal.append(*(fill(f"k{number}") for number in range(1000)))
        fill_up(small_disk / "ballast")
    journal.close()
    assert "the clean stop was not recorded" in caplog.text
    again = Journal.open(path, RealWorld())
    assert not again.clean_stop
    assert len(list(again.entries())) == 1000
    assert again.verify() == []
    again.close()


def test_a_start_on_a_full_disk_after_a_clean_stop_is_refused_with_what_to_do(small_disk):
    path = small_disk / "appliance.db"
    Journal.open(path, RealWorld()).close()
    fill_up(small_disk / "ballast")
    with pytest.raises(StorageFullError, match="free some space"):
        Journal.open(path, RealWorld())
    (small_disk / "ballast").unlink()
    Journal.open(path, RealWorld()).close()


def test_a_read_only_filesystem_is_refused_with_what_to_do(small_disk):
    path = small_disk / "appliance.db"
    Journal.open(path, RealWorld()).close()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(JournalError, match="Read-only file system"):
        Journal.open(path, RealWorld())
    assert summary(path)["clean_stop"] == 1  # can still be looked at
