"""Promises about who may do what."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.support.accounts_command import accounts, client

pytestmark = pytest.mark.real


def nobody(node) -> Any:
    """A client without credentials."""
    return boto3.client(
        "s3",
        endpoint_url=node.endpoint,
        region_name="us-east-1",
        config=Config(
            signature_version=UNSIGNED,
            s3={"addressing_style": "path"},
            retries={"max_attempts": 1, "mode": "standard"},
        ),
    )


def policy(effect: str, action: str) -> str:
    statement = {
        "Effect": effect,
        "Principal": "*",
        "Action": action,
        "Resource": ["arn:aws:s3:::hers", "arn:aws:s3:::hers/*"],
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def outcome(call, **arguments: Any) -> str:
    """The error code, "" of what succeeds."""
    try:
        call(**arguments)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


@pytest.fixture
def alice(posix):
    s3 = client(posix, accounts(posix, "add", "alice"))
    s3.create_bucket(Bucket="hers")
    s3.put_object(Bucket="hers", Key="k", Body=b"data")
    return s3


def test_what_nobody_allowed_is_refused(posix, alice):
    bob = client(posix, accounts(posix, "add", "bob"))
    for s3 in (bob, nobody(posix)):
        assert outcome(s3.get_object, Bucket="hers", Key="k") == "AccessDenied"
        assert outcome(s3.get_object, Bucket="hers", Key="missing") == "AccessDenied"
        assert outcome(s3.put_object, Bucket="hers", Key="k", Body=b"") == "AccessDenied"
        assert outcome(s3.list_objects_v2, Bucket="hers") == "AccessDenied"
    assert alice.get_object(Bucket="hers", Key="k")["Body"].read() == b"data"


def test_what_a_policy_denies_is_denied_to_everybody_but_nobody_is_locked_out_of_the_policy(
    posix, alice
):
    alice.put_bucket_policy(Bucket="hers", Policy=policy("Deny", "s3:*"))
    for s3 in (alice, posix.s3):
        assert outcome(s3.get_object, Bucket="hers", Key="k") == "AccessDenied"
    assert outcome(alice.delete_bucket_policy, Bucket="hers") == ""
    assert outcome(alice.get_object, Bucket="hers", Key="k") == ""


def test_a_policy_that_is_not_understood_is_refused_and_changes_nothing(posix, alice):
    alice.put_bucket_policy(Bucket="hers", Policy=policy("Allow", "s3:GetObject"))
    unknown = policy("Allow", "s3:GetEverything")
    assert outcome(alice.put_bucket_policy, Bucket="hers", Policy=unknown) == "MalformedPolicy"
    assert nobody(posix).get_object(Bucket="hers", Key="k")["Body"].read() == b"data"


def test_owners_policies_and_acls_survive_kill_9(posix, alice):
    alice.put_bucket_policy(Bucket="hers", Policy=policy("Allow", "s3:GetObject"))
    alice.create_bucket(Bucket="open", ACL="public-read")
    alice.put_object(Bucket="open", Key="k", Body=b"data", ACL="public-read")
    alice.put_object(Bucket="open", Key="private", Body=b"data")
    posix.kill()
    posix.start()
    anybody = nobody(posix)
    assert outcome(anybody.get_object, Bucket="hers", Key="k") == ""
    assert outcome(anybody.list_objects_v2, Bucket="hers") == "AccessDenied"
    assert outcome(anybody.list_objects_v2, Bucket="open") == ""
    assert outcome(anybody.get_object, Bucket="open", Key="k") == ""
    assert outcome(anybody.get_object, Bucket="open", Key="private") == "AccessDenied"
    assert [bucket["Name"] for bucket in alice.list_buckets()["Buckets"]] == ["hers", "open"]
