"""Attributes and extended attributes through a real mount."""

from __future__ import annotations

import errno
import os
import stat
import subprocess

import pytest

pytestmark = pytest.mark.real


def errno_of(function, *arguments):
    with pytest.raises(OSError) as caught:
        function(*arguments)
    return caught.value.errno


def test_defaults(box):
    box.put("a", b"1")
    facts = (box / "a").stat()
    assert (stat.S_IMODE(facts.st_mode), facts.st_uid, facts.st_gid) == (
        0o644,
        os.getuid(),
        os.getgid(),
    )
    assert stat.S_IMODE(box.path.stat().st_mode) == 0o755


def test_plain_files_carry_nothing_but_their_time(box):
    (box / "a").write_bytes(b"1")
    assert list(box.head("a")["metadata"]) == ["mtime"]


def test_metadata_of_s3fs_and_rclone_is_shown(box):
    box.put("s3fs", b"1", metadata={"mode": "33188", "uid": "7", "gid": "8", "mtime": "1600000000"})
    box.put("rclone", b"1", metadata={"mode": "100600", "mtime": "1600000000.123456789"})
    facts = (box / "s3fs").stat()
    assert (stat.S_IMODE(facts.st_mode), facts.st_uid, facts.st_gid, facts.st_mtime) == (
        0o644,
        7,
        8,
        1.6e9,
    )
    facts = (box / "rclone").stat()
    assert (stat.S_IMODE(facts.st_mode), facts.st_mtime_ns) == (0o600, 1600000000123456789)


def test_chmod_chown_utime(box):
    box.put("a", b"1", metadata={"colour": "red"}, headers={"cache-control": "no-store"})
    os.chmod(box / "a", 0o640)
    os.chown(box / "a", 12, 34)
    os.utime(box / "a", ns=(1, 1500000000_000000001))
    facts = (box / "a").stat()
    assert (stat.S_IMODE(facts.st_mode), facts.st_uid, facts.st_gid) == (0o640, 12, 34)
    assert facts.st_mtime_ns == 1500000000_000000001
    head = box.head("a")
    assert head["metadata"] == {
        "colour": "red",
        "mode": "0100640",
        "uid": "12",
        "gid": "34",
        "mtime": "1500000000.000000001",
    }
    assert head["headers"] == {"cache-control": "no-store"}
    assert (box / "a").read_bytes() == b"1"


def test_chmod_does_not_make_a_file_look_newer(box):
    box.put("a", b"1")
    before = (box / "a").stat().st_mtime_ns
    os.chmod(box / "a", 0o600)
    assert (box / "a").stat().st_mtime_ns == before


def test_mode_and_times_set_before_close_cost_no_further_upload(box):
    box.process.requests()
    with (box / "a").open("wb") as file:
        file.write(b"1")
        file.flush()
        os.fchmod(file.fileno(), 0o600)
        os.utime(file.fileno(), ns=(0, 1600000000_500000000))
    counts = box.process.requests()
    assert (counts["put"], counts.get("copy", 0)) == (1, 0)
    assert box.head("a")["metadata"] == {"mode": "0100600", "mtime": "1600000000.5"}


def test_cp_and_tar_keep_what_they_should(box, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "script").write_text("#!/bin/sh\necho ran\n")
    os.chmod(source / "script", 0o755)  # noqa: S103  # a script is to be run
    os.utime(source / "script", ns=(0, 1555555555_000000000))
    subprocess.run(["cp", "-a", source, box / "copy"], check=True)
    subprocess.run(f"tar -C {source} -c . | tar -C {box.path} -x", shell=True, check=True)  # noqa: S602
    for path in (box / "copy/script", box / "script"):
        facts = path.stat()
        assert (stat.S_IMODE(facts.st_mode), facts.st_mtime) == (0o755, 1555555555)
        assert subprocess.check_output([path]) == b"ran\n"


def test_the_mode_of_a_new_file_and_directory(box):
    os.close(os.open(box / "a", os.O_CREAT | os.O_WRONLY, 0o600))
    os.mkdir(box / "d", 0o700)
    assert stat.S_IMODE((box / "a").stat().st_mode) == 0o600
    assert stat.S_IMODE((box / "d").stat().st_mode) == 0o700
    assert box.head("a")["metadata"]["mode"] == "0100600"
    assert box.head("d/")["metadata"]["mode"] == "040700"
    os.chmod(box / "d", 0o500)
    assert stat.S_IMODE((box / "d").stat().st_mode) == 0o500


def test_xattrs_are_user_metadata(box):
    box.put("a", b"1", metadata={"colour": "red"})
    assert os.listxattr(box / "a") == ["user.colour"]
    assert os.getxattr(box / "a", "user.colour") == b"red"
    os.setxattr(box / "a", "user.shape", b"round")
    os.setxattr(box / "a", "user.colour", "grün".encode())
    os.removexattr(box / "a", "user.shape")
    assert box.head("a")["metadata"]["colour"] == "grün"
    assert os.listxattr(box / "a") == ["user.colour"]
    assert (box / "a").read_bytes() == b"1"


def test_xattrs_that_cannot_be_kept_are_refused(box):
    box.put("a", b"1")
    assert errno_of(os.getxattr, box / "a", "user.none") == errno.ENODATA
    assert errno_of(os.removexattr, box / "a", "user.none") == errno.ENODATA
    assert errno_of(os.setxattr, box / "a", "user.UPPER", b"1") == errno.EOPNOTSUPP
    assert errno_of(os.setxattr, box / "a", "trusted.x", b"1") == errno.EOPNOTSUPP
    assert errno_of(os.setxattr, box / "a", "user.mode", b"1") == errno.EOPNOTSUPP
    assert errno_of(os.setxattr, box / "a", "user.x", b"\xff\x00") == errno.EINVAL
    assert errno_of(os.setxattr, box / "a", "user.x", b"x" * 4000) == errno.E2BIG
    os.setxattr(box / "a", "user.x", b"1", os.XATTR_CREATE)
    assert errno_of(os.setxattr, box / "a", "user.x", b"1", os.XATTR_CREATE) == errno.EEXIST
    assert errno_of(os.setxattr, box / "a", "user.y", b"1", os.XATTR_REPLACE) == errno.ENODATA


def test_metadata_changed_elsewhere_is_seen(box):
    box.put("a", b"1", metadata={"colour": "red"})
    assert os.getxattr(box / "a", "user.colour") == b"red"
    box.put("a", b"1", metadata={"colour": "blue"})
    assert os.getxattr(box / "a", "user.colour") == b"blue"


def test_a_bucket_has_no_mode_but_a_time(mounted):
    bucket = mounted.path / "data"
    assert errno_of(os.chmod, bucket, 0o700) == errno.EPERM
    os.utime(bucket, ns=(0, 1500000000_000000000))
    assert errno_of(os.setxattr, bucket, "user.x", b"1") == errno.EOPNOTSUPP


def test_statfs_has_room(box):
    facts = os.statvfs(box.path)
    assert facts.f_bavail * facts.f_frsize > 1 << 40
    assert facts.f_namemax == 255
