"""Multipart uploads as they lie on disk: repeated, interrupted, abandoned."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance.model.errors import (
    ConflictError,
    InvalidPartError,
    NoSuchBucketError,
    NoSuchKeyError,
    NoSuchUploadError,
    PreconditionFailedError,
)
from appliance.model.objects import CompletedPart, Conditions, PutOptions
from appliance.plugin import BytesBody
from appliance_posix import multipart, uploads
from appliance_posix.backend import PosixBackend
from appliance_posix.config import parse
from tests.support.posix import all_keys, get, put, started

DAY_S = 86_400


async def begin(backend: PosixBackend, key: str = "k", data: bytes = b"part") -> tuple[str, list]:
    """An upload with one part."""
    upload = await backend.create_upload("bucket", key, PutOptions())
    part = await backend.put_part("bucket", key, upload.upload_id, 1, BytesBody(data))
    return upload.upload_id, [CompletedPart(number=1, etag=part.etag)]


def uploads_on_disk(root: Path) -> list[str]:
    return os.listdir(root / "bucket" / ".appliance" / "uploads")


async def test_completing_twice_is_no_such_upload(backend: PosixBackend, root: Path) -> None:
    upload_id, parts = await begin(backend)
    await backend.complete_upload("bucket", "k", upload_id, parts)
    with pytest.raises(NoSuchUploadError):
        await backend.complete_upload("bucket", "k", upload_id, parts)
    assert uploads_on_disk(root) == []


async def test_an_upload_belongs_to_its_key(backend: PosixBackend) -> None:
    upload_id, parts = await begin(backend)
    with pytest.raises(NoSuchUploadError):
        await backend.complete_upload("bucket", "other", upload_id, parts)
    with pytest.raises(NoSuchUploadError):
        await backend.put_part("bucket", "other", upload_id, 1, BytesBody(b"x"))
    await backend.complete_upload("bucket", "k", upload_id, parts)


async def test_a_completion_that_dies_after_publishing_can_be_repeated(
    backend: PosixBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id, parts = await begin(backend)

    def die(*_: object) -> None:
        raise OSError(5, "input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(uploads, "end", die)
        with pytest.raises(Exception, match="input/output"):
            await backend.complete_upload("bucket", "k", upload_id, parts)
    assert await get(backend, "k") == b"part"
    info = await backend.complete_upload("bucket", "k", upload_id, parts)
    assert info.etag == (await backend.head("bucket", "k")).etag


async def test_a_failed_condition_leaves_the_upload_as_it_was(backend: PosixBackend) -> None:
    await put(backend, "k", b"old")
    upload_id, parts = await begin(backend)
    with pytest.raises(PreconditionFailedError):
        await backend.complete_upload(
            "bucket", "k", upload_id, parts, Conditions(if_none_match=("*",))
        )
    assert await get(backend, "k") == b"old"
    await backend.complete_upload("bucket", "k", upload_id, parts)
    assert await get(backend, "k") == b"part"


async def test_a_part_replaced_while_completing_is_an_invalid_part(
    backend: PosixBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id, parts = await begin(backend)
    real = multipart.complete.plan

    def plan_then_replace(*args: object) -> object:
        planned = real(*args)  # type: ignore[arg-type]
        os.unlink(
            os.path.join(
                os.fsdecode(backend.volume.root),
                "bucket/.appliance/uploads",
                upload_id,
                os.fsdecode(planned[1][0].data),
            )
        )
        return planned

    monkeypatch.setattr(multipart.complete, "plan", plan_then_replace)
    with pytest.raises(InvalidPartError):
        await backend.complete_upload("bucket", "k", upload_id, parts)
    with pytest.raises(NoSuchKeyError):
        await backend.head("bucket", "k")


async def test_deleting_a_bucket_drops_its_uploads(backend: PosixBackend, root: Path) -> None:
    upload_id, parts = await begin(backend)
    await backend.delete_bucket("bucket")
    with pytest.raises(NoSuchBucketError):
        await backend.complete_upload("bucket", "k", upload_id, parts)
    await backend.create_bucket("bucket")
    with pytest.raises(NoSuchUploadError):
        await backend.complete_upload("bucket", "k", upload_id, parts)
    assert os.listdir(root / ".appliance" / "trash") == []


async def test_the_reaper_takes_what_is_old_and_nothing_else(root: Path) -> None:
    async with started(root, bucket="bucket", upload_max_age="2d") as backend:
        old, old_parts = await begin(backend)
        new, new_parts = await begin(backend)
        private = root / "bucket" / ".appliance"
        for name in ("abandoned", "in-use"):
            (private / "staging" / name).touch()
        large = {"m": "x" * 5000}
        await put(backend, "large", metadata=large)
        (kept,) = (private / "sidecar").iterdir()
        (private / "sidecar" / "1234.0123456789abcdef").write_bytes(kept.read_bytes())
        (private / "sidecar" / "1234.0123456789abcdef~tmp").touch()
        _age(private / "uploads" / old, private / "staging" / "abandoned")
        _age(*(private / "sidecar").iterdir())
        (private / "uploads" / f"gone.{'0' * 48}").mkdir()
        await backend.maintain()
        assert uploads_on_disk(root) == [new]
        assert os.listdir(private / "staging") == ["in-use"]
        assert list((private / "sidecar").iterdir()) == [kept]
        assert (await backend.head("bucket", "large")).metadata == large
        assert backend.statistics()["reaped_uploads_total"] == 1
        with pytest.raises(NoSuchUploadError):
            await backend.complete_upload("bucket", "k", old, old_parts)
        await backend.complete_upload("bucket", "k", new, new_parts)
        assert await all_keys(backend) == ["k", "large"]


def _age(*paths: Path) -> None:
    for path in paths:
        then = path.stat().st_mtime - 3 * DAY_S
        os.utime(path, (then, then))


async def test_a_part_that_came_late_keeps_an_upload_alive(root: Path) -> None:
    async with started(root, bucket="bucket", upload_max_age="2d") as backend:
        upload_id, parts = await begin(backend)
        directory = root / "bucket" / ".appliance" / "uploads" / upload_id
        _age(directory)
        await backend.put_part("bucket", "k", upload_id, 2, BytesBody(b"late"))
        await backend.maintain()
        await backend.complete_upload("bucket", "k", upload_id, parts)
        assert await get(backend, "k") == b"part"


async def test_copies_share_blocks_or_copy_in_the_kernel(
    backend: PosixBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(3 << 20)
    old = await put(backend, "a", data, metadata={"m": "1"}, tags={"t": "1"})
    new = await backend.copy("bucket", "a", "bucket", "b/c")
    assert (new.etag, new.metadata, new.tag_count) == (old.etag, {"m": "1"}, 1)
    assert await get(backend, "b/c") == data

    def refuse(*_: object) -> int:
        raise OSError(18, "cross-device link")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    await backend.copy("bucket", "a", "bucket", "d")
    assert await get(backend, "d") == data


async def test_a_tree_that_never_stands_still_is_a_conflict_not_a_hang(
    backend: PosixBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanish(*_: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr("appliance_posix.directories._make_parent", vanish)
    with pytest.raises(ConflictError):
        await put(backend, "a/b")


def test_ages_are_written_as_people_write_them() -> None:
    ages = [
        parse("posix:///x", "n", {"upload_max_age": value}).upload_max_age_s
        for value in ("7d", "12h", "30m", "5s", 90)
    ]
    assert ages == [7 * DAY_S, DAY_S / 2, 1800, 5, 90]
