"""Versions: through real processes, real clients and real mounts."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from tests.support.node import Node

pytestmark = pytest.mark.real

MIB = 1 << 20


def keep_versions(node: Node, bucket: str) -> None:
    node.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})


def put(node: Node, bucket: str, key: str, body: bytes) -> str:
    return node.s3.put_object(Bucket=bucket, Key=key, Body=body)["VersionId"]


def get(node: Node, bucket: str, key: str, version_id: str) -> bytes:
    return node.s3.get_object(Bucket=bucket, Key=key, VersionId=version_id)["Body"].read()


def test_where_a_bucket_keeps_versions_an_overwritten_or_deleted_object_can_be_had_by_its_version_id(
    posix, far
):
    for node, bucket in ((posix, "demo"), (far.node, far.bucket)):
        keep_versions(node, bucket)
        bodies = [b"one", b"two" * MIB, b"three"]
        ids = [put(node, bucket, "dir/k", body) for body in bodies]
        node.s3.delete_object(Bucket=bucket, Key="dir/k")
        assert [get(node, bucket, "dir/k", version_id) for version_id in ids] == bodies
        with pytest.raises(ClientError, match="NoSuchKey"):
            node.get(bucket, "dir/k")


def test_without_a_version_id_s3_and_the_mount_see_the_current_version(posix, far):
    for node, bucket in ((posix, "demo"), (far.node, far.bucket)):
        keep_versions(node, bucket)
        path = node.mount / bucket / "k"
        for body in (b"one", b"two two"):
            put(node, bucket, "k", body)
            assert (node.get(bucket, "k"), path.read_bytes()) == (body, body)
        path.write_bytes(b"by the mount")
        assert node.get(bucket, "k") == b"by the mount"
        listed = node.s3.list_object_versions(Bucket=bucket)["Versions"]
        assert {line["Size"] for line in listed} >= {3, 7, 12}
        path.unlink()
        assert [entry.name for entry in (node.mount / bucket).iterdir()] == []
        with pytest.raises(ClientError, match="NoSuchKey"):
            node.get(bucket, "k")


def test_when_the_current_version_or_a_delete_marker_is_deleted_by_its_id_the_next_newest_is_current_at_once(
    posix, far
):
    for node, bucket in ((posix, "demo"), (far.node, far.bucket)):
        keep_versions(node, bucket)
        put(node, bucket, "k", b"one")
        newest = put(node, bucket, "k", b"two")
        assert get(node, bucket, "k", newest) == b"two"
        node.s3.delete_object(Bucket=bucket, Key="k", VersionId=newest)
        assert node.get(bucket, "k") == b"one"
        assert (node.mount / bucket / "k").read_bytes() == b"one"
        with pytest.raises(ClientError, match="NoSuchVersion"):
            get(node, bucket, "k", newest)
        marker = node.s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
        assert not (node.mount / bucket / "k").exists()
        node.s3.delete_object(Bucket=bucket, Key="k", VersionId=marker)
        assert node.get(bucket, "k") == b"one"
        assert (node.mount / bucket / "k").read_bytes() == b"one"


def test_old_versions_survive_kill_9(posix):
    keep_versions(posix, "demo")
    ids = [put(posix, "demo", "k", b"%d" % number) for number in range(5)]
    posix.kill()
    posix.start()
    assert [get(posix, "demo", "k", version_id) for version_id in ids] == [
        b"0",
        b"1",
        b"2",
        b"3",
        b"4",
    ]
    assert posix.get("demo", "k") == b"4"


def test_an_old_version_that_was_read_is_a_hit(far):
    keep_versions(far.node, far.bucket)
    old = put(far.node, far.bucket, "k", b"old" * MIB)
    put(far.node, far.bucket, "k", b"new")
    assert get(far.node, far.bucket, "k", old) == b"old" * MIB
    far.proxy.forget()
    assert get(far.node, far.bucket, "k", old) == b"old" * MIB
    assert far.proxy.requests == []


def test_what_programs_do_to_the_files_of_a_posix_backend_does_not_change_old_versions(
    posix, tmp_path
):
    keep_versions(posix, "demo")
    old = put(posix, "demo", "k", b"old version")
    file = tmp_path / "buckets" / "demo" / "k"
    with file.open("r+b") as opened:
        put(posix, "demo", "k", b"new version")
        opened.write(b"FOREIGN")
        opened.flush()
        file.write_bytes(b"FOREIGN, too")
        assert get(posix, "demo", "k", old) == b"old version"
    assert posix.get("demo", "k") == b"FOREIGN, too"
    file.unlink()
    assert get(posix, "demo", "k", old) == b"old version"
