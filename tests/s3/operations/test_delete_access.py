"""DeleteObjects before its document is read: who may delete nothing in the bucket is not listened to."""

from __future__ import annotations

import json

import pytest
import trio

from appliance.s3.settings import S3Settings
from tests.support.people import ALICE, BOB, READER, As, people
from tests.support.s3_endpoint import ACCESS_KEY, SECRET_KEY, running_endpoint

DENIED = "AccessDenied"
OBJECTS = {"Objects": [{"Key": "k"}]}


@pytest.fixture
async def endpoint(tmp_path):
    keys = people(ACCESS_KEY, SECRET_KEY)
    async with running_endpoint(tmp_path, S3Settings(), credentials=keys) as made:
        alice = As(made.url, ALICE)
        await alice.create_bucket(Bucket="hers")
        bob = As(made.url, BOB).id
        allow = {
            "Effect": "Allow",
            "Principal": {"AWS": bob},
            "Action": "s3:DeleteObject",
            "Resource": "arn:aws:s3:::hers/dir/*",
        }
        document = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
        await alice.put_bucket_policy(Bucket="hers", Policy=document)
        yield made


@pytest.mark.parametrize(("bucket", "code"), [("hers", DENIED), ("nowhere", "NoSuchBucket")])
async def test_the_answer_does_not_wait_for_the_document(endpoint, bucket, code):
    head = f"POST /{bucket}?delete HTTP/1.1\r\nHost: a\r\nContent-MD5: {'A' * 22}==\r\n"
    port = int(endpoint.url.rpartition(":")[2])
    # The rest never comes.
    with trio.fail_after(30):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(f"{head}Content-Length: 2097152\r\n\r\n<".encode())
            assert f"<Code>{code}</Code>".encode() in await stream.receive_some(65536)


@pytest.mark.parametrize("who", [None, READER], ids=["nobody", "reader"])
async def test_who_may_delete_nothing_is_refused_as_a_whole(endpoint, who):
    person = As(endpoint.url, who)
    assert await person.code("delete_objects", Bucket="hers", Delete=OBJECTS) == DENIED


async def test_who_may_delete_something_is_told_about_each_key(endpoint):
    answer = await As(endpoint.url, BOB).delete_objects(Bucket="hers", Delete=OBJECTS)
    assert [one["Code"] for one in answer["Errors"]] == [DENIED]
