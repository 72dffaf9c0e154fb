"""Several processes on one storage: conditions hold between them, uploads pass from one to another, and kill -9 leaves nothing half done."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from appliance.model.errors import NoSuchKeyError
from appliance.model.objects import CompletedPart, ListRequest
from appliance.plugin import BytesBody
from appliance_posix.backend import PosixBackend
from tests.support import posix_victim
from tests.support.posix import all_keys, get, put, started

REPOSITORY = Path(__file__).parents[2]
KILLS = 12


class Workers:
    """Processes made by `posix_victim`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.posix_victim"],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, root: Path, name: str, job: str, seed: object = 0) -> None:
        self._say(f"{root} {name} {job} {seed}")

    def wait(self) -> None:
        """Ask for `gone` lines."""
        self._say("wait")

    def line(self) -> list[str]:
        assert self._process.stdout is not None
        words = self._process.stdout.readline().split()
        assert words, "the workers' parent has ended"
        assert words[1] != "failed", " ".join(words)
        return words

    def until_gone(self, count: int) -> list[list[str]]:
        """All lines until `count` workers have ended."""
        lines = []
        while count:
            words = self.line()
            lines.append(words)
            count -= words[1] == "gone"
        return lines

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    workers = Workers()
    yield workers
    workers.close()


async def _prepare(root: Path) -> None:
    async with started(root, bucket="bucket") as backend:
        await put(backend, "number", b"0")


@pytest.mark.real
def test_of_two_processes_that_create_a_key_one_succeeds(new_root: Path, workers: Workers) -> None:
    trio.run(_prepare, new_root)
    for name in ("one", "two"):
        workers.start(new_root, name, "race")
    workers.wait()
    lines = workers.until_gone(2)
    won = [words[2] for words in lines if words[1] == "won"]
    assert sorted(won) == sorted(f"race{number}" for number in range(posix_victim.RACES))


@pytest.mark.real
def test_increments_by_if_match_and_by_register_are_never_lost(
    new_root: Path, workers: Workers
) -> None:
    trio.run(_prepare, new_root)
    for name in ("one", "two", "three"):
        workers.start(new_root, name, "count")
    workers.wait()
    assert sum(words[1] == "counted" for words in workers.until_gone(3)) == 3
    total = 3 * posix_victim.INCREMENTS

    async def check() -> None:
        async with started(new_root) as backend:
            assert await get(backend, "number") == str(total).encode()
            assert await backend.read_register("number") == str(total).encode()

    trio.run(check)


@pytest.mark.real
def test_another_process_completes_an_upload(new_root: Path, workers: Workers) -> None:
    trio.run(_prepare, new_root)
    workers.start(new_root, "one", "part")
    workers.wait()
    ((_, _, upload_id, etag),) = [words for words in workers.until_gone(1) if words[1] == "upload"]

    async def complete() -> None:
        async with started(new_root) as backend:
            second = await backend.put_part("bucket", "shared", upload_id, 2, BytesBody(b"end"))
            parts = [CompletedPart(number=1, etag=etag), CompletedPart(number=2, etag=second.etag)]
            info = await backend.complete_upload("bucket", "shared", upload_id, parts)
            assert info.metadata == {"m": "1"}
            assert await get(backend, "shared") == b"p" * (5 << 20) + b"end"

    trio.run(complete)


def _killed_at_random(root: Path, workers: Workers, seed: str, lines: int) -> list[list[str]]:
    """What a churning worker said until it was killed, after some lines, with work under way."""
    workers.start(root, "victim", "churn", seed)
    pid = int(workers.line()[2])
    said = []
    try:
        said += [workers.line() for _ in range(lines)]
    finally:
        os.kill(pid, signal.SIGKILL)
        workers.wait()
    return said + workers.until_gone(1)


class _Allowed:
    """What each key may hold: its last acknowledged state, or any that was tried after it."""

    def __init__(self) -> None:
        self.states: dict[str, list[str]] = {}

    def hear(self, lines: list[list[str]]) -> None:
        for _, kind, *rest in lines:
            if kind not in {"try", "ack"}:
                continue
            key, digest = rest
            states = self.states.setdefault(key, ["-"])
            if kind == "try":
                states.append(digest)
            else:
                self.states[key] = [digest]


@pytest.mark.real
def test_kill_9_loses_nothing_acknowledged_and_shows_nothing_half_written(
    new_root: Path, workers: Workers
) -> None:
    seed = random.randrange(10**9)
    print("seed", seed)  # noqa: T201  # shown when the test fails
    chance = random.Random(seed)
    trio.run(_prepare, new_root)
    allowed = _Allowed()
    rounds = KILLS if "cephfs" not in str(new_root) else KILLS // 4
    for number in range(rounds):
        allowed.hear(
            _killed_at_random(new_root, workers, f"{seed}-{number}", chance.randint(1, 40))
        )
        trio.run(_check, new_root, allowed)


async def _check(root: Path, allowed: _Allowed) -> None:
    async with started(root) as backend:
        listed = {
            item.key: item
            for item in (await backend.list_objects("bucket", ListRequest())).objects
            if item.key != "number"
        }
        for key, states in allowed.states.items():
            digest = await _digest(backend, key)
            assert digest in states, (key, digest, states)
            assert (key in listed) == (digest != "-")
            # What was seen is from now on the truth: nobody is at work.
            allowed.states[key] = [digest]
        assert set(listed) <= set(allowed.states)
        uploads = await backend.list_uploads("bucket")
        for upload in uploads.uploads:
            await backend.abort_upload("bucket", upload.key, upload.upload_id)
        assert await all_keys(backend) == sorted(["number", *listed])


async def _digest(backend: PosixBackend, key: str) -> str:
    """MD5 of an object that is whole and wears its own ETag; `-` if there is none."""
    try:
        info = await backend.head("bucket", key)
    except NoSuchKeyError:
        return "-"
    data = await get(backend, key)
    assert not info.etag.endswith("-0"), (key, info)
    if "-" not in info.etag:
        assert info.etag == hashlib.md5(data).hexdigest()
    else:
        assert sum(info.part_sizes) == len(data)
    return hashlib.md5(data).hexdigest()


async def test_threads_of_one_process_exclude_each_other_too(backend: PosixBackend) -> None:
    await put(backend, "number", b"0")
    await posix_victim_counts(backend)
    assert await get(backend, "number") == str(4 * posix_victim.INCREMENTS).encode()


async def posix_victim_counts(backend: PosixBackend) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(posix_victim.count, backend, f"task{number}", "0")


async def test_flock_serves_where_ranges_cannot_be_locked(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance_posix.volume._can_lock", lambda _: False)
    async with started(root, bucket="bucket") as backend:
        assert not backend.volume.features.ofd_locks
        await put(backend, "number", b"0")
        await posix_victim_counts(backend)
        assert await get(backend, "number") == str(4 * posix_victim.INCREMENTS).encode()
    assert Counter(os.listdir(root / "bucket" / ".appliance"))["locks.d"] == 1
