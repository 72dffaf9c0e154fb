"""What S3 clients wrote, read through a real mount."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import threading

import pytest

pytestmark = pytest.mark.real


def read_or_errno(descriptor, length, offset):
    try:
        return os.pread(descriptor, length, offset)
    except OSError as error:
        return error.errno


def test_what_s3_put_is_read_at_once(box):
    box.put("a", b"hello")
    assert subprocess.check_output(["cat", box / "a"]) == b"hello"


def test_an_empty_object_is_an_empty_file(box):
    box.put("empty", b"")
    assert (box / "empty").read_bytes() == b""
    assert (box / "empty").stat().st_size == 0


def test_a_negative_lookup_is_forgotten_when_the_object_arrives(box):
    assert not (box / "late").exists()
    assert not (box / "late").exists()
    box.put("late", b"1")
    assert (box / "late").read_bytes() == b"1"


def test_a_negative_lookup_of_a_directory_is_forgotten_when_something_arrives_in_it(box):
    assert not (box / "d/e/f").exists()
    assert not (box / "d").exists()
    box.put("d/e/f", b"1")
    assert (box / "d/e/f").read_bytes() == b"1"
    assert os.listdir(box / "d") == ["e"]


def test_a_new_version_has_a_new_inode_size_and_content(box):
    box.put("a", b"one")
    before = (box / "a").stat()
    box.put("a", b"second")
    after = (box / "a").stat()
    assert (before.st_size, after.st_size) == (3, 6)
    assert before.st_ino != after.st_ino
    assert (box / "a").read_bytes() == b"second"


def test_a_reader_keeps_the_version_it_opened(box):
    old, new = b"o" * 300_000, b"n" * 400_000
    box.put("a", old)
    with (box / "a").open("rb", buffering=0) as file:
        assert file.read() == old
        box.put("a", new)
        assert os.fstat(file.fileno()).st_size == len(old)
        assert (box / "a").read_bytes() == new
        assert os.pread(file.fileno(), len(new), 0) == old


def test_a_reader_never_gets_bytes_of_a_version_it_did_not_open(box):
    old, new = b"o" * 5_000_000, b"n" * 5_000_000
    box.put("a", old)
    with (box / "a").open("rb", buffering=0) as file:
        assert file.read(10) == old[:10]
        box.put("a", new)
        # Bytes that nobody read before the version went may be had no more: then ESTALE, never other bytes.
        assert read_or_errno(file.fileno(), 100_000, 4_000_000) in {old[:100_000], errno.ESTALE}


def test_a_deleted_object_is_gone_at_once(box):
    box.put("a", b"1")
    assert (box / "a").exists()
    box.delete("a")
    with pytest.raises(FileNotFoundError):
        (box / "a").stat()


def test_an_implicit_directory_exists_while_it_has_children(box):
    box.put("d/one", b"1")
    box.put("d/two", b"2")
    assert sorted(os.listdir(box / "d")) == ["one", "two"]
    box.delete("d/one")
    assert (box / "d").is_dir()
    box.delete("d/two")
    assert not (box / "d").exists()
    assert os.listdir(box.path) == []


def test_random_reads_of_a_large_file(box):
    data = random.Random(1).randbytes(3_000_001)
    box.put("large", data)
    chance = random.Random(2)
    with (box / "large").open("rb", buffering=0) as file:
        for _ in range(60):
            offset, length = chance.randrange(len(data) + 10), chance.randrange(1, 200_000)
            assert os.pread(file.fileno(), length, offset) == data[offset : offset + length]
    assert (box / "large").read_bytes() == data


def test_direct_reads(box):
    data = random.Random(3).randbytes(2_500_000)
    box.put("direct", data)
    assert (
        subprocess.check_output(
            ["dd", f"if={box / 'direct'}", "iflag=direct", "bs=1M", "status=none"]
        )
        == data
    )


def test_a_repeated_read_comes_from_the_kernel(box):
    box.put("hot", b"x" * 100_000)
    assert (box / "hot").read_bytes() == b"x" * 100_000
    before = box.process.call("statistics")
    box.process.requests()
    for _ in range(5):
        assert (box / "hot").read_bytes() == b"x" * 100_000
    after = box.process.call("statistics")
    reads = ("inline_reads_total", "thread_reads_total")
    assert [after[name] for name in reads] == [before[name] for name in reads]
    assert box.process.requests().get("read", 0) == 0


def test_mapped_reads(box):
    import mmap

    data = random.Random(4).randbytes(1_000_000)
    box.put("mapped", data)
    with (
        (box / "mapped").open("rb") as file,
        mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapping,
    ):
        assert mapping[:] == data


def test_many_readers_at_once(box):
    data = random.Random(5).randbytes(1_500_000)
    box.put("shared", data)
    results = []

    def read() -> None:
        results.append((box / "shared").read_bytes() == data)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 8


def test_a_file_hidden_by_a_directory(box):
    box.put("both", b"file")
    assert (box / "both").is_file()
    box.put("both/inside", b"1")
    assert (box / "both").is_dir()
    assert os.listdir(box.path) == ["both"]
    box.delete("both/inside")
    assert (box / "both").read_bytes() == b"file"


def test_keys_that_no_filesystem_can_name_are_not_shown(box):
    box.put("ok", b"1")
    for key in ("/slash", "./dot", "../dots", "x" * 300):
        box.put(key, b"hidden")
    assert os.listdir(box.path) == ["ok"]


def test_names_of_any_bytes(box):
    names = ["ü", "a b", "%20", "-", "日本", "x" * 255, "\udcff\udcfe", "new\nline", "*?[", "~"]
    for name in names:
        (box / name).write_bytes(name.encode("utf-8", "surrogateescape"))
    assert sorted(os.listdir(box.path)) == sorted(names)
    for name in names:
        assert box.get(name) == name.encode("utf-8", "surrogateescape")
        assert (box / name).read_bytes() == box.get(name)


def test_opening_what_is_not_there(box):
    for path in (box / "nothing", box / "no/such/place"):
        with pytest.raises(OSError) as caught:
            path.open("rb")
        assert caught.value.errno == errno.ENOENT


def test_a_file_is_not_a_directory(box):
    box.put("file", b"1")
    with pytest.raises(NotADirectoryError):
        os.listdir(box / "file")
    with pytest.raises(NotADirectoryError):
        (box / "file/below").stat()


def test_buckets_are_directories(mounted):
    assert sorted(os.listdir(mounted.path)) == ["data", "other"]
    assert not (mounted.path / "nobucket").exists()
    assert not (mounted.path / ".git").exists()


def test_a_bucket_made_elsewhere_appears(mounted):
    assert not (mounted.path / "fresh-bucket").exists()
    mounted.call("create_bucket", bucket="fresh-bucket")
    assert (mounted.path / "fresh-bucket").is_dir()
    os.rmdir(mounted.path / "fresh-bucket")
    assert not (mounted.path / "fresh-bucket").exists()


def test_opening_many_cold_files_is_one_request_each(box):
    names = [f"file-{number:03}" for number in range(100)]
    box.process.call("foreign_put_many", bucket="data", keys=[box.prefix + name for name in names])
    box.process.requests()
    for name in names:
        assert (box / name).read_bytes() == (box.prefix + name).encode()
    counts = box.process.requests()
    opened = counts.get("read", 0) + counts.get("open_local", 0) + counts["head"]
    assert opened <= len(names) * 2
    assert counts["list_objects"] <= 3
    if "read" in counts:
        # The first two names are asked for before the directory is listed.
        assert counts["head"] <= 2
        assert counts["read"] == len(names)
