"""Promises about who has accounts."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from tests.support.accounts_command import accounts, client, code

pytestmark = pytest.mark.real


def test_a_change_of_accounts_is_in_force_when_the_command_that_made_it_ends(posix):
    issued = accounts(posix, "add", "alice")
    s3 = client(posix, issued)  # keeps its connection
    for command, answer in (
        ("disable", "InvalidAccessKeyId"),
        ("enable", ""),
        ("rotate", "InvalidAccessKeyId"),
    ):
        accounts(posix, command, "alice")
        assert code(s3) == answer


def test_accounts_survive_kill_9(posix):
    alice, bob = (accounts(posix, "add", name) for name in ("alice", "bob"))
    accounts(posix, "disable", "bob")
    posix.kill()
    posix.start()
    assert (code(client(posix, alice)), code(client(posix, bob))) == ("", "InvalidAccessKeyId")


def test_a_secret_key_is_shown_once_and_kept_sealed(posix):
    secret = accounts(posix, "add", "alice")["secret_key"]
    assert secret not in str(accounts(posix, "list"))
    assert secret not in posix.log
    posix.stop()
    kept = [path.read_bytes() for path in posix.data.rglob("*") if path.is_file()]
    assert kept
    assert not any(secret.encode() in content for content in kept)


def test_what_a_user_may_not_read_on_a_posix_backend_is_refused_from_the_cache_too(posix, tmp_path):
    posix.put("demo", "k", b"x")
    readers = [
        client(posix, accounts(posix, "add", name, "--role", "admin", "--uid", uid, "--gid", uid))
        for name, uid in (("alice", "50001"), ("bob", "50002"))
    ]
    for s3 in readers:
        assert s3.get_object(Bucket="demo", Key="k")["Body"].read() == b"x"
    file = tmp_path / "buckets/demo/k"
    file.chmod(0o600)
    for s3 in readers:
        with pytest.raises(ClientError, match="AccessDenied"):
            s3.get_object(Bucket="demo", Key="k")
    assert posix.get("demo", "k") == b"x"  # cached, or not: the root may
