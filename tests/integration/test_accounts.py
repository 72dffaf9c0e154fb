"""Accounts of a real node: changed by the command while it runs, stopped or killed, and used by boto3."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from tests.support.accounts_command import accounts, client, code
from tests.support.node import APPLIANCE, Node

pytestmark = pytest.mark.real


@pytest.fixture
def node(tmp_path):
    (tmp_path / "buckets").mkdir()
    node = Node(tmp_path / "node", f"posix://{tmp_path}/buckets")
    yield node
    node.close()


def test_a_running_node_learns_of_every_change_at_once(node):
    issued = accounts(node, "add", "alice", "--role", "admin")
    s3 = client(node, issued)
    assert s3.list_buckets()["Owner"] == {"DisplayName": "alice", "ID": issued["account_id"]}
    s3.create_bucket(Bucket="of-alice")
    s3.put_object(Bucket="of-alice", Key="k", Body=b"1")
    accounts(node, "disable", "alice")
    assert code(s3) == "InvalidAccessKeyId"
    accounts(node, "enable", "alice")
    assert s3.get_object(Bucket="of-alice", Key="k")["Body"].read() == b"1"
    second = accounts(node, "rotate", "alice", "--keep")
    assert (code(s3), code(client(node, second))) == ("", "")
    accounts(node, "disable", "alice", "--access-key", second["access_key"])
    assert (code(s3), code(client(node, second))) == ("", "InvalidAccessKeyId")
    third = accounts(node, "rotate", "alice")
    assert (code(s3), code(client(node, third))) == ("InvalidAccessKeyId", "")
    (account,) = accounts(node, "list", "alice")["accounts"]
    assert [key["access_key"] for key in account["keys"]] == [third["access_key"]]
    assert account["keys"][0]["used_ns"] > account["created_ns"] - 10**9
    accounts(node, "remove", "alice")
    assert code(client(node, third)) == "InvalidAccessKeyId"
    assert node.get("of-alice", "k") == b"1"  # root's still


def test_accounts_and_last_uses_survive_stops_and_accounts_survive_kills(node):
    alice = accounts(node, "add", "alice")
    assert code(client(node, alice)) == ""
    assert node.stop() == 0
    bob = accounts(node, "add", "bob")  # while it is stopped
    (listed,) = accounts(node, "list", "alice")["accounts"]
    assert listed["keys"][0]["used_ns"] > 0
    node.start()
    assert (code(client(node, alice)), code(client(node, bob))) == ("", "")
    carol = accounts(node, "add", "carol")
    accounts(node, "disable", "bob")
    node.kill()
    accounts(node, "enable", "bob")  # beside what a killed process left
    accounts(node, "disable", "bob")
    node.start()
    assert (code(client(node, carol)), code(client(node, bob))) == ("", "InvalidAccessKeyId")
    assert node.statistics()["accounts"]["accounts"] == 3


def test_a_look_in_after_a_kill_does_not_spare_the_cache_its_verification(node):
    node.s3.create_bucket(Bucket="bkt")
    node.put("bkt", "k", b"x")
    node.kill()
    accounts(node, "add", "alice")
    shown = subprocess.run(
        [str(APPLIANCE), "journal", "show", "--data", str(node.data)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert ["clean_stop", "0"] in [line.split() for line in shown.splitlines()]


def test_no_secret_is_in_the_log_the_data_directory_or_any_command_line(node):
    secret = "a-secret-that-would-be-recognised"
    issued = accounts(node, "add", "alice", APPLIANCE_NEW_SECRET_KEY=secret)
    assert issued["secret_key"] == secret
    rotated = accounts(node, "rotate", "alice", "--keep")
    assert code(client(node, rotated)) == ""
    node.stop()
    kept = b"".join(path.read_bytes() for path in node.data.rglob("*") if path.is_file())
    for shown in (secret, rotated["secret_key"]):
        assert shown not in node.log
        assert shown.encode() not in kept
    assert "accounts: add alice" in node.log
    for name in ("appliance.db", "cluster-secret"):
        assert (node.data / name).stat().st_mode & 0o077 == 0


def test_a_node_with_another_cluster_secret_refuses_to_start_and_says_why(node, tmp_path):
    accounts(node, "add", "alice")
    node.stop()
    (node.data / "cluster-secret").unlink()
    with pytest.raises(RuntimeError, match="sealed with another cluster secret"):
        node.start()


def test_the_cluster_secret_carries_accounts_to_another_nodes_data(node, tmp_path):
    issued = accounts(node, "add", "alice")
    node.stop()
    other = tmp_path / "node" / "other"
    other.mkdir()
    for name in ("appliance.db", "cluster-secret"):
        (other / name).write_bytes((node.data / name).read_bytes())
        (other / name).chmod(0o600)
    moved = Node(tmp_path / "moved", f"posix://{tmp_path}/buckets", options=["--data", str(other)])
    try:
        assert code(client(moved, issued)) == ""
    finally:
        moved.close()


def test_readonly_accounts_never_write(node):
    node.s3.create_bucket(Bucket="bkt")
    node.put("bkt", "k", b"x")
    s3 = client(node, accounts(node, "add", "alice", "--role", "readonly"))
    for write in (
        lambda: s3.put_object(Bucket="bkt", Key="k", Body=b"y"),
        lambda: s3.delete_object(Bucket="bkt", Key="k"),
        lambda: s3.create_bucket(Bucket="mine"),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            write()
    assert node.get("bkt", "k") == b"x"


def test_limits_of_accounts_are_taken_from_the_configuration(tmp_path):
    (tmp_path / "buckets").mkdir()
    config = '[[account]]\nmatch = "ali*"\nrequests_per_s = 0.001\n'
    node = Node(tmp_path / "node", f"posix://{tmp_path}/buckets", config=config)
    try:
        alice, bob = (client(node, accounts(node, "add", name)) for name in ("alice", "bob"))
        assert [code(s3) for s3 in (alice, alice, bob, bob)] == ["", "SlowDown", "", ""]
        assert node.statistics()["s3"]['throttled_total{by="account"}'] == 1
    finally:
        node.close()


@pytest.fixture
def users(node, tmp_path):
    """Clients of two accounts that are users of the system, and the directory of a bucket that is open to both, by policy and mode."""
    for directory in (tmp_path, *tmp_path.parents[:2]):
        directory.chmod(directory.stat().st_mode | 0o011)
    # The bucket's owner owns, and its policy governs, whatever anybody puts there.
    node.s3.create_bucket(Bucket="bkt", ObjectOwnership="BucketOwnerEnforced")
    (tmp_path / "buckets/bkt").chmod(0o777)
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": ["arn:aws:s3:::bkt", "arn:aws:s3:::bkt/*"],
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    node.s3.put_bucket_policy(Bucket="bkt", Policy=json.dumps(policy))
    clients = [
        client(node, accounts(node, "add", name, "--uid", uid, "--gid", uid))
        for name, uid in (("alice", "50001"), ("bob", "50002"))
    ]
    return *clients, tmp_path / "buckets/bkt"


def refused(call, **arguments) -> bool:
    with pytest.raises(ClientError) as caught:
        call(Bucket="bkt", **arguments)
    return caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_accounts_with_a_uid_make_files_as_that_user(node, users):
    alice, bob, bucket = users
    alice.put_object(Bucket="bkt", Key="hers/small", Body=b"x")
    alice.put_object(Bucket="bkt", Key="hers/large", Body=bytes(3 << 20))
    upload = alice.create_multipart_upload(Bucket="bkt", Key="hers/parts")["UploadId"]
    part = alice.upload_part(
        Bucket="bkt", Key="hers/parts", UploadId=upload, PartNumber=1, Body=b"x"
    )
    alice.complete_multipart_upload(
        Bucket="bkt",
        Key="hers/parts",
        UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )
    alice.copy_object(Bucket="bkt", Key="hers/copy", CopySource="bkt/hers/small")
    for path in (bucket / "hers", *(bucket / "hers").iterdir()):
        assert (path.stat().st_uid, path.stat().st_gid) == (50001, 50001)
    assert len(list((bucket / "hers").iterdir())) == 4
    assert refused(bob.put_object, Key="hers/his", Body=b"y")
    assert refused(bob.delete_object, Key="hers/small")
    outcome = bob.delete_objects(Bucket="bkt", Delete={"Objects": [{"Key": "hers/small"}]})
    assert outcome["Errors"][0]["Code"] == "AccessDenied"
    assert node.get("bkt", "hers/small") == b"x"


def test_hits_are_checked_for_each_user(node, users):
    alice, bob, bucket = users
    alice.put_object(Bucket="bkt", Key="k", Body=b"x")
    for _ in range(3):
        assert bob.get_object(Bucket="bkt", Key="k")["Body"].read() == b"x"
    (bucket / "k").chmod(0o600)
    for _ in range(3):
        assert alice.get_object(Bucket="bkt", Key="k")["Body"].read() == b"x"
        assert refused(bob.get_object, Key="k")
        assert refused(bob.head_object, Key="k")
        assert refused(bob.get_object_tagging, Key="k")
        assert refused(bob.copy_object, Key="stolen", CopySource="bkt/k")
    assert node.get("bkt", "k") == b"x"  # the root has no user
    (bucket / "closed").mkdir(mode=0o700)
    assert refused(alice.list_objects_v2, Prefix="closed/")
    assert refused(alice.list_objects_v2)
    names = alice.list_objects_v2(Bucket="bkt", Delimiter="/")
    assert [item["Key"] for item in names["Contents"]] == ["k"]


def test_users_at_the_same_time_stay_apart(node, users):
    alice, bob, bucket = users
    work = [
        (who, uid, number)
        for number in range(40)
        for who, uid in ((alice, 50001), (bob, 50002), (node.s3, 0))
    ]
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda item: item[0].put_object(
                    Bucket="bkt", Key=f"{item[1]}-{item[2]}/k", Body=b"x"
                ),
                work,
            )
        )
    for _, uid, number in work:
        for path in (bucket / f"{uid}-{number}", bucket / f"{uid}-{number}" / "k"):
            assert path.stat().st_uid == uid
