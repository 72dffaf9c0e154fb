"""minio-py: another implementation of signatures and of XML than AWS's own."""

from __future__ import annotations

import datetime as dt
import io

import pytest
from minio import Minio
from minio.commonconfig import ComposeSource, CopySource
from minio.deleteobjects import DeleteObject
from minio.error import S3Error

from tests.support.clients import MIB, fetch, noise
from tests.support.node import ACCESS_KEY, SECRET_KEY

pytestmark = pytest.mark.real

BUCKET = "minio-py"
MINUTE = dt.timedelta(minutes=1)


@pytest.fixture
def client(near):
    client = Minio(
        f"127.0.0.1:{near.port}", access_key=ACCESS_KEY, secret_key=SECRET_KEY, secure=False
    )
    yield client
    client._http.clear()


def read(client: Minio, key: str, offset: int = 0, length: int = 0) -> bytes:
    answer = client.get_object(BUCKET, key, offset=offset, length=length)
    try:
        return answer.read()
    finally:
        answer.close()
        answer.release_conn()


def test_minio_py_makes_its_round_trip(client):
    client.make_bucket(BUCKET)
    assert client.bucket_exists(BUCKET)
    big = noise(12 * MIB)
    client.put_object(BUCKET, "big", io.BytesIO(big), len(big), part_size=5 * MIB)
    # Of unknown length: always in parts.
    client.put_object(BUCKET, "ünï/stream", io.BytesIO(b"streamed"), -1, part_size=5 * MIB)
    listed = client.list_objects(BUCKET, recursive=True)
    assert [(item.object_name, item.size) for item in listed] == [
        ("big", len(big)),
        ("ünï/stream", 8),
    ]
    assert [item.object_name for item in client.list_objects(BUCKET)] == ["big", "ünï/"]
    assert read(client, "big") == big
    assert read(client, "big", 5 * MIB - 3, 6) == big[5 * MIB - 3 : 5 * MIB + 3]
    client.copy_object(BUCKET, "copy", CopySource(BUCKET, "ünï/stream"))
    assert read(client, "copy") == b"streamed"
    client.compose_object(BUCKET, "twice", [ComposeSource(BUCKET, "big")] * 2)
    assert client.stat_object(BUCKET, "twice").size == 2 * len(big)
    url = client.presigned_put_object(BUCKET, "put", MINUTE)
    assert fetch(url, "PUT", b"by anybody") == (200, b"")
    assert fetch(client.presigned_get_object(BUCKET, "put", MINUTE)) == (200, b"by anybody")
    names = [DeleteObject(name) for name in ("big", "ünï/stream", "copy", "twice")]
    assert list(client.remove_objects(BUCKET, names)) == []
    client.remove_object(BUCKET, "put")
    with pytest.raises(S3Error) as caught:
        read(client, "put")
    assert caught.value.code == "NoSuchKey"
    client.remove_bucket(BUCKET)
    assert not client.bucket_exists(BUCKET)
