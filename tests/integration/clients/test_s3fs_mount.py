"""Debian's s3fs: a bucket of the node, mounted by somebody else's FUSE daemon."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from tests.support.clients import MIB, noise
from tests.support.node import ACCESS_KEY, SECRET_KEY
from tests.support.processes import Server

pytestmark = pytest.mark.real

BUCKET = "s3fs-mount"


@pytest.fixture
def mounted(near, tmp_path):
    near.s3.create_bucket(Bucket=BUCKET)
    passwords = tmp_path / "passwd"
    passwords.touch(0o600)
    passwords.write_text(f"{ACCESS_KEY}:{SECRET_KEY}")
    mount = tmp_path / "mount"
    mount.mkdir()
    options = f"url={near.endpoint},passwd_file={passwords},use_path_request_style,multipart_size=5"
    server = Server(["s3fs", BUCKET, str(mount), "-f", "-o", options], tmp_path / "log")
    try:
        server.wait_until(mount.is_mount, "mount of s3fs")
        yield mount
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=False)
        server.stop()


def test_s3fs_makes_its_round_trip(near, mounted):
    big = noise(12 * MIB)
    (mounted / "dir").mkdir()
    (mounted / "dir" / "big").write_bytes(big)
    (mounted / "dir" / "small").write_bytes(b"0123456789")
    assert near.get(BUCKET, "dir/big") == big
    assert sorted(os.listdir(mounted / "dir")) == ["big", "small"]
    near.put(BUCKET, "dir/from-s3", b"from S3")
    assert (mounted / "dir" / "from-s3").read_bytes() == b"from S3"
    with (mounted / "dir" / "big").open("rb") as file:
        file.seek(5 * MIB - 2)
        assert file.read(4) == big[5 * MIB - 2 : 5 * MIB + 2]
    # s3fs renames by copy, of large files in parts.
    (mounted / "dir" / "big").rename(mounted / "moved")
    assert near.get(BUCKET, "moved") == big
    with (mounted / "dir" / "small").open("ab") as file:
        file.write(b"more")
    assert near.get(BUCKET, "dir/small") == b"0123456789more"
    (mounted / "moved").chmod(0o640)
    assert near.s3.head_object(Bucket=BUCKET, Key="moved")["Metadata"]["mode"] == str(0o100640)
    shutil.rmtree(mounted / "dir")
    (mounted / "moved").unlink()
    assert near.keys(BUCKET) == []
