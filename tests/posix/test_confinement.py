"""Nothing outside of the root can be reached: by key, bucket name, upload id, or any symlink that somebody left."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.model.errors import (
    ApplianceError,
    BackendUnavailableError,
    InvalidArgumentError,
    NoSuchBucketError,
    NoSuchKeyError,
    NoSuchUploadError,
)
from appliance.model.objects import CompletedPart, ListRequest
from appliance.plugin import BytesBody
from appliance_posix.backend import PosixBackend
from appliance_posix.beneath import walk_beneath
from appliance_posix.syscalls import openat2_beneath
from tests.support.posix import all_keys, get, put, started


@pytest.fixture(params=["auto", "never"])
async def confined(request: pytest.FixtureRequest, root: Path) -> AsyncIterator[PosixBackend]:
    """A backend that opens paths in either way; beside its root lies `outside/secret`."""
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    async with started(root, bucket="bucket", openat2=request.param) as backend:
        yield backend


def _outside(root: Path) -> Path:
    return root.parent / "outside"


@pytest.mark.parametrize(
    "key",
    [
        "../../outside/secret",
        "/etc/passwd",
        "a/../../../outside/secret",
        "..",
        "./../x",
        "../other/x",
    ],
)
async def test_dots_in_a_key_lead_nowhere(confined: PosixBackend, root: Path, key: str) -> None:
    with pytest.raises(NoSuchKeyError):
        await confined.head("bucket", key)
    await put(confined, key, b"mine")
    assert await get(confined, key) == b"mine"
    assert (_outside(root) / "secret").read_bytes() == b"secret"
    assert sorted(os.listdir(root)) == [".appliance", "bucket"]
    await confined.delete("bucket", key)
    assert (_outside(root) / "secret").exists()


@pytest.mark.parametrize("absolute", [True, False])
async def test_a_symlink_to_a_file_is_no_object(
    confined: PosixBackend, root: Path, absolute: bool
) -> None:
    target = str(_outside(root) / "secret") if absolute else "../../outside/secret"
    os.symlink(target, root / "bucket" / "link")
    with pytest.raises(NoSuchKeyError):
        await confined.head("bucket", "link")
    with pytest.raises(NoSuchKeyError):
        await confined.open_local("bucket", "link")
    assert await all_keys(confined) == []
    # The name can be used all the same, and the target is not touched.
    info = await put(confined, "link", b"mine")
    assert await get(confined, "link") == b"mine"
    assert confined.validate_nowait("bucket", "link", info.version) is True
    await confined.delete("bucket", "link")
    assert (_outside(root) / "secret").read_bytes() == b"secret"
    assert os.readlink(root / "bucket" / "link") == target


async def test_a_symlink_to_a_directory_is_not_entered(confined: PosixBackend, root: Path) -> None:
    os.symlink(_outside(root), root / "bucket" / "dir")
    with pytest.raises(NoSuchKeyError):
        await confined.head("bucket", "dir/secret")
    with pytest.raises(ApplianceError):
        await put(confined, "dir/new", b"mine")
    await confined.delete("bucket", "dir/secret")
    assert os.listdir(_outside(root)) == ["secret"]
    page = await confined.list_objects("bucket", ListRequest(delimiter="/"))
    assert (page.objects, page.common_prefixes) == ((), ())
    page = await confined.list_objects("bucket", ListRequest(prefix="dir/"))
    assert page.objects == ()


async def test_a_symlink_is_no_bucket(confined: PosixBackend, root: Path) -> None:
    os.symlink(_outside(root), root / "linked")
    with pytest.raises(NoSuchBucketError):
        await confined.head("linked", "secret")
    with pytest.raises(NoSuchBucketError):
        await put(confined, "new", bucket="linked")
    assert [info.name for info in await confined.list_buckets()] == ["bucket"]


@pytest.mark.parametrize(
    "name", ["..", ".", "../outside", "/etc", "bucket/..", "", ".appliance", "a\0b"]
)
async def test_bucket_names_are_names(confined: PosixBackend, name: str) -> None:
    with pytest.raises(NoSuchBucketError):
        await confined.head(name, "secret")
    with pytest.raises(NoSuchBucketError):
        await confined.list_objects(name, ListRequest())
    with pytest.raises(ApplianceError):
        await confined.create_bucket(name)
    assert confined.validate_nowait(name, "secret", "1-1-1-1") in (False, None)


@pytest.mark.parametrize(
    "upload_id",
    ["../../bucket", "..", "", "0" * 47 + "/", "0" * 48, "A" * 48, "0" * 48 + "\n", "a\0"],
)
async def test_upload_ids_are_checked_before_they_touch_a_path(
    confined: PosixBackend, upload_id: str
) -> None:
    with pytest.raises(NoSuchUploadError):
        await confined.put_part("bucket", "k", upload_id, 1, BytesBody(b"x"))
    with pytest.raises(NoSuchUploadError):
        await confined.list_parts("bucket", "k", upload_id)
    with pytest.raises(NoSuchUploadError):
        await confined.abort_upload("bucket", "k", upload_id)
    with pytest.raises(NoSuchUploadError):
        await confined.complete_upload(
            "bucket", "k", upload_id, [CompletedPart(number=1, etag="e")]
        )


async def test_the_private_directory_may_not_lead_outside(
    confined: PosixBackend, root: Path
) -> None:
    (root / "other-bucket").mkdir()
    os.symlink(_outside(root), root / "other-bucket" / ".appliance")
    with pytest.raises(ApplianceError):
        await put(confined, "k", bucket="other-bucket")
    assert os.listdir(_outside(root)) == ["secret"]


async def test_register_names_are_names(confined: PosixBackend, root: Path) -> None:
    await confined.compare_and_swap("../../x", None, b"1")
    assert await confined.read_register("../../x") == b"1"
    assert sorted(os.listdir(root)) == [".appliance", "bucket"]
    with pytest.raises(InvalidArgumentError):
        await confined.read_register("n" * 201)


async def test_special_files_are_no_objects_and_do_not_hang(
    confined: PosixBackend, root: Path
) -> None:
    os.mkfifo(root / "bucket" / "fifo")
    with pytest.raises(NoSuchKeyError):
        await confined.head("bucket", "fifo")
    assert await all_keys(confined) == []


@pytest.mark.parametrize("opener", [openat2_beneath, walk_beneath])
@pytest.mark.parametrize(
    "path", [b"../outside/secret", b"in/../../outside/secret", b"link", b"dir/x"]
)
def test_both_openers_refuse_what_leaves(opener, path: bytes, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    (inside / "in").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").touch()
    os.symlink("../outside/secret", inside / "link")
    os.symlink("../outside", inside / "dir")
    fd = os.open(inside, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match=r"(Errno 18|Errno 40|Errno 20)"):
            opener(fd, path, os.O_RDONLY)
    finally:
        os.close(fd)


async def test_a_backend_that_is_stopped_says_so(root: Path) -> None:
    async with started(root, bucket="bucket") as backend:
        pass
    with pytest.raises(BackendUnavailableError):
        await backend.head("bucket", "a")
