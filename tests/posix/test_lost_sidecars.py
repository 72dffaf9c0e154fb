"""Sidecars that are lost, and names of sidecars that somebody forged: neither touches other objects, nor keeps one from being replaced."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance.model.errors import ConflictError, NoSuchKeyError, NoSuchVersionError
from appliance.model.objects import ListRequest, Versioning, VersionListRequest
from appliance_posix.backend import PosixBackend
from appliance_posix.record import changed, pack, unpack
from appliance_posix.volume import XATTR
from tests.support.posix import all_keys, get, put, started

LARGE = {f"name-{number}": "v" * 300 for number in range(12)}


def sidecars(root: Path, bucket: str = "bucket") -> list[Path]:
    return sorted((root / bucket / ".appliance/sidecar").iterdir())


def lose(root: Path) -> None:
    for path in sidecars(root):
        path.unlink()


@pytest.mark.parametrize(
    "token",
    [
        "/../../../../bucket/.appliance/sidecar/{name}",
        "../{name}",
        "0123",
        "0" * 17,
        "0" * 15 + "\n",
    ],
)
async def test_a_forged_token_reaches_no_other_metadata(
    backend: PosixBackend, root: Path, token: str
) -> None:
    await put(backend, "hers", metadata=LARGE)
    (kept,) = sidecars(root)
    await backend.create_bucket("mine")
    await put(backend, "k", b"mine", bucket="mine")
    file = root / "mine/k"
    (root / "mine/.appliance/sidecar" / f"{file.stat().st_ino:x}.").mkdir(parents=True)
    record = unpack(os.getxattr(file, XATTR))
    assert record is not None
    os.setxattr(file, XATTR, pack(changed(record, spilled=token.format(name=kept.name))))
    assert (await backend.head("mine", "k")).metadata == {}
    assert await get(backend, "k", bucket="mine") == b"mine"
    await put(backend, "k", b"again", bucket="mine")
    os.setxattr(file, XATTR, pack(changed(record, spilled=token.format(name=kept.name))))
    await backend.delete("mine", "k")
    assert sidecars(root) == [kept]
    assert (await backend.head("bucket", "hers")).metadata == LARGE


async def test_an_object_without_its_sidecar_is_not_shown_but_listed_replaced_and_deleted(
    backend: PosixBackend, root: Path
) -> None:
    for key in ("k", "gone", "way"):
        await put(backend, key, metadata=LARGE)
    lose(root)
    for key in ("k", "gone"):
        with pytest.raises(ConflictError, match="lost"):
            await backend.head("bucket", key)
    os.utime(root / "bucket/k", (1, 1))  # then listings look twice
    assert await all_keys(backend) == ["gone", "k", "way"]
    await backend.delete("bucket", "gone")
    await put(backend, "k", b"new")
    await put(backend, "way/in")
    assert await get(backend, "k") == b"new"
    assert await get(backend, "way") == b"data"
    assert await all_keys(backend) == ["k", "way", "way/in"]
    with pytest.raises(NoSuchKeyError):
        await backend.head("bucket", "gone")


async def test_versions_without_their_sidecars_are_replaced_and_deleted(
    backend: PosixBackend, root: Path
) -> None:
    await backend.put_versioning("bucket", Versioning.ENABLED)
    first = await put(backend, "k", b"first", metadata=LARGE)
    second = await put(backend, "k", b"second", metadata=LARGE)
    lose(root)
    with pytest.raises(ConflictError, match="lost"):
        await backend.head("bucket", "k", version_id=first.version_id)
    third = await put(backend, "k", b"third")
    page = await backend.list_versions("bucket", VersionListRequest())
    ids = [version.info.version_id for version in page.versions]
    assert ids == [third.version_id, second.version_id, first.version_id]
    for version in (third, first, second):
        await backend.delete("bucket", "k", version_id=version.version_id)
        with pytest.raises(NoSuchVersionError):
            await backend.head("bucket", "k", version_id=version.version_id)
    assert (await backend.list_versions("bucket", VersionListRequest())).versions == ()


async def test_a_lost_sidecar_does_not_stop_the_reaper(root: Path) -> None:
    async with started(root, bucket="bucket", upload_max_age=0.000001) as backend:
        await put(backend, "k", metadata=LARGE)
        (lost,) = sidecars(root)
        lost.rename(lost.with_name(f"{1:x}.{'0' * 16}"))  # about `k`, for another file
        await backend.maintain()
        assert sidecars(root) == []
        page = await backend.list_objects("bucket", ListRequest())
        assert [info.key for info in page.objects] == ["k"]
