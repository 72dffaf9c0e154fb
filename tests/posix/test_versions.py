"""Versions on a POSIX backend beyond the contract: crashes at every point, foreign writers, space, and what lies on the disk."""

from __future__ import annotations

import mmap
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from appliance.model.errors import (
    BackendError,
    CorruptDataError,
    DeletedKeyError,
    NoSuchKeyError,
    NoSuchVersionError,
)
from appliance.model.objects import (
    NULL_VERSION,
    ObjectInfo,
    ObjectVersion,
    PutOptions,
    Versioning,
    VersionListRequest,
)
from appliance.plugin import BytesBody
from appliance_posix.backend import PosixBackend
from appliance_posix.history import NEWEST, Past, counting
from tests.posix.test_processes import Workers
from tests.support.posix import get, put, started

KEY = "dir/key"
MIB = 1 << 20


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    workers = Workers()
    yield workers
    workers.close()


@pytest.fixture
async def versioned(backend: PosixBackend) -> PosixBackend:
    await backend.put_versioning("bucket", Versioning.ENABLED)
    return backend


async def listed(backend: PosixBackend, bucket: str = "bucket") -> list[ObjectVersion]:
    page = await backend.list_versions(bucket, VersionListRequest())
    assert not page.truncated
    return list(page.versions)


async def read(backend: PosixBackend, key: str, version_id: str, bucket: str = "bucket") -> bytes:
    async with backend.read(bucket, key, version_id=version_id) as stream:
        return b"".join([chunk async for chunk in stream])


def history(root: Path, bucket: str = "bucket", key: str = KEY) -> list[Path]:
    """Files of a key's history."""
    return sorted((root / bucket / ".appliance" / "versions" / key).glob(".appliance-*"))


# --- crashes ---------------------------------------------------------------------------


State = list[tuple[str, bool, bool]]  # bytes or "-" for a marker, latest, null; newest first


async def state_of(backend: PosixBackend, bucket: str) -> State:
    """What everybody sees, looked at from all sides."""
    lines = await listed(backend, bucket)
    state: State = []
    for line in lines:
        version_id = line.info.version_id
        data = "-"
        if not line.delete_marker:
            data = (await read(backend, KEY, version_id, bucket)).decode()
            head = await backend.head(bucket, KEY, version_id=version_id)
            assert head.etag == line.info.etag
            assert "-0" not in head.etag
        state.append((data, line.latest, version_id == NULL_VERSION))
    try:
        current = (await get(backend, KEY, bucket)).decode()
    except NoSuchKeyError:
        current = "-"
    assert [data for data, latest, _ in state if latest] in ([current], [])
    assert current == "-" or state[0][1]
    return state


# name -> (what is done before: bytes put, "-" a delete, or a state; the change, of which version (index); before; after)
Scenario = tuple[list[str | Versioning], str, int, State, State]
ON, OFF = Versioning.ENABLED, Versioning.SUSPENDED
SCENARIOS: dict[str, Scenario] = {
    "put": (
        [ON, "a"], "put", -1,
        [("a", True, False)],
        [("new", True, False), ("a", False, False)],
    ),
    "put over the null version": (
        ["a", ON], "put", -1,
        [("a", True, True)],
        [("new", True, False), ("a", False, True)],
    ),
    "put over a marker": (
        [ON, "a", "-"], "put", -1,
        [("-", True, False), ("a", False, False)],
        [("new", True, False), ("-", False, False), ("a", False, False)],
    ),
    "put while suspended": (
        ["n", ON, "a", OFF], "put", -1,
        [("a", True, False), ("n", False, True)],
        [("new", True, True), ("a", False, False)],
    ),
    "delete": (
        [ON, "a"], "delete", -1,
        [("a", True, False)],
        [("-", True, False), ("a", False, False)],
    ),
    "delete while suspended": (
        ["n", ON, "a", OFF], "delete", -1,
        [("a", True, False), ("n", False, True)],
        [("-", True, True), ("a", False, False)],
    ),
    "delete the current version": (
        [ON, "a", "b"], "delete", 0,
        [("b", True, False), ("a", False, False)],
        [("a", True, False)],
    ),
    "delete the current version over a marker": (
        [ON, "a", "-", "b"], "delete", 0,
        [("b", True, False), ("-", False, False), ("a", False, False)],
        [("-", True, False), ("a", False, False)],
    ),
    "delete a marker": (
        [ON, "a", "-"], "delete", 0,
        [("-", True, False), ("a", False, False)],
        [("a", True, False)],
    ),
    "delete an old version": (
        [ON, "a", "b"], "delete", 1,
        [("b", True, False), ("a", False, False)],
        [("b", True, False)],
    ),
    "delete the last version": ([ON, "a"], "delete", 0, [("a", True, False)], []),
}  # fmt: skip


