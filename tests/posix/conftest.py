"""The POSIX backend on every filesystem that it is promised for."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from appliance_posix.backend import PosixBackend
from tests.support.filesystems import mounted
from tests.support.posix import started

KINDS = ("ext4", "xfs", "btrfs", "tmpfs", "cephfs")
_numbers = itertools.count()


@pytest.fixture(scope="session", params=KINDS)
def filesystem(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """An empty directory on a real filesystem of each kind."""
    if request.param == "cephfs":
        path = request.getfixturevalue("ceph").cephfs / "posix-backend"
        path.mkdir()
        yield path
        return
    with mounted(request.param, tmp_path_factory.mktemp(request.param)) as path:
        yield path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root on whatever holds temporary files."""
    path = tmp_path / "root"
    path.mkdir()
    return path


@pytest.fixture
def new_root(filesystem: Path) -> Path:
    """A root of a test's own on each of the filesystems."""
    path = filesystem / f"root-{next(_numbers)}"
    path.mkdir()
    return path


@pytest.fixture
async def backend(root: Path) -> AsyncIterator[PosixBackend]:
    """A started backend with a bucket called `bucket`."""
    async with started(root, bucket="bucket") as backend:
        yield backend


@pytest.fixture
async def everywhere(new_root: Path) -> AsyncIterator[PosixBackend]:
    """The same on each of the filesystems."""
    async with started(new_root, bucket="bucket") as backend:
        yield backend
