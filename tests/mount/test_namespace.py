"""Making, removing and renaming names through a real mount."""

from __future__ import annotations

import base64
import errno
import os
import stat
import subprocess

import pytest

from tests.support.mount_process import MountProcess

pytestmark = pytest.mark.real


def errno_of(function, *arguments):
    with pytest.raises(OSError) as caught:
        function(*arguments)
    return caught.value.errno


def test_an_empty_directory_persists_as_a_marker(box):
    (box / "d").mkdir()
    assert box.listed() == ["d/"]
    assert box.head("d/")["size"] == 0
    assert os.listdir(box.path) == ["d"]
    assert os.listdir(box / "d") == []


def test_mkdir_over_something(box):
    box.put("file", b"1")
    box.put("dir/x", b"1")
    assert errno_of(os.mkdir, box / "file") == errno.EEXIST
    assert errno_of(os.mkdir, box / "dir") == errno.EEXIST
    assert errno_of(os.mkdir, box / "no/parent") == errno.ENOENT


def test_rmdir(box):
    (box / "d").mkdir()
    (box / "d/file").write_bytes(b"1")
    assert errno_of(os.rmdir, box / "d") == errno.ENOTEMPTY
    os.unlink(box / "d/file")
    os.rmdir(box / "d")
    assert box.listed() == []
    assert not (box / "d").exists()
    assert errno_of(os.rmdir, box / "d") == errno.ENOENT


def test_rmdir_of_an_implicit_directory(box):
    box.put("d/file", b"1")
    assert errno_of(os.rmdir, box / "d") == errno.ENOTEMPTY
    subprocess.run(["rm", "-r", box / "d"], check=True)
    assert box.listed() == []
    assert not (box / "d").exists()


def test_rmdir_while_a_file_in_it_is_being_written(box):
    (box / "d").mkdir()
    with (box / "d/new").open("wb"):
        assert errno_of(os.rmdir, box / "d") == errno.ENOTEMPTY


def test_rename_of_a_file(box):
    box.put("a", b"1", metadata={"colour": "red"})
    inode = (box / "a").stat().st_ino
    os.rename(box / "a", box / "b")
    assert box.listed() == ["b"]
    assert (box / "b").stat().st_ino == inode
    assert os.getxattr(box / "b", "user.colour") == b"red"
    assert not (box / "a").exists()
    assert (box / "b").read_bytes() == b"1"


def test_rename_over_a_file_that_is_open(box):
    box.put("a", b"new")
    box.put("b", b"old")
    with (box / "b").open("rb", buffering=0) as file:
        assert file.read() == b"old"
        os.rename(box / "a", box / "b")
        assert os.pread(file.fileno(), 10, 0) == b"old"
        assert (box / "b").read_bytes() == b"new"
    assert box.listed() == ["b"]


def test_rename_of_a_file_that_is_being_written(box):
    with (box / "a").open("wb", buffering=0) as file:
        file.write(b"one")
        os.rename(box / "a", box / "b")
        assert box.get("b") == b"one"
        file.write(b"two")
    assert box.get("b") == b"onetwo"
    assert box.listed() == ["b"]


def test_an_editor_saving_by_rename(box):
    box.put("doc", b"v1")
    for version in (b"v2", b"v3 longer"):
        (box / "doc.tmp").write_bytes(version)
        os.replace(box / "doc.tmp", box / "doc")
        assert (box / "doc").read_bytes() == version
        assert box.get("doc") == version
    assert box.listed() == ["doc"]


def test_rename_between_directories_and_buckets(box, mounted):
    box.put("d/a", b"1")
    (box / "e").mkdir()
    os.rename(box / "d/a", box / "e/a")
    assert box.listed() == ["e/", "e/a"]
    os.rename(box / "e/a", mounted.path / "other/moved")
    assert mounted.get("moved", "other") == b"1"


def test_rename_that_must_not_or_cannot(box, mounted):
    box.put("file", b"1")
    box.put("dir/x", b"1")
    assert errno_of(os.rename, box / "file", box / "dir") == errno.EISDIR
    assert errno_of(os.rename, box / "dir", box / "file") in {errno.ENOTDIR, errno.EXDEV}
    assert errno_of(os.rename, box / "dir", box / "moved") == errno.EXDEV
    assert errno_of(os.rename, box / "none", box / "moved") == errno.ENOENT
    assert errno_of(os.rename, box / "file", mounted.path / "bucket-not") == errno.EXDEV
    assert box.listed() == ["dir/x", "file"]


def test_rename_without_replacing(box):
    box.put("a", b"1")
    box.put("b", b"2")
    subprocess.run(["mv", "-n", box / "a", box / "b"], check=False)
    assert box.get("b") == b"2"


def test_mv_moves_a_directory_by_copying(box):
    box.put("d/one", b"1")
    box.put("d/sub/two", b"2")
    subprocess.run(["mv", box / "d", box / "moved"], check=True)
    assert [key for key in box.listed() if not key.endswith("/")] == ["moved/one", "moved/sub/two"]
    assert not (box / "d").exists()


