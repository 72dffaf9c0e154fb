"""Listings against a sorted list: any keys, any prefix, delimiter, page size, by start-after and by token."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.model.errors import InvalidArgumentError
from appliance.model.names import key_bytes
from appliance.model.objects import ListRequest
from appliance_posix.backend import PosixBackend
from appliance_posix.bucket import Bucket
from appliance_posix.buckets import create
from appliance_posix.keypath import locate
from appliance_posix.listing import list_page
from appliance_posix.snapshot import Snapshots
from appliance_posix.volume import open_volume
from tests.support.filesystems import mounted
from tests.support.plugin_host import RealHost
from tests.support.posix import all_keys, put, started

_PIECES = st.sampled_from(["a", "b", "a.", "/", "//", "..", "é", "x" * 130, "x" * 201, "-", "0"])
_KEYS = st.lists(
    st.lists(_PIECES, min_size=1, max_size=5)
    .map("".join)
    .filter(lambda key: len(key_bytes(key)) <= 1024),
    max_size=25,
    unique=True,
)


def expected(
    keys: list[str], prefix: str, delimiter: str, start_after: str
) -> list[tuple[str, bool]]:
    """What S3 would list: (name, is a common prefix) each, in order."""
    found: dict[str, bool] = {}
    for key in sorted(keys, key=key_bytes):
        if not key.startswith(prefix):
            continue
        cut = key.find(delimiter, len(prefix)) if delimiter else -1
        name = key if cut < 0 else key[: cut + len(delimiter)]
        if key_bytes(name) > key_bytes(start_after):
            found[name] = cut >= 0
    return list(found.items())


@settings(max_examples=150, deadline=None)
@given(
    keys=_KEYS,
    prefix=st.sampled_from(["", "a", "a/", "x" * 130, "a//", "/", ".", "b/a"]),
    delimiter=st.sampled_from(["", "/", ".", "//", "a", "é"]),
    start_after=st.sampled_from(["", "a", "a/", "a/b", "x" * 131, "z", "a//"]),
    limit=st.integers(1, 7),
)
def test_pages_are_those_of_a_sorted_list(
    keys: list[str], prefix: str, delimiter: str, start_after: str, limit: int
) -> None:
    directory = tempfile.mkdtemp()
    volume = open_volume(os.fsencode(directory), RealHost())
    try:
        create(volume, "bucket")
        _lay_out(Path(directory) / "bucket", keys)
        with Bucket(volume, "bucket") as bucket:
            snapshots = Snapshots(volume)
            found: list[tuple[str, bool]] = []
            token = ""
            while True:
                page = list_page(
                    bucket,
                    snapshots,
                    ListRequest(
                        prefix=prefix,
                        delimiter=delimiter,
                        start_after=start_after,
                        continuation=token,
                        limit=limit,
                    ),
                )
                names = [(item.key, False) for item in page.objects]
                names += [(name, True) for name in page.common_prefixes]
                names.sort(key=lambda item: key_bytes(item[0]))
                assert len(names) == limit or not page.continuation
                assert page.last == (names[-1][0] if names else "")
                found += names
                token = page.continuation
                if not token:
                    break
    finally:
        volume.close()
        shutil.rmtree(directory)
    assert found == expected(keys, prefix, delimiter, start_after)


def _lay_out(bucket: Path, keys: list[str]) -> None:
    """Make the keys' files, longest first, so that those in the way of a directory go to their escaped place."""
    for key in sorted(keys, key=len, reverse=True):
        for place in locate(key).places():
            path = bucket / os.fsdecode(place.path)
            if path.is_dir():
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            break


async def test_empty_directories_are_no_keys(backend: PosixBackend, root: Path) -> None:
    (root / "bucket" / "empty" / "inner").mkdir(parents=True)
    await put(backend, "full/x")
    page = await backend.list_objects("bucket", ListRequest(delimiter="/"))
    assert page.common_prefixes == ("full/",)


@pytest.mark.parametrize("token", ["x", "!!!!", "eHg=", "é", "a" * 5000])
async def test_a_forged_token_is_refused(backend: PosixBackend, token: str) -> None:
    with pytest.raises(InvalidArgumentError):
        await backend.list_objects("bucket", ListRequest(continuation=token))


async def test_a_listing_sees_every_write_acknowledged_before_it(backend: PosixBackend) -> None:
    for number in range(30):
        await put(backend, f"k{number:02}")
        assert len(await all_keys(backend)) == number + 1
    for number in range(30):
        await backend.delete("bucket", f"k{number:02}")
        assert len(await all_keys(backend)) == 29 - number


async def test_files_with_names_that_no_request_can_ask_for_are_not_listed(
    backend: PosixBackend, root: Path
) -> None:
    deep = root / "bucket"
    for _ in range(6):
        deep = deep / ("d" * 200)
    deep.mkdir(parents=True)
    (deep / "file").touch()
    assert await all_keys(backend) == []


@pytest.mark.real
async def test_a_hundred_thousand_keys_in_one_directory_are_read_once(tmp_path: Path) -> None:
    with mounted("tmpfs", tmp_path / "fs") as root:
        async with started(root, bucket="bucket") as backend:
            await trio.to_thread.run_sync(_make_files, root / "bucket", 100_000)
            _let_directory_age(root / "bucket")
            keys = await all_keys(backend)
            statistics = backend.statistics()
    assert keys == [f"k{number:06}" for number in range(100_000)]
    assert statistics["lists_total"] == 100
    assert statistics["directory_reads_total"] <= 2


def _make_files(directory: Path, count: int) -> None:
    fd = os.open(directory, os.O_RDONLY)
    try:
        for number in range(count):
            os.close(os.open(f"k{number:06}", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    finally:
        os.close(fd)


def _let_directory_age(directory: Path) -> None:
    """A snapshot is kept only of a directory that has been at rest for some ticks; wait for the clock, not for a time."""
    from appliance_posix.snapshot import RACY_NS

    host = RealHost()
    changed_ns = directory.stat().st_ctime_ns
    while host.now_ns() <= changed_ns + RACY_NS:
        directory.stat()


async def test_pages_open_no_directory_that_was_passed(backend: PosixBackend, root: Path) -> None:
    for number in range(50):
        directory = root / "bucket" / f"d{number:02}"
        directory.mkdir()
        for name in "abcd":
            (directory / name).touch()
    before = backend.statistics()
    page = await backend.list_objects("bucket", ListRequest(start_after="d48/c", limit=10))
    after = backend.statistics()
    assert [item.key for item in page.objects] == ["d48/d", "d49/a", "d49/b", "d49/c", "d49/d"]
    opened = sum(
        after[name] - before[name]
        for name in ("directory_reads_total", "directory_snapshot_hits_total")
    )
    assert opened == 3  # the bucket, d48, d49
