"""What is written through a real mount, as an S3 client and local readers see it."""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import random
import subprocess

import pytest

pytestmark = pytest.mark.real


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def test_what_cp_wrote_has_the_md5_as_its_etag(box, tmp_path):
    data = random.Random(1).randbytes(5_000_000)
    (tmp_path / "source").write_bytes(data)
    subprocess.run(["cp", tmp_path / "source", box / "copy"], check=True)
    assert box.head("copy")["etag"] == md5(data)
    assert box.get("copy") == data
    assert (box / "copy").read_bytes() == data


def test_an_empty_file(box):
    (box / "empty").touch()
    assert box.head("empty")["size"] == 0


def test_nothing_is_seen_elsewhere_before_close_and_all_of_it_after(box):
    with (box / "new").open("wb", buffering=0) as file:
        file.write(b"half")
        assert box.listed() == []
        file.write(b" whole")
    assert box.get("new") == b"half whole"


def test_local_readers_see_writes_at_once(box):
    with (box / "log").open("wb", buffering=0) as file:
        file.write(b"one")
        assert (box / "log").read_bytes() == b"one"
        assert os.listdir(box.path) == ["log"]
        file.write(b"two")
        assert (box / "log").read_bytes() == b"onetwo"
        assert (box / "log").stat().st_size == 6


def test_append(box):
    box.put("log", b"one\n")
    with (box / "log").open("ab") as file:
        file.write(b"two\n")
    subprocess.run(f"echo three >> {box / 'log'}", shell=True, check=True)  # noqa: S602
    assert box.get("log") == b"one\ntwo\nthree\n"


def test_random_writes_into_an_existing_object(box):
    data = bytearray(random.Random(2).randbytes(1_200_000))
    box.put("a", bytes(data))
    chance = random.Random(3)
    with (box / "a").open("r+b", buffering=0) as file:
        for _ in range(20):
            offset, piece = chance.randrange(len(data)), chance.randbytes(chance.randrange(1, 9999))
            os.pwrite(file.fileno(), piece, offset)
            data[offset : offset + len(piece)] = piece
            assert os.pread(file.fileno(), 50, offset) == data[offset : offset + 50]
    assert box.get("a") == data
    assert (box / "a").read_bytes() == data


def test_writes_keep_the_inode(box):
    box.put("a", b"one")
    before = (box / "a").stat().st_ino
    (box / "a").write_bytes(b"two")
    assert (box / "a").stat().st_ino == before
    assert (box / "a").read_bytes() == b"two"


def test_a_reader_that_was_there_first_sees_local_writes(box):
    box.put("a", b"first")
    with (box / "a").open("rb", buffering=0) as reader:
        assert reader.read() == b"first"
        with (box / "a").open("r+b", buffering=0) as writer:
            writer.write(b"FIRST and more")
            reader.seek(0)
            assert reader.read() == b"FIRST and more"
            assert os.fstat(reader.fileno()).st_size == len(b"FIRST and more")
            os.ftruncate(writer.fileno(), 3)
            reader.seek(0)
            assert reader.read() == b"FIR"
            assert os.fstat(reader.fileno()).st_size == 3
            os.pwrite(writer.fileno(), b"FIRST and more", 0)
        reader.seek(0)
        assert reader.read() == b"FIRST and more"


def test_sparse_writes_leave_zeros(box):
    with (box / "sparse").open("wb", buffering=0) as file:
        os.pwrite(file.fileno(), b"end", 100_000)
    assert box.get("sparse") == b"\0" * 100_000 + b"end"


def test_truncate(box):
    box.put("a", b"0123456789")
    os.truncate(box / "a", 4)
    assert box.get("a") == b"0123"
    os.truncate(box / "a", 6)
    assert box.get("a") == b"0123\0\0"
    os.truncate(box / "a", 0)
    assert box.get("a") == b""
    with pytest.raises(OSError) as caught:
        os.truncate(box / "a", -1)
    assert caught.value.errno == errno.EINVAL


def test_ftruncate_and_o_trunc(box):
    box.put("a", b"0123456789")
    with (box / "a").open("r+b", buffering=0) as file:
        os.ftruncate(file.fileno(), 3)
        assert os.fstat(file.fileno()).st_size == 3
        assert box.get("a") == b"0123456789"
    assert box.get("a") == b"012"
    with (box / "a").open("wb"):
        pass
    assert box.get("a") == b""


def test_o_excl(box):
    box.put("a", b"1")
    with pytest.raises(FileExistsError):
        (box / "a").open("xb")
    with (box / "b").open("xb") as file:
        file.write(b"mine")
    assert box.get("b") == b"mine"


