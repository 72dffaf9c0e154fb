"""`appliance buckets`: whose they are, and giving them away, on a running node."""

from __future__ import annotations

import contextlib
import json
import subprocess
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.accounts_command import accounts, client
from tests.support.node import APPLIANCE, Node

pytestmark = pytest.mark.real


@pytest.fixture
def node(tmp_path):
    (tmp_path / "buckets" / "old").mkdir(parents=True)
    (tmp_path / "buckets" / "old" / "k").write_bytes(b"data")
    running = Node(tmp_path / "near", f"posix://{tmp_path}/buckets")
    with contextlib.closing(running):
        yield running


def buckets(node: Node, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(APPLIANCE), "buckets", *arguments, "--data", str(node.data)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin"},
    )


def outcome(s3: Any, key: str) -> str:
    try:
        s3.get_object(Bucket="old", Key=key)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def test_a_bucket_that_was_there_is_roots_until_it_is_given_away(node):
    alice = client(node, accounts(node, "add", "alice"))
    assert outcome(alice, "k") == "AccessDenied"
    shown = buckets(node, "list").stdout.splitlines()
    assert [line.split() for line in shown[1:]] == [["old", "root", "-", "-"]]
    given = buckets(node, "give", "old", "alice")
    assert (given.returncode, given.stdout) == (0, "The bucket old belongs to alice.\n")
    assert outcome(alice, "k") == ""
    assert [bucket["Name"] for bucket in alice.list_buckets()["Buckets"]] == ["old"]
    alice.put_bucket_acl(Bucket="old", ACL="public-read")
    listed = json.loads(buckets(node, "list", "--json").stdout)["buckets"]
    assert [(one["owner_name"], one["public"]) for one in listed] == [("alice", True)]
    node.kill()
    node.start()
    assert outcome(alice, "k") == ""


def test_what_an_account_leaves_can_be_given_to_another(node):
    alice, bob = (client(node, accounts(node, "add", name)) for name in ("alice", "bob"))
    assert buckets(node, "give", "old", "alice").returncode == 0
    alice.put_bucket_acl(Bucket="old", ACL="public-read")
    accounts(node, "remove", "alice")
    (line,) = buckets(node, "list").stdout.splitlines()[1:]
    assert "(gone)" in line
    assert outcome(bob, "missing") == "NoSuchKey"  # anybody may list it
    assert buckets(node, "give", "old", "bob").returncode == 0
    assert outcome(bob, "k") == ""
    grants = bob.get_bucket_acl(Bucket="old")["Grants"]
    assert [grant["Grantee"]["DisplayName"] for grant in grants] == ["bob"]


def test_what_cannot_be_given_says_why(node):
    for arguments, words in (
        (("give", "old", "nobody"), "There is no account 'nobody'"),
        (("give", "missing", "root"), "bucket does not exist"),
    ):
        refused = buckets(node, *arguments)
        assert refused.returncode == 1
        assert words in refused.stderr
    node.stop()
    refused = buckets(node, "list")
    assert refused.returncode == 2
    assert "No node runs" in refused.stderr
