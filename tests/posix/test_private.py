"""The appliance's own directory in a bucket, where whoever owns the bucket's directory may try to put in another. Needs root."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import msgspec
import pytest

from appliance.model.errors import (
    BackendError,
    ConfigError,
    ConflictError,
    InvalidPartError,
    NoSuchUploadError,
)
from appliance.model.objects import CompletedPart, ListRequest, PutOptions, Versioning
from appliance.plugin import BytesBody, Caller
from appliance_posix.backend import PosixBackend
from appliance_posix.impersonation import acting_for, plainly
from appliance_posix.private import Own
from tests.support.posix import get, put, started

pytestmark = pytest.mark.real


@pytest.fixture
def private(backend: PosixBackend, root: Path) -> Path:
    """`.appliance` of the bucket."""
    return root / "bucket" / ".appliance"


@pytest.fixture
def secret(root: Path) -> Path:
    """A file outside of the root."""
    path = root.parent / "secret"
    path.write_bytes(b"secret")
    return path


async def begun(backend: PosixBackend) -> tuple[str, list[CompletedPart]]:
    """An upload of `k` with one part."""
    upload = await backend.create_upload("bucket", "k", PutOptions())
    part = await backend.put_part("bucket", "k", upload.upload_id, 1, BytesBody(b"part"))
    return upload.upload_id, [CompletedPart(number=1, etag=part.etag)]


def forge(record: Path, data: bytes, size: int) -> None:
    """Let the record of a part name another file."""
    fields = msgspec.msgpack.decode(record.read_bytes())
    record.write_bytes(msgspec.msgpack.encode({**fields, "data": data, "size": size}))


@pytest.mark.parametrize("name", ["absolute", "dots", "symlink", "directory"])
async def test_a_forged_part_names_no_file_outside(backend, private, secret, name):
    upload_id, parts = await begun(backend)
    directory = private / "uploads" / upload_id
    data = {
        "absolute": os.fsencode(secret),
        "dots": b"../../../../../secret",
    }.get(name, b"data." + b"0" * 32)
    if name == "symlink":
        (directory / os.fsdecode(data)).symlink_to(secret)
    if name == "directory":
        (directory / os.fsdecode(data)).mkdir()
    forge(directory / "00001", data, len("secret"))
    with pytest.raises((InvalidPartError, BackendError)):
        await backend.complete_upload("bucket", "k", upload_id, parts)
    if name in {"absolute", "dots"}:
        await backend.put_part("bucket", "k", upload_id, 1, BytesBody(b"again"))
    assert secret.read_bytes() == b"secret"


@pytest.mark.parametrize("kind", ["users", "writable", "of another group", "file", "symlink"])
async def test_a_private_directory_that_is_not_the_appliances_is_refused(
    backend, private, root, kind
):
    await put(backend, "k")
    upload_id, parts = await begun(backend)
    mine = private.rename(private.with_name("mine"))
    if kind == "file":
        private.write_bytes(b"")
    elif kind == "symlink":
        private.symlink_to("mine")
    else:
        shutil.copytree(mine, private)
        if kind == "users":
            os.chown(private, 1234, 1234)
        elif kind == "writable":
            private.chmod(0o757)
        else:
            os.chown(private, -1, 1234)
            private.chmod(0o775)
    for refused in (
        backend.head("bucket", "k"),
        backend.complete_upload("bucket", "k", upload_id, parts),
        backend.put_part("bucket", "k", upload_id, 1, BytesBody(b"again")),
        backend.create_upload("bucket", "new", PutOptions()),
        backend.list_uploads("bucket"),
        backend.get_versioning("bucket"),
        backend.put_versioning("bucket", Versioning.ENABLED),
        backend.delete_bucket("bucket"),
        put(backend, "k", b"new"),
        backend.delete("bucket", "k"),
    ):
        with pytest.raises(BackendError, match="not the appliance's own"):
            await refused
    # Other buckets go on, and the bucket does when its own directory is back.
    await backend.create_bucket("other")
    await put(backend, "k", bucket="other")
    assert [info.name for info in await backend.list_buckets()] == ["bucket", "other"]
    await backend.maintain()
    if kind in {"file", "symlink"}:
        private.unlink()
    else:
        shutil.rmtree(private)
    mine.rename(private)
    await backend.complete_upload("bucket", "k", upload_id, parts)
    assert await get(backend, "k") == b"part"


async def test_directories_of_whoever_owns_the_one_in_the_root_are_the_appliances(root):
    """As it ran as another user before, or where the server makes another user of it."""
    async with started(root, bucket="bucket") as backend:
        await put(backend, "k")
    for path in (root / ".appliance", root / "bucket/.appliance"):
        os.chown(path, 1234, 1234)
    async with started(root) as backend:
        await put(backend, "k", b"new")
        await backend.create_bucket("other")
        await put(backend, "k", bucket="other")
        assert await get(backend, "k") == b"new"
        page = await backend.list_objects("other", ListRequest())
        assert [item.key for item in page.objects] == ["k"]


def test_where_the_filesystem_keeps_no_modes_nothing_is_concluded_from_them(root):
    os.chown(root, 1234, 1234)
    root.chmod(0o777)
    seen = root.stat()
    assert Own(frozenset({0}), 0, modes=False).accepts(seen)
    assert not Own(frozenset({0}), 0, modes=True).accepts(seen)
    assert not Own(frozenset({1234}), 1234, modes=True).accepts(seen)


async def test_what_is_no_file_is_not_waited_for(backend, private):
    """Opening a FIFO waits for a writer: without O_NONBLOCK these hang."""
    large = {f"name-{number}": "v" * 300 for number in range(12)}
    await backend.put_versioning("bucket", Versioning.ENABLED)
    first = await put(backend, "k", b"first")
    await put(backend, "k", b"second")
    await put(backend, "large", metadata=large)
    upload_id, parts = await begun(backend)
    await backend.compare_and_swap("register", None, b"value")

    def instead(path: Path) -> None:
        path.unlink()
        os.mkfifo(path)

    upload = private / "uploads" / upload_id
    instead(upload / "00001")
    with pytest.raises(InvalidPartError):
        await backend.complete_upload("bucket", "k", upload_id, parts)
    part = await backend.put_part("bucket", "k", upload_id, 1, BytesBody(b"again"))
    (data,) = (path for path in upload.glob("data.*") if path.read_bytes() == b"again")
    instead(data)
    with pytest.raises(InvalidPartError):
        await backend.complete_upload(
            "bucket", "k", upload_id, [CompletedPart(number=1, etag=part.etag)]
        )
    instead(upload / "manifest")
    with pytest.raises(NoSuchUploadError):
        await backend.list_parts("bucket", "k", upload_id)
    instead(next(path for path in (private / "versions").rglob("*=*") if path.is_file()))
    await backend.delete("bucket", "k", version_id=first.version_id)
    instead(next((private / "sidecar").iterdir()))
    await put(backend, "large", b"new")
    instead(private.parent.parent / ".appliance/registers/=register/1")
    with pytest.raises(ConflictError):
        await backend.read_register("register")
    for name in ("locks", "versioning"):
        instead(private / name)
        with pytest.raises(BackendError, match=f"{name} is no regular file"):
            await put(backend, "k")
        (private / name).unlink()
    await put(backend, "k", b"third")
    assert await get(backend, "k") == b"third"


def directories(root: Path) -> list[Path]:
    """All private ones: in the root, and in the bucket."""
    tops = (root / ".appliance", root / "bucket/.appliance")
    return [path for top in tops for path in (top, *top.rglob("*")) if path.is_dir()]


async def filled(backend: PosixBackend, bucket: Path) -> None:
    """With an old version and an upload of a closed directory, and metadata in a sidecar."""
    await backend.put_versioning("bucket", Versioning.ENABLED)
    await put(backend, "closed/k", b"first", metadata={f"{n}": "v" * 300 for n in range(12)})
    (bucket / "closed").chmod(0o700)
    await put(backend, "closed/k", b"second")
    upload = await backend.create_upload("bucket", "closed/m", PutOptions())
    await backend.put_part("bucket", "closed/m", upload.upload_id, 1, BytesBody(b"part"))
    await backend.compare_and_swap("register", None, b"value")


async def test_private_directories_are_for_nobody_else(everywhere, new_root):
    bucket = new_root / "bucket"
    await filled(everywhere, bucket)
    assert {stat.S_IMODE(path.stat().st_mode) for path in directories(new_root)} == {0o700}
    for top in (new_root, bucket):
        fd = os.open(top, os.O_RDONLY)  # what lies above is for root only, in tests
        with acting_for(Caller(1234, (1234,))), plainly():
            os.close(os.open(".", os.O_RDONLY, dir_fd=fd))
            for path in (".appliance", ".appliance/staging"):
                with pytest.raises(PermissionError):
                    os.open(path, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
    assert stat.S_IMODE(bucket.stat().st_mode) == 0o755  # what is not private is as the umask says


@pytest.mark.parametrize("use", ["head", "put", "list_uploads"])
async def test_directories_that_an_earlier_version_left_open_are_closed(root, use):
    async with started(root, bucket="bucket") as backend:
        await filled(backend, root / "bucket")
    for path in directories(root):
        path.chmod(0o775)
    async with started(root) as backend:
        assert stat.S_IMODE((root / ".appliance").stat().st_mode) == 0o700
        if use == "head":
            await backend.head("bucket", "closed/k")
        elif use == "put":
            await put(backend, "new")
        else:
            await backend.list_uploads("bucket")
        assert stat.S_IMODE((root / "bucket/.appliance").stat().st_mode) == 0o700
        assert await get(backend, "closed/k") == b"second"


async def test_a_root_whose_private_directory_others_may_write_is_no_root(root):
    (root / ".appliance").mkdir()
    (root / ".appliance").chmod(0o777)
    with pytest.raises(ConfigError, match="chmod"):
        async with started(root):
            pass
