"""`appliance accounts` on a node's data directory, and a client for the account that it made."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.support.node import APPLIANCE, Node


def accounts(node: Node, *arguments: str, **environment: str) -> dict[str, Any]:
    """What the command answers. It must succeed."""
    done = subprocess.run(
        [str(APPLIANCE), "accounts", *arguments, "--json", "--data", str(node.data)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", **environment},
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def client(node: Node, issued: dict[str, Any]) -> Any:
    """S3 with the key that was issued."""
    return boto3.client(
        "s3",
        endpoint_url=node.endpoint,
        region_name="us-east-1",
        aws_access_key_id=issued["access_key"],
        aws_secret_access_key=issued["secret_key"],
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )


def code(s3: Any) -> str:
    """What ListBuckets answers: "" or an error's code."""
    try:
        s3.list_buckets()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""
