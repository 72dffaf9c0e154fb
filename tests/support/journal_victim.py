"""A process that appends to a journal under load until somebody kills it, and says on its standard output what was acknowledged.

Run as a script. Each line of standard input, `PATH SEED KEEP CHECKPOINT_PAGES`, forks a victim from a process that has everything imported
(a round costs milliseconds). Lines out, each written at once: `pid N`, `ack SEQ DIGEST...` (an append returned; SEQ is its first event's),
`gone` (the victim has ended). KEEP is the retention; CHECKPOINT_PAGES how often SQLite checkpoints (0: never).
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
from pathlib import Path

import msgspec
import trio

from appliance.journal import Journal
from appliance.journal.store import Retention
from appliance.model.events import Change, Event
from appliance.world import RealWorld
from tests.support import journal as make

APPENDERS = 8


def digest(event: Event) -> str:
    """What was acknowledged, in short."""
    return hashlib.sha256(msgspec.msgpack.encode(event)).hexdigest()[:16]


def _say(line: str) -> None:
    os.write(1, f"{line}\n".encode())  # shorter than PIPE_BUF: never torn


def _changes(chance: random.Random) -> list[Change]:
    key, version = f"k{chance.randrange(50)}", f"v{chance.randrange(3)}"
    file = f"f{chance.randrange(10**6)}"
    kinds = [
        lambda: make.fill(key, version, file=file, size=chance.randrange(100)),
        lambda: make.commit(key, version, of=chance.randrange(1, 300)),
        lambda: make.drop(key),
        lambda: make.intent(key),
        lambda: make.pin(key),
        lambda: make.unpin(key),
        lambda: make.setting(key, file * 20),
    ]
    return [chance.choice(kinds)() for _ in range(chance.randint(1, 5))]


async def _appender(journal: Journal, seed: str) -> None:
    chance = random.Random(seed)
    while True:
        if chance.random() < 0.3:
            journal.append_soon(*_changes(chance))
        events = await journal.append(*_changes(chance))
        _say(f"ack {events[0].seq} {' '.join(map(digest, events))}")


async def _load(path: Path, seed: str, keep: int, checkpoint_pages: int) -> None:
    journal = Journal.open(path, RealWorld(), retention=Retention(keep=keep, step=16))
    journal._store._writer.execute(f"PRAGMA wal_autocheckpoint = {checkpoint_pages}").fetchall()
    async with journal.running(), trio.open_nursery() as nursery:
        for number in range(APPENDERS):
            nursery.start_soon(_appender, journal, f"{seed}/{number}")


def _main() -> None:
    for line in sys.stdin:
        path, seed, keep, checkpoint_pages = line.split()
        victim = os.fork()
        if victim == 0:
            _say(f"pid {os.getpid()}")
            trio.run(_load, Path(path), seed, int(keep), int(checkpoint_pages))
        os.waitpid(victim, 0)
        _say("gone")


if __name__ == "__main__":
    _main()
