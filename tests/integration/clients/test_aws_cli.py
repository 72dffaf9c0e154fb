"""aws-cli: the tool most people's scripts are made of. Its presigned URLs carry Signature Version 2, as those of boto3 do by default."""

from __future__ import annotations

import json

import pytest

from tests.support.clients import BIN, MIB, attempt, fetch, noise, run

pytestmark = pytest.mark.real

FILES = {
    "small.txt": 10,
    "dir/large.bin": 20 * MIB,
    "dir/ünï code + &.txt": 100,
    "empty": 0,
}


@pytest.fixture
def aws(near, tmp_path):
    def command(*arguments: str) -> str:
        return run(str(BIN / "aws"), "--endpoint-url", near.endpoint, *arguments, cwd=tmp_path)

    return command


def test_aws_cli_makes_its_round_trip(near, aws, tmp_path):
    tree = tmp_path / "tree"
    for name, size in FILES.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(noise(size, size))
    aws("s3", "mb", "s3://aws-cli")
    # Larger than the client's threshold of 8 MiB: uploaded, copied and fetched in parts.
    aws("s3", "sync", "tree", "s3://aws-cli/tree", "--no-progress")
    assert aws("s3", "sync", "tree", "s3://aws-cli/tree", "--no-progress") == ""
    listed = aws("s3", "ls", "s3://aws-cli", "--recursive").splitlines()
    assert sorted(line.split(maxsplit=3)[2:] for line in listed) == sorted(
        [str(size), f"tree/{name}"] for name, size in FILES.items()
    )
    aws("s3", "sync", "s3://aws-cli/tree", "back", "--no-progress")
    for name in FILES:
        assert (tmp_path / "back" / name).read_bytes() == (tree / name).read_bytes()
    aws("s3", "mv", "s3://aws-cli/tree/dir/large.bin", "s3://aws-cli/moved", "--no-progress")
    where = ("--bucket", "aws-cli", "--key", "moved")
    part = aws("s3api", "get-object", *where, "--range", "bytes=5-9", "part")
    assert json.loads(part)["ContentRange"] == f"bytes 5-9/{20 * MIB}"
    assert (tmp_path / "part").read_bytes() == noise(20 * MIB, 20 * MIB)[5:10]
    url = aws("s3", "presign", "s3://aws-cli/tree/small.txt").strip()
    assert fetch(url) == (200, noise(10, 10))
    aws("s3", "rb", "s3://aws-cli", "--force")
    missing = attempt(
        str(BIN / "aws"), "--endpoint-url", near.endpoint, "s3", "ls", "s3://aws-cli", cwd=tmp_path
    )
    assert missing.returncode != 0
    assert "NoSuchBucket" in missing.stderr
