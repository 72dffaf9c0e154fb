"""Programs that others wrote, against a real node: aws-cli and rclone; and a node whose upstream is another node."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.node import ACCESS_KEY, SECRET_KEY, Node

pytestmark = pytest.mark.real

BIN = Path(sys.executable).parent
MIB = 1 << 20
KEYS = {
    "AWS_ACCESS_KEY_ID": ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "AWS_DEFAULT_REGION": "us-east-1",
}


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture
def near(tmp_path):
    (tmp_path / "buckets" / "demo").mkdir(parents=True)
    with contextlib.closing(Node(tmp_path / "near", f"posix://{tmp_path}/buckets")) as node:
        yield node


def run(*command: str, cwd: Path, **environment: str) -> str:
    """Standard output of a client that must succeed."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        timeout=120,
        env={**os.environ, **KEYS, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_aws_cli_makes_its_round_trip(near, tmp_path):
    def aws(*arguments: str) -> str:
        return run(str(BIN / "aws"), "--endpoint-url", near.endpoint, *arguments, cwd=tmp_path)

    tree = tmp_path / "tree"
    for name, size in (
        ("small.txt", 10),
        ("dir/large.bin", 20 * MIB),
        ("dir/ünï code.txt", 100),
        ("empty", 0),
    ):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(noise(size, size))
    aws("s3", "mb", "s3://cli-bucket")
    aws("s3", "sync", "tree", "s3://cli-bucket/tree", "--no-progress")
    assert aws("s3", "sync", "tree", "s3://cli-bucket/tree", "--no-progress") == ""
    listed = aws("s3", "ls", "s3://cli-bucket", "--recursive").splitlines()
    assert [line.split(maxsplit=3)[2:] for line in listed] == [
        [str(20 * MIB), "tree/dir/large.bin"],
        ["100", "tree/dir/ünï code.txt"],
        ["0", "tree/empty"],
        ["10", "tree/small.txt"],
    ]
    aws("s3", "sync", "s3://cli-bucket/tree", "back", "--no-progress")
    for file in tree.rglob("*"):
        assert (
            file.is_dir()
            or (tmp_path / "back" / file.relative_to(tree)).read_bytes() == file.read_bytes()
        )
    aws("s3", "mv", "s3://cli-bucket/tree/dir/large.bin", "s3://cli-bucket/moved", "--no-progress")
    part = aws(
        "s3api",
        "get-object",
        "--bucket",
        "cli-bucket",
        "--key",
        "moved",
        "--range",
        "bytes=5-9",
        "part",
    )
    assert json.loads(part)["ContentRange"] == f"bytes 5-9/{20 * MIB}"
    assert (tmp_path / "part").read_bytes() == noise(20 * MIB, 20 * MIB)[5:10]
    attributes = aws("s3api", "head-object", "--bucket", "cli-bucket", "--key", "moved")
    assert json.loads(attributes)["ContentLength"] == 20 * MIB
    aws("s3", "rb", "s3://cli-bucket", "--force")
    assert "cli-bucket" not in aws("s3", "ls")


def test_a_presigned_url_works_until_it_is_changed(near):
    near.put("demo", "x", b"presigned")
    url = near.s3.generate_presigned_url("get_object", {"Bucket": "demo", "Key": "x"}, ExpiresIn=60)
    assert fetch(near, url) == (200, b"presigned")
    status, answer = fetch(near, url.replace("/x?", "/y?"))
    assert status == 403
    assert b"SignatureDoesNotMatch" in answer


def fetch(node: Node, url: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", url.removeprefix(node.endpoint))
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_rclone_copies_and_checks(near, tmp_path):
    tree = tmp_path / "tree"
    for number in range(20):
        (tree / f"d{number % 3}").mkdir(parents=True, exist_ok=True)
        (tree / f"d{number % 3}" / f"f{number}").write_bytes(noise(number * 1000, number))
    (tree / "big").write_bytes(noise(12 * MIB))
    remote = {
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_CONFIG_NODE_TYPE": "s3",
        "RCLONE_CONFIG_NODE_PROVIDER": "Other",
        "RCLONE_CONFIG_NODE_ENDPOINT": near.endpoint,
        "RCLONE_CONFIG_NODE_ACCESS_KEY_ID": ACCESS_KEY,
        "RCLONE_CONFIG_NODE_SECRET_ACCESS_KEY": SECRET_KEY,
        "RCLONE_CONFIG_NODE_REGION": "us-east-1",
    }
    rclone = str(BIN / "rclone")
    run(
        rclone, "copy", "tree", "node:demo/tree", "--s3-upload-cutoff", "8M", cwd=tmp_path, **remote
    )
    run(rclone, "check", "tree", "node:demo/tree", cwd=tmp_path, **remote)
    run(rclone, "copy", "node:demo/tree", "back", cwd=tmp_path, **remote)
    run(rclone, "check", "tree", "back", "--download", cwd=tmp_path, **remote)
    run(rclone, "purge", "node:demo/tree", cwd=tmp_path, **remote)
    assert near.keys("demo") == []


def test_a_node_can_be_the_upstream_of_another(near, tmp_path):
    url = f"s3://?endpoint_url={near.endpoint}&region=us-east-1"
    with contextlib.closing(Node(tmp_path / "second", url, mount=True, environment=KEYS)) as second:
        body = noise(6 * MIB)
        etag = second.put(
            "demo", "through", body, Metadata={"colour": "blue"}, ContentType="text/x-test"
        )
        assert etag == hashlib.md5(body).hexdigest()
        for node in (near, second):
            answer = node.s3.get_object(Bucket="demo", Key="through")
            assert answer["Body"].read() == body
            assert answer["Metadata"] == {"colour": "blue"}
            assert answer["ContentType"] == "text/x-test"
            assert answer["ETag"] == f'"{etag}"'
        near.put("demo", "from-below", b"below")
        assert (second.mount / "demo" / "from-below").read_bytes() == b"below"
        (second.mount / "demo" / "from-above").write_bytes(b"above")
        assert near.get("demo", "from-above") == b"above"
        upload = second.s3.create_multipart_upload(Bucket="demo", Key="parts")["UploadId"]
        parts = [
            {
                "PartNumber": number,
                "ETag": second.s3.upload_part(
                    Bucket="demo",
                    Key="parts",
                    UploadId=upload,
                    PartNumber=number,
                    Body=noise(5 * MIB, number),
                )["ETag"],
            }
            for number in (1, 2)
        ]
        second.s3.complete_multipart_upload(
            Bucket="demo", Key="parts", UploadId=upload, MultipartUpload={"Parts": parts}
        )
        assert near.get("demo", "parts") == noise(5 * MIB, 1) + noise(5 * MIB, 2)
        second.s3.put_object_tagging(
            Bucket="demo", Key="through", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}
        )
        assert near.s3.get_object_tagging(Bucket="demo", Key="through")["TagSet"] == [
            {"Key": "a", "Value": "b"}
        ]
        with pytest.raises(second.s3.exceptions.ClientError, match="PreconditionFailed"):
            second.put("demo", "through", b"x", IfNoneMatch="*")
        second.s3.delete_objects(
            Bucket="demo", Delete={"Objects": [{"Key": key} for key in near.keys("demo")]}
        )
        assert near.keys("demo") == []
        assert os.listdir(second.mount / "demo") == []