async def _prepared(backend: PosixBackend, bucket: str, scenario: Scenario) -> str:
    """A bucket in the scenario's first state; the id of the version that it will delete."""
    await backend.create_bucket(bucket)
    for what in scenario[0]:
        if isinstance(what, Versioning):
            await backend.put_versioning(bucket, what)
        elif what == "-":
            await backend.delete(bucket, KEY)
        else:
            await put(backend, KEY, what.encode(), bucket)
    assert await state_of(backend, bucket) == scenario[3]
    index = scenario[2]
    return "" if index < 0 else (await listed(backend, bucket))[index].info.version_id


@pytest.mark.real
@pytest.mark.parametrize("metadata", ["auto", "sidecar"])
@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=list(SCENARIOS))
def test_a_crash_at_any_point_is_before_or_after(
    tmp_path: Path, workers: Workers, scenario: Scenario, metadata: str
) -> None:
    """And what a crash left never comes to light, whatever is done next."""
    root = tmp_path / f"root-{metadata}"
    root.mkdir()
    _, change, _, before, after = scenario

    async def crash_before(number: int) -> bool:
        bucket = f"bucket-{number}"
        async with started(root, metadata=metadata) as backend:
            version_id = await _prepared(backend, bucket, scenario)
        workers.start(root, "victim", "step", f"{bucket},{change},{version_id},{number}")
        workers.wait()
        done = ["victim", "done"] in workers.until_gone(1)
        async with started(root, metadata=metadata) as backend:
            state = await state_of(backend, bucket)
            assert state in ([after] if done else [before, after]), number
            await put(backend, KEY, b"next", bucket)
            follower = await state_of(backend, bucket)
            null = follower[0][2]
            kept = [(data, False, is_null) for data, _, is_null in state if not (null and is_null)]
            assert follower == [("next", True, null), *kept], number
            for line in await listed(backend, bucket):
                await backend.delete(bucket, KEY, version_id=line.info.version_id)
            await backend.delete_bucket(bucket)
        return done

    number = 0
    while not trio.run(crash_before, number):
        number += 1
    assert number > 1  # it was killed at some points indeed


# --- foreign writers -------------------------------------------------------------------


def _overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"FOREIGN")


def _replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"FOREIGN and longer")
    other.rename(path)


@pytest.mark.parametrize("change", [_overwrite, _replace, Path.unlink])
async def test_changes_by_hand_leave_old_versions_alone(
    versioned: PosixBackend, root: Path, change: Callable[[Path], None]
) -> None:
    old = await put(versioned, KEY, b"old version")
    await put(versioned, KEY, b"new version")
    change(root / "bucket" / KEY)
    assert await read(versioned, KEY, old.version_id) == b"old version"
    head = await versioned.head("bucket", KEY, version_id=old.version_id)
    assert (head.etag, head.modified_ns) == (old.etag, old.modified_ns)
    later = await put(versioned, KEY, b"later")
    assert await read(versioned, KEY, old.version_id) == b"old version"
    lines = await listed(versioned)
    assert (lines[0].info.version_id, lines[-1].info.version_id) == (
        later.version_id,
        old.version_id,
    )


async def test_a_file_put_in_place_by_hand_is_the_null_version(
    versioned: PosixBackend, root: Path
) -> None:
    old = await put(versioned, KEY, b"old")
    _replace(root / "bucket" / KEY)
    head = await versioned.head("bucket", KEY)
    assert head.version_id == NULL_VERSION
    await put(versioned, KEY, b"later")
    data = await read(versioned, KEY, NULL_VERSION)
    assert data == b"FOREIGN and longer"
    # The version whose file was thrown away by hand is gone; it had not been an old one.
    with pytest.raises(NoSuchVersionError):
        await read(versioned, KEY, old.version_id)


async def test_a_file_removed_by_hand_leaves_no_current_version(
    versioned: PosixBackend, root: Path
) -> None:
    old = await put(versioned, KEY, b"old")
    await put(versioned, KEY, b"new")
    (root / "bucket" / KEY).unlink()
    with pytest.raises(NoSuchKeyError) as caught:
        await versioned.head("bucket", KEY)
    assert not isinstance(caught.value, DeletedKeyError)
    (line,) = await listed(versioned)
    assert (line.info.version_id, line.latest) == (old.version_id, False)


