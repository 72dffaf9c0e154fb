"""What a posix backend says at start, and when the filesystem below it misbehaves."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.model.errors import (
    ApplianceError,
    BackendDeniedError,
    BackendUnavailableError,
    ConfigError,
    StorageFullError,
)
from appliance.model.objects import CompletedPart, PutOptions
from appliance.plugin import Body, BytesBody
from appliance.plugin.body import Chunk, Digests
from appliance_posix.backend import PosixBackend
from appliance_posix.errnos import domain_error
from appliance_posix.plugin import appliance_backend
from tests.support.filesystems import mounted
from tests.support.plugin_host import backend_config
from tests.support.posix import all_keys, get, put, started

MIB = 1 << 20


def _remount_read_only(path: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(path)], check=True)


async def test_a_root_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist: make it, or correct the URL"):
        async with started(tmp_path / "missing"):
            pass


async def test_a_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is not a directory"):
        async with started(tmp_path / "file"):
            pass


@pytest.mark.real
async def test_a_root_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with mounted("tmpfs", tmp_path / "fs") as path:
        _remount_read_only(path)
        with pytest.raises(ConfigError, match=r"cannot be written \(Read-only file system\)"):
            async with started(path):
                pass


@pytest.mark.real
async def test_a_filesystem_that_turns_read_only_is_denied_not_broken(tmp_path: Path) -> None:
    with mounted("ext4", tmp_path / "fs") as path:
        async with started(path, bucket="bucket") as backend:
            await put(backend, "a", b"old")
            _remount_read_only(path)
            with pytest.raises(BackendDeniedError, match="read-only"):
                await put(backend, "a", b"new")
            assert await get(backend, "a") == b"old"


@pytest.mark.parametrize(
    ("url", "options", "reason"),
    [
        ("posix://host/path", {}, "names a host"),
        ("posix:relative", {}, "needs an absolute path"),
        ("posix:///x?colour=red", {}, "unknown option 'colour'"),
        ("posix:///x", {"metadata": "cloud"}, "metadata = 'cloud' is not valid"),
        ("posix:///x", {"upload_max_age": "soon"}, "upload_max_age = 'soon' is not valid"),
        ("posix:///x", {"upload_max_age": True}, "upload_max_age = True is not valid"),
        ("posix:///x", {"upload_max_age": "0d"}, "upload_max_age = '0d' is not valid"),
    ],
)
def test_wrong_urls_and_options_are_named(
    url: str, options: dict[str, object], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        appliance_backend(url, backend_config("posix", **options))


def test_other_schemes_are_left_to_others() -> None:
    assert appliance_backend("s3://bucket", backend_config("s3")) is None


async def test_paths_are_decoded(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    url = f"posix://{tmp_path}/a%20b"
    backend = appliance_backend(url, backend_config("posix"))
    assert backend is not None
    await backend.start()
    await backend.create_bucket("bucket")
    await backend.stop()
    assert (tmp_path / "a b" / "bucket").is_dir()


async def test_what_is_done_another_way_is_logged(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with started(root, metadata="sidecar", openat2="never"):
        pass
    assert "metadata is kept in sidecar files" in caplog.text
    assert "paths are walked component by component" in caplog.text


@pytest.fixture
async def small_disk(tmp_path: Path) -> AsyncIterator[PosixBackend]:
    """A backend on an ext4 of 16 MiB."""
    with mounted("ext4", tmp_path / "fs", 16 * MIB) as path:
        async with started(path, bucket="bucket") as backend:
            yield backend


@pytest.mark.real
async def test_a_full_disk_refuses_and_shows_nothing(small_disk: PosixBackend) -> None:
    await put(small_disk, "kept", b"kept")
    with pytest.raises(StorageFullError):
        await put(small_disk, "large", bytes(32 * MIB))
    with pytest.raises(StorageFullError):
        await put(small_disk, "kept", bytes(32 * MIB))
    assert await all_keys(small_disk) == ["kept"]
    assert await get(small_disk, "kept") == b"kept"
    # What was refused holds no space.
    await put(small_disk, "fits", bytes(8 * MIB))
    await small_disk.delete("bucket", "fits")


@pytest.mark.real
async def test_a_disk_that_fills_up_while_completing_keeps_the_upload(
    small_disk: PosixBackend,
) -> None:
    upload = await small_disk.create_upload("bucket", "k", PutOptions())
    part = await small_disk.put_part("bucket", "k", upload.upload_id, 1, BytesBody(bytes(8 * MIB)))
    parts = [CompletedPart(number=1, etag=part.etag)]
    with pytest.raises(StorageFullError):
        await small_disk.complete_upload("bucket", "k", upload.upload_id, parts)
    assert await all_keys(small_disk) == []
    page = await small_disk.list_parts("bucket", "k", upload.upload_id)
    assert [found.etag for found in page.parts] == [part.etag]
    await small_disk.abort_upload("bucket", "k", upload.upload_id)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ENOSPC, StorageFullError),
        (errno.EDQUOT, StorageFullError),
        (errno.EACCES, BackendDeniedError),
        (errno.EROFS, BackendDeniedError),
        (errno.EIO, BackendUnavailableError),
        (errno.ESTALE, BackendUnavailableError),
        (99999, ApplianceError),
    ],
)
def test_every_errno_is_a_domain_error_without_a_path(
    code: int, kind: type[ApplianceError]
) -> None:
    error = domain_error(OSError(code, os.strerror(code), "/srv/secret/path"), "b", "k")
    assert isinstance(error, kind)
    assert (error.bucket, error.key) == ("b", "k")
    assert "/srv" not in error.message


class _Breaking(Body):
    """A body that ends in an error after some chunks."""

    def __init__(self, chunks: int) -> None:
        self.size = None
        self._chunks = chunks

    async def __aiter__(self):
        buffer = bytearray(MIB)
        for _ in range(self._chunks):
            chunk: Chunk = buffer
            yield chunk
        raise BackendUnavailableError("the client went away")

    def digests(self) -> Digests:
        raise AssertionError("asked for the digests of a body that broke")


@pytest.mark.parametrize("chunks", [0, 1, 5])
@pytest.mark.parametrize("metadata", ["auto", "sidecar"])
async def test_a_body_that_breaks_leaves_nothing(root: Path, chunks: int, metadata: str) -> None:
    async with started(root, bucket="bucket", metadata=metadata) as backend:
        with pytest.raises(BackendUnavailableError, match="the client went away"):
            await backend.put("bucket", "a", _Breaking(chunks), PutOptions())
        assert await all_keys(backend) == []
        files = [name for _, _, names in os.walk(root) for name in names]
        assert set(files) <= {"created", "locks"}


async def test_without_o_tmpfile_uploads_have_names_until_published(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance_posix.volume._can_tmpfile", lambda _: False)
    async with started(root, bucket="bucket") as backend:
        assert not backend.volume.features.tmpfile
        await put(backend, "a", bytes(3 * MIB))
        await put(backend, "a", b"two")
        with pytest.raises(BackendUnavailableError):
            await backend.put("bucket", "a", _Breaking(5), PutOptions())
        assert await get(backend, "a") == b"two"
        assert os.listdir(root / "bucket" / ".appliance" / "staging") == []
