"""A process that reads and writes through a cache until somebody kills it, and says on its standard output what was acknowledged.

Run as a script. Each line of standard input, `DIRECTORY SEED`, forks a victim from a process that has everything imported. The truth is a
directory (the POSIX backend, made to be copied into the cache); it first checks everything that a restart must keep, then works. Lines out:
`pid N`, `begin KEY NUMBER` and `ack KEY NUMBER` around each write (NUMBER < 0: a delete), `found KEY NUMBER` what a restart finds,
`wrong SENTENCE`, `checked`, `gone`. One writer a key, so the order of its writes is known.
"""

from __future__ import annotations

import hashlib
import math
import os
import random
import sys
import traceback
from pathlib import Path

import msgspec
import trio

from appliance.cache.object_cache import ObjectCache
from appliance.cache.routes import Route, Routes
from appliance.cache.store import Store
from appliance.journal import Journal
from appliance.model.errors import NoSuchKeyError, VersionChangedError
from appliance.model.objects import PutOptions
from appliance.plugin import BytesBody
from appliance.policy.buckets import BucketPolicy
from appliance.world import RealWorld
from appliance_posix.plugin import appliance_backend
from tests.support.plugin_host import backend_config

KEYS = [f"k{number}" for number in range(6)]
SIZES = (0, 10, 5000, 1 << 20, (1 << 20) + 1, 3_000_000)
CAPACITY_BYTES = 8 << 20


def content(key: str, number: int) -> bytes:
    """What write `number` of `key` holds: it tells both, and no two places look alike."""
    size = SIZES[int(hashlib.sha256(f"{key} {number}".encode()).hexdigest(), 16) % len(SIZES)]
    head = f"{key} {number}\n".encode()
    pattern = b"".join(f"{key}:{number}:{line:06d}\n".encode() for line in range(4096))
    return head + (pattern * (size // len(pattern) + 1))[:size]


def number_of(key: str, data: bytes) -> int:
    """Which write `data` is; raises ValueError unless it is one, whole."""
    name, _, number = data.partition(b"\n")[0].decode().partition(" ")
    if name != key or data != content(key, int(number)):
        raise ValueError(f"{len(data)} bytes read of {key} are not what any write wrote")
    return int(number)


def _say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


class Victim:
    """One run."""

    def __init__(self, cache: ObjectCache, backend: object, seed: str) -> None:
        self.cache = cache
        self.backend = backend
        self.chance = random.Random(seed)
        self.base = int(seed.rpartition("/")[2]) * 1_000_000

    async def read(self, key: str) -> bytes | None:
        try:
            reader = await self.cache.open("data", key)
        except NoSuchKeyError:
            return None
        try:
            return await reader.read(0, reader.info.size)
        finally:
            reader.close()

    async def truth(self, key: str) -> bytes | None:
        try:
            async with self.backend.read("data", key) as stream:
                return b"".join([chunk async for chunk in stream])
        except NoSuchKeyError:
            return None

    async def check(self) -> None:
        for key in KEYS:
            data = await self.read(key)
            if data != await self.truth(key):
                _say(f"wrong {key} is stale or torn after the restart")
            _say(f"found {key} {-1 if data is None else number_of(key, data)}")
        _say("checked")

    async def write(self, key: str, seed: int) -> None:
        chance = random.Random(seed)
        number = self.base
        while True:
            number += 1
            if chance.random() < 0.2:
                _say(f"begin {key} {-number}")
                await self.cache.delete("data", key)
                _say(f"ack {key} {-number}")
                expected = None
            else:
                expected = content(key, number)
                _say(f"begin {key} {number}")
                await self.cache.put(
                    "data", key, BytesBody(expected, chunk_bytes=100_000), PutOptions()
                )
                _say(f"ack {key} {number}")
            if await self.read(key) != expected:
                _say(f"wrong {key} is not what was just written")

    async def roam(self, seed: int) -> None:
        chance = random.Random(seed)
        while True:
            key = chance.choice(KEYS)
            try:
                data = await self.read(key)
            except VersionChangedError:
                continue
            if data is not None:
                number_of(key, data)

    async def run(self) -> None:
        await self.check()
        async with trio.open_nursery() as nursery:
            for key in KEYS:
                nursery.start_soon(self.write, key, self.chance.randrange(1 << 30))
            for _ in range(3):
                nursery.start_soon(self.roam, self.chance.randrange(1 << 30))


async def _serve(directory: Path, seed: str) -> None:
    world = RealWorld()
    (directory / "truth" / "data").mkdir(parents=True, exist_ok=True)
    (directory / "node").mkdir(exist_ok=True)
    backend = appliance_backend(f"posix://{directory / 'truth'}", backend_config("truth"))
    await backend.start()
    backend.capabilities = msgspec.structs.replace(
        backend.capabilities, local_files=False, cheap_validation=False
    )
    backend.validate_nowait = lambda *_: None
    journal = Journal.open(directory / "node" / "appliance.db", world)
    routes = Routes([Route("*", backend, BucketPolicy(freshness_s=math.inf))])
    store = Store(directory / "node")
    async with journal.running(), trio.open_nursery() as nursery:
        cache = ObjectCache(world, journal, store, routes, capacity_bytes=CAPACITY_BYTES)
        await nursery.start(cache.run)
        await Victim(cache, backend, seed).run()


def main() -> None:
    for line in sys.stdin:
        directory, seed = line.split()
        pid = os.fork()
        if pid == 0:
            try:
                _say(f"pid {os.getpid()}")
                trio.run(_serve, Path(directory), seed)
            except BaseException:  # noqa: BLE001  # said on standard error; the test finds that it ended by itself
                traceback.print_exc()
            os._exit(1)
        os.waitpid(pid, 0)
        _say("gone")


if __name__ == "__main__":
    main()
