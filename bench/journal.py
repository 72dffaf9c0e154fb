"""What the journal costs: `python -m bench.journal [DIRECTORY]` prints commits per second and latency, lookups, start-up, verify.

DIRECTORY should be on the disk that the appliance will use; on a tmpfs a sync costs nothing and the numbers mean little.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import trio

from appliance.journal import Journal
from appliance.journal.store import Retention
from appliance.model.events import Change, Kind
from appliance.model.objects import ObjectInfo
from appliance.world import RealWorld

SECONDS = 5.0


def _fill(number: int) -> Change:
    info = ObjectInfo(
        key=f"data/{number % 997:03}/object-{number:08}.bin",
        size=4096,
        etag="d41d8cd98f00b204e9800998ecf8427e",
        version="d41d8cd98f00b204e9800998ecf8427e/1700000000",
        modified_ns=1_700_000_000_000_000_000,
        headers={"content-type": "application/octet-stream"},
        checksums={"crc64nvme": "AAAAAAAAAAA="},
    )
    detail: dict[str, object] = {"file": f"{number:032x}", "complete": True, "info": info}
    return Change(kind=Kind.FILL, bucket="bench", key=info.key, detail=detail)


def _row(name: str, value: str) -> None:
    print(f"{name:<52}{value}")


async def _appenders(directory: Path, count: int) -> None:
    """`count` tasks, each appending an intent and waiting for it, over and over."""
    journal = Journal.open(directory / f"appenders-{count}.db", RealWorld())
    latencies_s: list[float] = []

    async def one() -> None:
        while True:
            began = time.perf_counter()
            await journal.append(Change(kind=Kind.INTENT, bucket="bench", key="k"))
            latencies_s.append(time.perf_counter() - began)

    async with journal.running():
        with trio.move_on_after(SECONDS):
            async with trio.open_nursery() as nursery:
                for _ in range(count):
                    nursery.start_soon(one)
        counts = journal.statistics()
    journal.close()
    latencies_s.sort()
    p99_ms = latencies_s[len(latencies_s) * 99 // 100] * 1e3
    _row(
        f"{count} appenders",
        f"{len(latencies_s) / SECONDS:>8.0f} appends/s {counts['commits'] / SECONDS:>7.0f} commits/s"
        f"   median {statistics.median(latencies_s) * 1e3:.2f} ms   p99 {p99_ms:.2f} ms",
    )


async def _index(directory: Path, entries: int) -> None:
    """Many fills that nobody waits for; then what reading them costs."""
    path = directory / f"index-{entries}.db"
    journal = Journal.open(path, RealWorld(), retention=Retention(keep=100_000))
    began = time.perf_counter()
    async with journal.running():
        for number in range(entries):
            journal.append_soon(_fill(number))
            if number % 4096 == 0:
                await journal.flush()
        await journal.flush()
    _row(
        f"{entries} fills by append_soon",
        f"{entries / (time.perf_counter() - began):>8.0f} events/s",
    )
    keys = [_fill(number * 7919 % entries).key for number in range(20_000)]
    began = time.perf_counter()
    for key in keys:
        journal.entry("bench", key)
    _row(
        "entry(), random, from the page cache",
        f"{(time.perf_counter() - began) / len(keys) * 1e6:>8.1f} us",
    )
    journal.close()
    _row("size on disk", f"{path.stat().st_size / entries:>8.0f} bytes an entry")
    began = time.perf_counter()
    journal = Journal.open(path, RealWorld())
    _row("open()", f"{(time.perf_counter() - began) * 1e3:>8.1f} ms")
    began = time.perf_counter()
    found = sum(1 for _ in journal.entries())
    _row("entries()", f"{found / (time.perf_counter() - began):>8.0f} entries/s")
    for thorough in (False, True):
        began = time.perf_counter()
        problems = journal.verify(thorough=thorough)
        _row(
            f"verify(thorough={thorough})",
            f"{time.perf_counter() - began:>8.1f} s, {len(problems)} problems",
        )
    journal.close()


async def _all(directory: Path) -> None:
    await _appenders(directory, 1)
    await _appenders(directory, 64)
    await _index(directory, 200_000)


def main() -> None:
    """All rows, in a temporary directory below the one given."""
    base = sys.argv[1] if len(sys.argv) > 1 else "."
    with tempfile.TemporaryDirectory(dir=base, prefix="bench-journal-") as directory:
        trio.run(_all, Path(directory))


if __name__ == "__main__":
    main()
