"""Objects are plain files; files that people make, change and move by hand are objects, never stale ones."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.model.errors import NoSuchKeyError, VersionChangedError
from appliance.model.objects import CompletedPart, ListRequest, ObjectInfo, PutOptions
from appliance.plugin import BytesBody
from appliance_posix import metadata
from appliance_posix.backend import PosixBackend
from tests.support.posix import all_keys, get, put, started

MIB = 1 << 20


@pytest.fixture(params=["auto", "sidecar"])
async def described(request: pytest.FixtureRequest, root: Path) -> AsyncIterator[PosixBackend]:
    """A backend in both ways of keeping metadata."""
    async with started(root, bucket="bucket", metadata=request.param) as backend:
        yield backend


async def listed(backend: PosixBackend, key: str) -> ObjectInfo:
    page = await backend.list_objects("bucket", ListRequest(prefix=key))
    return page.objects[0]


async def test_an_object_is_a_plain_file_under_its_key(backend: PosixBackend, root: Path) -> None:
    info = await put(backend, "dir/file.txt", b"hello")
    assert (root / "bucket" / "dir" / "file.txt").read_bytes() == b"hello"
    assert info.etag == hashlib.md5(b"hello").hexdigest()
    umask = os.umask(0)
    os.umask(umask)
    assert (root / "bucket" / "dir" / "file.txt").stat().st_mode & 0o777 == 0o666 & ~umask


async def test_a_file_made_by_hand_is_an_object(described: PosixBackend, root: Path) -> None:
    (root / "bucket" / "page.html").write_bytes(b"<p>")
    info = await described.head("bucket", "page.html")
    assert info.etag.endswith("-0")
    assert info.headers == {"content-type": "text/html"}
    assert (await listed(described, "page.html")).etag == info.etag
    assert await get(described, "page.html") == b"<p>"
    assert await described.get_tags("bucket", "page.html") == {}


async def test_a_file_changed_by_hand_gets_a_fresh_etag_and_version(
    described: PosixBackend, root: Path
) -> None:
    old = await put(described, "a", b"one", metadata={"m": "1"}, checksums=("crc32c",))
    path = root / "bucket" / "a"
    with path.open("r+b") as file:
        file.write(b"two")
    os.utime(path, ns=(old.modified_ns, old.modified_ns))  # even if its mtime is put back
    os.utime(path, ns=(old.modified_ns + 10**9, old.modified_ns + 10**9))
    new = await described.head("bucket", "a")
    assert new.etag.endswith("-0")
    assert new.version != old.version
    assert (new.metadata, new.checksums) == ({"m": "1"}, {})
    assert (await listed(described, "a")).etag == new.etag
    assert described.validate_nowait("bucket", "a", old.version) is False
    assert described.validate_nowait("bucket", "a", new.version) is True
    with pytest.raises(VersionChangedError):
        await described.open_local("bucket", "a", version=old.version)


async def test_a_file_replaced_by_hand_forgets_its_record(
    described: PosixBackend, root: Path
) -> None:
    old = await put(described, "a", b"one", metadata={"m": "1"})
    (root / "bucket" / "new").write_bytes(b"two")
    (root / "bucket" / "new").replace(root / "bucket" / "a")
    new = await described.head("bucket", "a")
    assert new.etag.endswith("-0")
    assert new.metadata == {}
    assert new.version != old.version


async def test_tags_of_a_file_made_by_hand_leave_its_etag_synthetic(
    described: PosixBackend, root: Path
) -> None:
    (root / "bucket" / "a.html").write_bytes(b"x")
    info = await described.put_tags("bucket", "a.html", {"t": "1"})
    assert info.etag.endswith("-0")
    assert await described.get_tags("bucket", "a.html") == {"t": "1"}
    assert (await described.head("bucket", "a.html")).headers == {"content-type": "text/html"}


async def test_tags_leave_the_etag_and_move_the_version(described: PosixBackend) -> None:
    old = await put(described, "a", b"one", metadata={"m": "1"})
    new = await described.put_tags("bucket", "a", {"t": "1"})
    assert new == await described.head("bucket", "a")
    assert (new.etag, new.modified_ns, new.metadata) == (old.etag, old.modified_ns, {"m": "1"})
    assert new.version != old.version
    assert new.tag_count == 1


@pytest.mark.real
async def test_metadata_larger_than_an_xattr_spills_into_a_sidecar(
    everywhere: PosixBackend, new_root: Path
) -> None:
    large = {"m": "x" * 2000, "n": "y" * 2000}
    old = await put(everywhere, "a", b"one", metadata=large, tags={"t": "z" * 256})
    assert (await everywhere.head("bucket", "a")).metadata == large
    assert (await listed(everywhere, "a")).etag == old.etag
    sidecars = new_root / "bucket" / ".appliance" / "sidecar"
    assert len(os.listdir(sidecars)) == 1
    await everywhere.put_tags("bucket", "a", {"t": "2"})
    assert (await everywhere.head("bucket", "a")).metadata == large
    assert len(os.listdir(sidecars)) == 1
    copy = await everywhere.copy("bucket", "a", "bucket", "b")
    assert copy.metadata == large
    await put(everywhere, "a", b"small again")
    await everywhere.delete("bucket", "b")
    assert os.listdir(sidecars) == []


async def test_an_object_of_thousands_of_parts_keeps_them(backend: PosixBackend) -> None:
    sizes = tuple(range(5000))
    record = metadata.Record(
        etag="e-5000", part_sizes=sizes, part_checksums=tuple({"crc32": "AAAAAA=="} for _ in sizes)
    )
    info = await put(backend, "a", b"x")
    bucket = metadata.Bucket(backend.volume, "bucket")
    with bucket:
        fd = os.open(os.fsencode(backend.volume.root) + b"/bucket/a", os.O_RDWR)
        try:
            saved = metadata.save(bucket, fd, os.fstat(fd), record, "a")
            assert saved.spilled
            found = metadata.load(bucket, fd, os.fstat(fd), "a")
        finally:
            os.close(fd)
    assert found is not None
    assert (found.part_sizes, len(found.part_checksums)) == (sizes, 5000)
    assert info.size == 1


async def test_sidecars_come_and_go_with_their_objects(root: Path) -> None:
    async with started(root, bucket="bucket", metadata="sidecar") as backend:
        for data in (b"one", b"two", b"three"):
            await put(backend, "a", data, metadata={"m": data.decode()})
        await put(backend, "a/b", b"x")  # a steps aside
        assert (await backend.head("bucket", "a")).metadata == {"m": "three"}
        sidecars = root / "bucket" / ".appliance" / "sidecar"
        assert len(os.listdir(sidecars)) == 2
        await backend.delete("bucket", "a")
        await backend.delete("bucket", "a/b")
        assert os.listdir(sidecars) == []


async def test_files_described_by_sidecars_stay_so_when_xattrs_come(root: Path) -> None:
    async with started(root, bucket="bucket", metadata="sidecar") as backend:
        old = await put(backend, "a", b"one", metadata={"m": "1"})
    async with started(root) as backend:
        assert await backend.head("bucket", "a") == old


async def test_an_object_steps_aside_for_a_directory_unchanged(
    described: PosixBackend, root: Path
) -> None:
    old = await put(described, "a", b"one", metadata={"m": "1"})
    await put(described, "a/b", b"two")
    new = await described.head("bucket", "a")
    assert (new.etag, new.metadata, new.modified_ns) == (old.etag, {"m": "1"}, old.modified_ns)
    assert (root / "bucket" / ".appliance-object=a").read_bytes() == b"one"
    assert await all_keys(described) == ["a", "a/b"]
    await described.delete("bucket", "a/b")
    assert not (root / "bucket" / "a").exists()
    assert await get(described, "a") == b"one"
    await described.delete("bucket", "a")
    await put(described, "a", b"three")
    assert (root / "bucket" / "a").read_bytes() == b"three"


async def test_an_open_reader_keeps_its_version(backend: PosixBackend) -> None:
    data = os.urandom(3 * MIB)
    await put(backend, "a", data)
    async with backend.read("bucket", "a") as stream:
        chunks = aiter(stream)
        got = [await anext(chunks)]
        await put(backend, "a", b"other")
        await backend.delete("bucket", "a")
        got += [chunk async for chunk in chunks]
    assert b"".join(got) == data


async def test_writing_into_a_file_breaks_off_its_readers(
    backend: PosixBackend, root: Path
) -> None:
    await put(backend, "a", bytes(3 * MIB))
    async with backend.read("bucket", "a") as stream:
        chunks = aiter(stream)
        await anext(chunks)
        os.truncate(root / "bucket" / "a", 2 * MIB)
        with pytest.raises(VersionChangedError):
            _ = [chunk async for chunk in chunks]


async def test_deleting_prunes_empty_directories_and_only_those(
    backend: PosixBackend, root: Path
) -> None:
    await put(backend, "a/b/c/d")
    await put(backend, "a/e")
    await backend.delete("bucket", "a/b/c/d")
    assert sorted(os.listdir(root / "bucket" / "a")) == ["e"]
    await backend.delete("bucket", "a/e")
    assert os.listdir(root / "bucket") == [".appliance"]


async def test_names_that_filesystems_keep_for_themselves_are_neither_listed_nor_used(
    backend: PosixBackend, root: Path
) -> None:
    (root / "bucket" / ".snap").mkdir()
    (root / "bucket" / ".snap" / "old").touch()
    assert await all_keys(backend) == []
    with pytest.raises(NoSuchKeyError):
        await backend.head("bucket", ".snap/old")
    await put(backend, ".snap/old", b"mine")
    assert (root / "bucket" / ".snap" / "old").read_bytes() == b""
    assert await all_keys(backend) == [".snap/old"]


@pytest.mark.real
async def test_parts_become_one_object_on_every_filesystem(everywhere: PosixBackend) -> None:
    datas = [os.urandom(5 * MIB + 1), os.urandom(5 * MIB), b"end"]
    options = PutOptions(metadata={"m": "1"}, checksums=("crc64nvme",))
    upload = await everywhere.create_upload("bucket", "dir/a", options)
    parts = []
    for number, data in enumerate(datas, 1):
        part = await everywhere.put_part(
            "bucket", "dir/a", upload.upload_id, number, BytesBody(data, ("crc64nvme",))
        )
        parts.append(CompletedPart(number=number, etag=part.etag))
    info = await everywhere.complete_upload("bucket", "dir/a", upload.upload_id, parts)
    assert info == await everywhere.head("bucket", "dir/a")
    assert info.checksums == BytesBody(b"".join(datas), ("crc64nvme",)).digests().checksums
    assert info.part_sizes == tuple(map(len, datas))
    assert await get(everywhere, "dir/a") == b"".join(datas)
