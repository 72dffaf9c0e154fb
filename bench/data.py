"""The data of a measurement."""

from __future__ import annotations

import os
from pathlib import Path

BUCKET = "bench"
SMALL_COUNT = 1000
SMALL_BYTES = 4096
BIG_BYTES = 1 << 30


def big(directory: Path, name: str = "big") -> Path:
    """A 1 GiB file of noise in `directory`/bench."""
    file = directory / BUCKET / name
    file.parent.mkdir(exist_ok=True)
    with file.open("wb") as stream:
        for _ in range(BIG_BYTES >> 20):
            stream.write(os.urandom(1 << 20))
    return file


def small(directory: Path) -> list[str]:
    """1,000 files of 4 KiB in `directory`/bench/small; their names below the bucket."""
    folder = directory / BUCKET / "small"
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"small/{number:04}" for number in range(SMALL_COUNT)]
    for name in names:
        (directory / BUCKET / name).write_bytes(os.urandom(SMALL_BYTES))
    return names


def many(directory: Path, count: int, folder: str) -> list[str]:
    """`count` empty files in `directory`/bench/`folder`; their names below the bucket, in order."""
    place = directory / BUCKET / folder
    place.mkdir(parents=True, exist_ok=True)
    names = [f"{folder}/{number:06}" for number in range(count)]
    for name in names:
        (directory / BUCKET / name).touch()
    return names
