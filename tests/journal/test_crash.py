"""Nothing acknowledged is lost, nothing is half there: a real process killed at random points, and write-ahead logs torn at random places."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.journal.fold import State, fold
from appliance.journal.store import Retention, Store
from appliance.journal.verify import problems, tables
from appliance.model.events import Event
from tests.support.journal_victim import digest

ROOT = Path(__file__).parents[2]
SEED = os.environ.get("APPLIANCE_TEST_SEED", "1")
KEEP_ALL = 10**6


class Victims:
    """Starts and kills processes that append; see `tests.support.journal_victim`."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.support.journal_victim"]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def round(self, path: Path, seed: str, keep: int, checkpoint_pages: int, acks: int) -> dict:
        """Let a victim append to `path`, kill it once it has acknowledged `acks` appends; digests of acknowledged events by seq."""
        self.process.stdin.write(f"{path} {seed} {keep} {checkpoint_pages}\n")
        self.process.stdin.flush()
        pid, heard, killed = 0, {}, False
        for line in self.process.stdout:
            match line.split():
                case ["pid", number]:
                    pid = int(number)
                case ["ack", first, *digests]:
                    heard |= dict(enumerate(digests, int(first)))
                    acks -= 1
                case ["gone"]:
                    assert killed, "the victim ended by itself: see its error output"
                    return heard
            if acks == 0 and not killed:
                os.kill(pid, signal.SIGKILL)
                killed = True
        raise AssertionError("the parent of the victims has ended")


@pytest.fixture(scope="module")
def victims():
    started = Victims()
    with started.process:
        yield started
        started.process.stdin.close()


def reopened(path: Path, keep: int = KEEP_ALL) -> tuple[Store, list[Event]]:
    store = Store.open(path, lambda: "", retention=Retention(keep=keep))
    return store, store.events(0, 10**6)


def assert_sound(store: Store, events: list[Event]) -> None:
    """The file is sound, tables are the fold of what is left, and no event above the floor is missing."""
    assert store.with_snapshot(lambda c: problems(c, store.path, thorough=True)) == []
    assert store.with_snapshot(tables) == fold(State(), events)
    above_floor = [event.seq for event in events if event.seq > store.floor]
    assert above_floor == list(range(store.floor + 1, store.last_seq + 1))


def test_kill_9_at_any_instant_loses_nothing_acknowledged(victims, tmp_path):
    """50 rounds on two files: one that keeps all events, one that compacts and checkpoints all the time."""
    print("seed", SEED)  # noqa: T201  # to repeat a failure
    chance = random.Random(SEED)
    acknowledged: dict[bool, dict[int, str]] = {False: {}, True: {}}
    for number in range(50):
        busy = bool(number % 2)
        path, keep, pages = (
            (tmp_path / "busy.db", 40, 20) if busy else (tmp_path / "all.db", KEEP_ALL, 1000)
        )
        heard = acknowledged[busy]
        heard |= victims.round(path, f"{SEED}/{number}", keep, pages, chance.choice([1, 5, 50, 99]))
        store, events = reopened(path, keep)
        try:
            assert not store.clean_stop
            assert store.last_seq >= max(heard)
            assert_sound(store, events)
            present = {event.seq: digest(event) for event in events}
            required = {seq: value for seq, value in heard.items() if seq > store.floor}
            assert required.items() <= present.items()
            # What was compacted may be gone, but nothing else may stand in its place.
            assert all(heard[seq] == present[seq] for seq in heard.keys() & present.keys())
        finally:
            # Leave it as a crash would: the next victim finds the mark of an unclean stop.
            store.close(clean=False)
    assert store.floor > 0
    assert len(acknowledged[False]) > 500


def test_kill_9_during_the_first_start(victims, tmp_path):
    """Killed as soon as it exists: while the file is created, migrated, locked."""
    for number in range(10):
        path = tmp_path / f"{number}.db"
        heard = victims.round(path, str(number), KEEP_ALL, 1000, acks=0)
        store, events = reopened(path)
        assert_sound(store, events)
        # Usually none: the kill wins the race.
        assert heard.items() <= {event.seq: digest(event) for event in events}.items()
        store.close(clean=True)


def test_a_torn_write_ahead_log_gives_a_prefix_of_what_was_committed(victims, tmp_path):
    """Cut or overwritten from a random offset on: what opens is exactly an earlier state, and complete up to it."""
    print("seed", SEED)  # noqa: T201  # to repeat a failure
    chance = random.Random(SEED)
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    # No checkpoints: the whole history is in the log.
    victims.round(crashed / "j.db", SEED, KEEP_ALL, 0, acks=300)
    whole = _all_events(_copy(crashed, tmp_path / "whole"))
    assert len(whole) > 100
    lengths = set()
    for number in range(40):
        path = _copy(crashed, tmp_path / str(number))
        _tear(path.with_name("j.db-wal"), chance, garble=bool(number % 2))
        events = _all_events(path)
        assert events == whole[: len(events)]
        lengths.add(len(events))
    assert len(lengths) > 10


def _copy(source: Path, target: Path) -> Path:
    target.mkdir()
    # Without the -shm file, as after a power failure; the victim is dead, so the files stand still.
    for name in ("j.db", "j.db-wal"):
        shutil.copyfile(source / name, target / name)
    return target / "j.db"


def _tear(wal: Path, chance: random.Random, *, garble: bool) -> None:
    size = wal.stat().st_size
    offset = chance.randrange(size)
    os.truncate(wal, offset)
    if garble:
        with wal.open("ab") as file:
            file.write(chance.randbytes(min(size - offset, 100_000)))


def _all_events(path: Path) -> list[Event]:
    """Of a sound journal; one that was torn before it was created is empty and gets another origin."""
    store, events = reopened(path)
    assert_sound(store, events)
    store.close(clean=True)
    return events