async def test_a_file_made_by_hand_over_a_delete_marker_is_current(
    versioned: PosixBackend, root: Path
) -> None:
    await put(versioned, KEY, b"old")
    await versioned.delete("bucket", KEY)
    (root / "bucket" / "dir").mkdir(exist_ok=True)
    (root / "bucket" / KEY).write_bytes(b"by hand")
    assert await get(versioned, KEY) == b"by hand"
    kinds = [(line.delete_marker, line.latest) for line in await listed(versioned)]
    assert kinds == [(False, True), (True, False), (False, False)]


@pytest.mark.parametrize("mapped", [False, True])
async def test_who_has_the_file_open_cannot_change_the_old_version(
    versioned: PosixBackend, root: Path, mapped: bool
) -> None:
    """Neither by write(2) nor through a mapping: the kernel tells of both, and the old version moves to a copy."""
    old = await put(versioned, KEY, b"old version" * 1000)
    with (root / "bucket" / KEY).open("r+b") as file:
        memory = mmap.mmap(file.fileno(), 0) if mapped else None
        if mapped:
            file.close()
        await put(versioned, KEY, b"new version")
        if memory is not None:
            memory[:7] = b"FOREIGN"
            memory.flush()
            memory.close()
        else:
            file.write(b"FOREIGN")
            file.flush()
        assert await read(versioned, KEY, old.version_id) == b"old version" * 1000
    head = await versioned.head("bucket", KEY, version_id=old.version_id)
    assert (head.etag, head.modified_ns) == (old.etag, old.modified_ns)


async def test_another_hard_link_cannot_change_the_old_version(
    versioned: PosixBackend, root: Path
) -> None:
    old = await put(versioned, KEY, b"old version")
    mine = root / "mine"
    os.link(root / "bucket" / KEY, mine)
    await put(versioned, KEY, b"new version")
    mine.write_bytes(b"FOREIGN")
    assert await read(versioned, KEY, old.version_id) == b"old version"


async def test_an_old_version_that_was_changed_all_the_same_is_refused(
    versioned: PosixBackend, root: Path
) -> None:
    """Where no lease told of the writer, as on network filesystems; here, somebody wrote into the hidden tree."""
    old = await put(versioned, KEY, b"old version")
    await put(versioned, KEY, b"new version")
    (file,) = history(root)
    file.write_bytes(b"FOREIGN")
    with pytest.raises(CorruptDataError):
        await read(versioned, KEY, old.version_id)
    assert await get(versioned, KEY) == b"new version"
    await versioned.delete("bucket", KEY, version_id=old.version_id)
    assert len(await listed(versioned)) == 1


# --- on the disk -----------------------------------------------------------------------


@pytest.mark.real
async def test_old_versions_take_no_space_twice(everywhere: PosixBackend, new_root: Path) -> None:
    """Nor does archiving copy: the old version is the very file that was the object."""
    await everywhere.put_versioning("bucket", Versioning.ENABLED)
    await put(everywhere, KEY, b"x" * 8 * MIB)
    inode = (new_root / "bucket" / KEY).stat().st_ino
    await put(everywhere, KEY, b"small")
    (file,) = history(new_root)
    shares_blocks = any(kind in str(new_root) for kind in ("xfs", "btrfs"))
    assert shares_blocks or file.stat().st_ino == inode
    assert file.stat().st_nlink == 1


async def test_the_current_version_is_a_plain_file(versioned: PosixBackend, root: Path) -> None:
    for data in (b"one", b"two"):
        await put(versioned, KEY, data)
        assert (root / "bucket" / KEY).read_bytes() == data
    await versioned.delete("bucket", KEY)
    assert not (root / "bucket" / "dir").exists()
    assert [path.stat().st_size for path in history(root)] == [0, 3, 3]


async def test_nothing_of_a_history_is_left_when_it_is_empty(
    versioned: PosixBackend, root: Path
) -> None:
    for key in (KEY, "a//b", "x/" * 40 + "y", "k" * 900):
        await put(versioned, key, b"1", metadata={"m": "x" * 5000})
        await put(versioned, key, b"2", metadata={"m": "x" * 5000})
        await versioned.delete("bucket", key)
    for line in await listed(versioned):
        await versioned.delete("bucket", line.info.key, version_id=line.info.version_id)
    private = root / "bucket" / ".appliance"
    assert not (private / "versions").exists()
    assert list((private / "sidecar").iterdir()) == []
    assert await listed(versioned) == []