def test_o_excl_loses_to_whoever_was_first(box):
    descriptor = os.open(box / "lock", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    box.put("lock", b"theirs")
    with pytest.raises(FileExistsError):
        os.close(descriptor)
    assert box.get("lock") == b"theirs"
    assert (box / "lock").read_bytes() == b"theirs"


def test_fsync_publishes(box):
    with (box / "a").open("wb", buffering=0) as file:
        file.write(b"durable")
        os.fsync(file.fileno())
        assert box.get("a") == b"durable"
        file.write(b" and more")
    assert box.get("a") == b"durable and more"


def test_nothing_is_uploaded_when_nothing_changed(box):
    box.put("a", b"1")
    box.process.requests()
    with (box / "a").open("r+b") as file:
        assert file.read() == b"1"
    os.close(os.open(box / "a", os.O_WRONLY))
    assert "put" not in box.process.requests()


def test_one_upload_however_many_writes(box):
    box.process.requests()
    with (box / "a").open("wb", buffering=0) as file:
        for _ in range(20):
            file.write(b"x" * 1000)
    assert box.process.requests()["put"] == 1


def test_the_time_of_a_file_does_not_change_when_it_is_published(box):
    with (box / "a").open("wb", buffering=0) as file:
        file.write(b"1")
        written = os.fstat(file.fileno()).st_mtime_ns
    assert (box / "a").stat().st_mtime_ns == written
    box.put("b", b"evict nothing")
    assert (box / "a").stat().st_mtime_ns == written


def test_shared_mappings_are_written(box):
    box.put("mapped", b"x" * 10_000)
    with (box / "mapped").open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
        mapping[5000:5005] = b"HELLO"
        mapping.flush()
    assert box.get("mapped")[4999:5006] == b"xHELLOx"


def test_unlink_while_open(box):
    with (box / "a").open("w+b", buffering=0) as file:
        file.write(b"still here")
        os.unlink(box / "a")
        assert not (box / "a").exists()
        file.seek(0)
        assert file.read() == b"still here"
        file.write(b"!")
    assert box.listed() == []
    assert os.listdir(box.path) == []


def test_unlink_of_a_published_file_while_it_is_written(box):
    box.put("a", b"old")
    with (box / "a").open("r+b", buffering=0) as file:
        file.write(b"new")
        os.unlink(box / "a")
        assert box.listed() == []
    assert box.listed() == []


def test_the_last_close_wins(box):
    box.put("a", b"base")
    with (box / "a").open("r+b", buffering=0) as file:
        file.write(b"BASE")
        box.put("a", b"foreign")
        assert file.seek(0) == 0
        assert file.read() == b"BASE"
    assert box.get("a") == b"BASE"
    assert (box / "a").read_bytes() == b"BASE"


def test_a_foreign_version_after_close_is_seen(box):
    (box / "a").write_bytes(b"mine")
    assert (box / "a").read_bytes() == b"mine"
    box.put("a", b"theirs")
    assert (box / "a").read_bytes() == b"theirs"


def test_two_writers_share_a_file(box):
    first = os.open(box / "a", os.O_CREAT | os.O_RDWR)
    second = os.open(box / "a", os.O_RDWR)
    os.pwrite(first, b"11111", 0)
    os.pwrite(second, b"22", 2)
    assert os.pread(first, 10, 0) == b"11221"
    os.close(second)
    assert box.get("a") == b"11221"
    os.pwrite(first, b"3", 0)
    os.close(first)
    assert box.get("a") == b"31221"


def test_content_type_by_name(box):
    (box / "page.html").write_text("<p>")
    (box / "blob").write_text("?")
    assert box.head("page.html")["headers"]["content-type"] == "text/html"
    assert "content-type" not in box.head("blob")["headers"]


def test_headers_and_tags_survive_a_local_write(box):
    box.put("a", b"1", headers={"cache-control": "no-store"}, tags={"k": "v"})
    with (box / "a").open("ab") as file:
        file.write(b"2")
    assert box.head("a")["headers"] == {"cache-control": "no-store"}


def test_rsync_round_trip(box, tmp_path):
    source = tmp_path / "source"
    (source / "deep/er").mkdir(parents=True)
    for number in range(10):
        (source / f"deep/file-{number}").write_bytes(random.Random(number).randbytes(number * 999))
    (source / "deep/er/x.txt").write_text("x")
    subprocess.run(["cp", "-r", source, box / "tree"], check=True)
    subprocess.run(["diff", "-r", source, box / "tree"], check=True)
    assert len(box.listed()) == 11 + 3
    subprocess.run(["rm", "-r", box / "tree"], check=True)
    assert box.listed() == []
