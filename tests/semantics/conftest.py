"""Nodes for the promises: over a POSIX directory, and over a real S3 server behind a proxy that counts and misbehaves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest

from tests.support.ceph import Ceph
from tests.support.node import Node
from tests.support.proxy import Proxy, proxied


@pytest.fixture
def posix(tmp_path: Path) -> Iterator[Node]:
    """A node with a mount over `tmp_path`/buckets, which has the bucket "demo"."""
    (tmp_path / "buckets" / "demo").mkdir(parents=True)
    node = Node(tmp_path / "near", f"posix://{tmp_path}/buckets", mount=True)
    with contextlib.closing(node):
        yield node


@dataclass
class Far:
    """A node in front of an S3 server, the proxy between them, and a client that goes straight to the server."""

    node: Node
    proxy: Proxy
    straight: object
    bucket: str

    def put_straight(self, key: str, body: bytes) -> None:
        self.straight.put_object(Bucket=self.bucket, Key=key, Body=body)


@pytest.fixture
def far(tmp_path: Path, ceph: Ceph) -> Iterator[Far]:
    """See `Far`; a bucket of its own, `freshness` "exclusive"."""
    yield from far_node(tmp_path, ceph, 'freshness = "exclusive"')


@pytest.fixture
def far_checked(tmp_path: Path, ceph: Ceph) -> Iterator[Far]:
    """As `far`, with `freshness` "always"."""
    yield from far_node(tmp_path, ceph, 'freshness = "always"')


def far_node(tmp_path: Path, upstream: Ceph, policy: str) -> Iterator[Far]:
    straight = boto3.client(
        "s3",
        endpoint_url=upstream.endpoint,
        region_name="us-east-1",
        aws_access_key_id=upstream.access_key,
        aws_secret_access_key=upstream.secret_key,
    )
    bucket = f"b-{abs(hash(tmp_path)):x}"[:40]
    straight.create_bucket(Bucket=bucket)
    with proxied(upstream.endpoint) as proxy:
        node = Node(
            tmp_path / "far",
            f"s3://?endpoint_url={proxy.endpoint}&region=us-east-1",
            mount=True,
            config=f'[[bucket]]\nmatch = "*"\n{policy}\n',
            environment={
                "AWS_ACCESS_KEY_ID": upstream.access_key,
                "AWS_SECRET_ACCESS_KEY": upstream.secret_key,
            },
        )
        with contextlib.closing(node):
            yield Far(node, proxy, straight, bucket)
    straight.close()