async def test_versions_survive_a_copy_of_the_tree(versioned: PosixBackend, root: Path) -> None:
    """`cp -a` makes other inodes and other change times; ids, ETags and order stay."""
    made = [await put(versioned, KEY, data) for data in (b"one", b"two", b"three")]
    copy = root.with_name("copy")
    shutil.copytree(root, copy, symlinks=True, copy_function=shutil.copy2)
    async with started(copy) as restored:
        lines = await listed(restored)
        ids = [(line.info.version_id, line.info.size) for line in lines]
        assert ids == [(info.version_id, info.size) for info in reversed(made)]
        assert await read(restored, KEY, made[0].version_id) == b"one"
        assert [line.info.etag for line in lines[1:]] == [made[1].etag, made[0].etag]


async def test_sidecars_of_old_versions_are_not_reaped(root: Path) -> None:
    async with started(root, bucket="bucket", metadata="sidecar", upload_max_age=0.000001) as one:
        await one.put_versioning("bucket", Versioning.ENABLED)
        old = await put(one, KEY, b"old", metadata={"m": "1"})
        await put(one, KEY, b"new")
        await one.maintain()
        head = await one.head("bucket", KEY, version_id=old.version_id)
        assert (head.metadata, head.etag) == ({"m": "1"}, old.etag)


async def test_a_damaged_state_is_an_error(versioned: PosixBackend, root: Path) -> None:
    """Rather than a bucket that forgets that it keeps versions."""
    await put(versioned, KEY, b"old")
    (root / "bucket" / ".appliance" / "versioning").write_bytes(b"Enab")
    with pytest.raises(BackendError):
        await put(versioned, KEY, b"new")


async def test_a_clock_that_was_set_back_does_not_change_the_order(
    versioned: PosixBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks = versioned.volume.clocks
    made = []
    for now_ns in (2 * 10**18, 10**18, 10**18 - 1, 3 * 10**18):
        monkeypatch.setattr(clocks, "now_ns", lambda now_ns=now_ns: now_ns)
        made.append((await put(versioned, KEY, b"data")).version_id)
    assert [line.info.version_id for line in await listed(versioned)] == made[::-1]


async def test_files_put_there_by_hand_keep_their_place_under_any_clock(
    versioned: PosixBackend, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versioned.volume.clocks, "now_ns", lambda: 10**18)
    old = await put(versioned, KEY, b"old")
    await put(versioned, KEY, b"replaced by hand")
    _replace(root / "bucket" / KEY)
    newer = await put(versioned, KEY, b"newer")
    newest = await put(versioned, KEY, b"newest")
    ids = [line.info.version_id for line in await listed(versioned)]
    assert ids == [newest.version_id, newer.version_id, NULL_VERSION, old.version_id]


async def test_two_backends_see_the_same_state(versioned: PosixBackend, root: Path) -> None:
    async with started(root) as other:
        assert await other.get_versioning("bucket") is Versioning.ENABLED
        await put(other, KEY, b"one")
        await put(versioned, KEY, b"two")
        await other.put_versioning("bucket", Versioning.SUSPENDED)
        info = await versioned.put("bucket", KEY, BytesBody(b"three"), PutOptions())
        assert info.version_id == NULL_VERSION
        assert await listed(other) == await listed(versioned)


# --- which entries count, by the rules ----------------------------------------------------------


IDS = ("v1", "v2", "v3", NULL_VERSION)


class _Current:
    """As much of `Found` as the rules look at."""

    def __init__(self, version_id: str, order: int) -> None:
        self.info = ObjectInfo(
            key=KEY, size=0, etag="", version="", modified_ns=0, version_id=version_id
        )
        known = order != NEWEST
        self.record = type("R", (), {"order": order if known else 0, "version_id": version_id})()


@given(
    st.lists(st.builds(Past, st.integers(0, 9), st.sampled_from(IDS), st.booleans()), max_size=8),
    st.none() | st.builds(_Current, st.sampled_from(IDS), st.sampled_from([0, 4, 9, NEWEST])),
)
def test_what_counts_follows_the_rules(entries: list[Past], current: _Current | None) -> None:
    entries = sorted(set(entries), reverse=True)
    counted = counting(entries, current)  # type: ignore[arg-type]
    assert counted == sorted(counted, reverse=True)
    ids = [past.version_id for past in counted]
    assert ids.count(NULL_VERSION) <= 1
    if current is None:
        assert set(entries) - set(counted) <= {p for p in entries if p.version_id == NULL_VERSION}
    else:
        assert current.info.version_id not in ids
        newest = current.record.order or NEWEST
        assert not any(past.delete_marker and past.order > newest for past in counted)
    assert counting(counted, current) == counted  # type: ignore[arg-type]  # nothing more to remove
