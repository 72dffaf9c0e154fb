"""Real mounts: one for most tests, each of which has a directory of its own in it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mount_process import MountProcess

_numbers = itertools.count()


@pytest.fixture(scope="module", params=["memory", "posix"])
def mounted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MountProcess]:
    """A mount of all buckets, over a backend that nobody else writes to."""
    with MountProcess(tmp_path_factory.mktemp("mount"), backend=request.param) as process:
        yield process


class Box:
    """A directory of the mount, and the same place as an S3 client sees it."""

    def __init__(self, process: MountProcess, prefix: str) -> None:
        self.process = process
        self.prefix = prefix
        self.path = process.path / "data" / prefix

    def put(self, name: str, data: bytes, **options: object) -> dict[str, object]:
        return self.process.put(self.prefix + name, data, **options)

    def get(self, name: str) -> bytes:
        return self.process.get(self.prefix + name)

    def head(self, name: str) -> dict[str, object]:
        return self.process.head(self.prefix + name)

    def delete(self, name: str) -> None:
        self.process.delete(self.prefix + name)

    def listed(self) -> list[str]:
        return [
            key.removeprefix(self.prefix)
            for key in self.process.listed()
            if key.startswith(self.prefix) and key != self.prefix
        ]

    def __truediv__(self, name: str) -> Path:
        return self.path / name


@pytest.fixture
def box(mounted: MountProcess) -> Box:
    prefix = f"t{next(_numbers)}/"
    box = Box(mounted, prefix)
    box.path.mkdir()
    return box