def test_what_no_bucket_can_hold_is_refused(box):
    assert errno_of(os.symlink, "target", box / "link") == errno.EPERM
    assert errno_of(os.mkfifo, box / "fifo") == errno.EPERM
    box.put("file", b"1")
    assert errno_of(os.link, box / "file", box / "hard") == errno.EPERM
    assert box.listed() == ["file"]


def test_mknod_of_a_regular_file(box):
    os.mknod(box / "plain", stat.S_IFREG | 0o600)
    assert box.head("plain")["size"] == 0
    assert stat.S_IMODE((box / "plain").stat().st_mode) == 0o600


def test_names_and_keys_that_are_too_long(box):
    assert errno_of(os.mkdir, box / ("x" * 256)) == errno.ENAMETOOLONG
    deep = box.path
    for _ in range(4):
        deep = deep / ("y" * 250)
        deep.mkdir()
    assert errno_of(os.mkdir, deep / ("z" * 250)) == errno.ENAMETOOLONG
    assert errno_of((deep / ("z" * 250)).write_bytes, b"") == errno.ENAMETOOLONG


def test_directories_are_not_files(box):
    (box / "d").mkdir()
    assert errno_of((box / "d").read_bytes) == errno.EISDIR
    assert errno_of((box / "d").write_bytes, b"") == errno.EISDIR
    assert errno_of(os.unlink, box / "d") == errno.EISDIR
    box.put("file", b"1")
    assert errno_of(os.rmdir, box / "file") == errno.ENOTDIR


def test_the_root_holds_buckets_only(mounted):
    assert errno_of((mounted.path / "file").write_bytes, b"") == errno.EPERM
    assert errno_of(os.mkdir, mounted.path / "NOT_A_BUCKET") == errno.EINVAL
    os.mkdir(mounted.path / "made-here")
    assert mounted.listed("made-here") == []
    (mounted.path / "made-here/file").write_bytes(b"1")
    assert errno_of(os.rmdir, mounted.path / "made-here") == errno.ENOTEMPTY
    os.unlink(mounted.path / "made-here/file")
    os.rmdir(mounted.path / "made-here")
    assert not (mounted.path / "made-here").exists()


def test_the_current_directory_survives_changes_elsewhere(box):
    box.put("d/one", b"1")
    box.put("d/two", b"2")
    shell = subprocess.Popen(
        ["sh", "-c", "read line; pwd -P; cat one"],
        cwd=box / "d",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    box.delete("d/two")
    box.put("d/one", b"new")
    output, _ = shell.communicate(b"\n")
    assert output.decode() == f"{box / 'd'}\nnew"


def test_listing_ten_thousand_files_is_ten_requests_and_no_heads(box):
    names = [f"file-{number:05}" for number in range(10_000)]
    box.process.call("foreign_put_many", bucket="data", keys=[box.prefix + name for name in names])
    box.process.requests()
    lines = subprocess.check_output(["ls", "-l", "--time-style=+", box.path]).splitlines()
    requests = box.process.requests()
    assert len(lines) == 10_001
    assert requests.get("head", 0) == 0
    assert requests["list_objects"] <= 12
    assert sorted(os.listdir(box.path)) == names


def test_a_listing_that_takes_long_asks_for_no_file_either(tmp_path):
    """Grace 0 makes any time too long."""
    with MountProcess(tmp_path, freshness_s=0, mount={"grace_s": 0}) as process:
        keys = [
            f"d/{kind}-{number:04}{rest}"
            for number in range(500)
            for kind, rest in (("file", ""), ("sub", "/file"))
        ]
        process.call("foreign_put_many", bucket="data", keys=keys)
        process.requests()
        directory = os.open(process.path / "data/d", os.O_DIRECTORY)
        process.requests()
        with os.scandir(directory) as entries:
            files = [entry for entry in entries if entry.name.startswith("file")]
            sizes = [entry.stat().st_size for entry in files]
            assert len(sizes) == 500
            assert process.requests() == {"list_objects": 1}
            # What is opened is asked for all the same.
            data = b"replaced"
            process.call(
                "foreign_put",
                bucket="data",
                key="d/file-0001",
                data=base64.b64encode(data).decode(),
            )
            file = os.open("file-0001", os.O_RDONLY, dir_fd=directory)
            assert os.read(file, 100) == data
            os.close(file)
        os.close(directory)
        process.requests()
        assert (process.path / "data/d/file-0002").stat().st_size == sizes[2]
        assert process.requests()["head"] >= 1


def test_a_listing_survives_changes_while_it_is_read(box):
    names = {f"{number:04}" for number in range(1500)}
    box.process.call("foreign_put_many", bucket="data", keys=[box.prefix + name for name in names])
    seen = []
    with os.scandir(box.path) as entries:
        for entry in entries:
            seen.append(entry.name)
            if len(seen) % 100 == 50 and len(seen) < 1500:
                os.unlink(box / f"{len(seen):04}")
                (box / f"new-{len(seen)}").touch()
    old = [name for name in seen if not name.startswith("new-")]
    assert len(old) == len(set(old))
    assert names - set(old) <= {f"{number:04}" for number in range(50, 1500, 100)}
