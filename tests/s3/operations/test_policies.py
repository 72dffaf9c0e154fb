"""Policies, ownership controls, public access block: set, told, and enforced for accounts, admins and nobody in particular."""

from __future__ import annotations

import contextlib
import json

import pytest
import trio

from appliance.journal.bucket_settings import JournalBucketSettings
from appliance.journal.journal import Journal
from appliance.model.errors import BackendUnavailableError
from appliance.world import RealWorld
from appliance_example.backend import MemoryBackend
from tests.support.people import ALICE, As, people
from tests.support.plugin_host import backend_config
from tests.support.s3_endpoint import ACCESS_KEY, SECRET_KEY, running_endpoint
from tests.support.site import DENIED, allow, at_site, deny, policy


@pytest.fixture
async def site(tmp_path):
    async with at_site(tmp_path) as made:
        yield made


# --- without anything set ---------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["bob", "reader", "nobody"])
async def test_others_get_nothing_of_a_bucket_and_learn_nothing_of_its_keys(site, who):
    somebody = getattr(site, who)
    for key in ("k", "missing"):
        assert await somebody.code("get_object", Bucket="hers", Key=key) == DENIED
        assert await somebody.code("head_object", Bucket="hers", Key=key) == "403"
        assert await somebody.code("get_object_tagging", Bucket="hers", Key=key) == DENIED
        assert await somebody.code("put_object", Bucket="hers", Key=key, Body=b"") == DENIED
        assert await somebody.code("delete_object", Bucket="hers", Key=key) == DENIED
    assert await somebody.code("list_objects_v2", Bucket="hers") == DENIED
    assert await somebody.code("head_bucket", Bucket="hers") == "403"
    assert await somebody.code("delete_bucket", Bucket="hers") == DENIED
    assert await somebody.code("get_bucket_policy", Bucket="hers") == DENIED
    assert await somebody.code("get_object", Bucket="nowhere", Key="k") == "NoSuchBucket"
    assert await site.alice.code("get_object", Bucket="hers", Key="k") == ""


async def test_everybody_lists_their_own_buckets_and_admins_all(site):
    await site.bob.create_bucket(Bucket="his")

    async def names(who: As) -> list[str]:
        return [bucket["Name"] for bucket in (await who.list_buckets())["Buckets"]]

    assert await names(site.alice) == ["hers"]
    assert await names(site.bob) == ["his"]
    assert await names(site.reader) == []
    assert await names(site.admin) == ["bucket", "hers", "his"]
    assert await site.nobody.code("list_buckets") == DENIED


async def test_names_of_others_buckets_are_taken(site):
    assert await site.bob.code("create_bucket", Bucket="hers") == "BucketAlreadyExists"
    assert await site.alice.code("create_bucket", Bucket="bucket") == "BucketAlreadyExists"
    assert await site.alice.code("create_bucket", Bucket="hers") == ""
    assert await site.reader.code("create_bucket", Bucket="new") == DENIED
    assert await site.nobody.code("create_bucket", Bucket="new") == DENIED


async def test_a_bucket_that_is_deleted_leaves_nothing_to_the_next_of_its_name(site):
    await site.set_policy(allow("s3:GetObject"))
    for key in ("k", "dir/k"):
        await site.alice.delete_object(Bucket="hers", Key=key)
    await site.alice.delete_bucket(Bucket="hers")
    await site.bob.create_bucket(Bucket="hers")
    assert await site.bob.code("get_bucket_policy", Bucket="hers") == "NoSuchBucketPolicy"
    assert await site.alice.code("list_objects_v2", Bucket="hers") == DENIED
    assert await site.bob.code("put_object", Bucket="hers", Key="k", Body=b"") == ""


async def test_of_many_who_create_one_bucket_one_owns_it(site):
    codes: dict[str, list[str]] = {"alice": [], "bob": []}

    async def create(name: str) -> None:
        codes[name].append(await getattr(site, name).code("create_bucket", Bucket="new"))

    async with trio.open_nursery() as nursery:
        for name in ("alice", "bob") * 8:
            nursery.start_soon(create, name)
    assert {frozenset(found) for found in codes.values()} == {
        frozenset({""}),
        frozenset({"BucketAlreadyExists"}),
    }
    winner = next(name for name, found in codes.items() if "" in found)
    listed = (await getattr(site, winner).list_buckets())["Buckets"]
    assert "new" in [bucket["Name"] for bucket in listed]


async def test_a_bucket_that_could_not_be_created_is_nobodys(tmp_path):
    class Away(MemoryBackend):
        async def create_bucket(self, bucket: str) -> None:
            if bucket == "new":
                raise BackendUnavailableError
            await super().create_bucket(bucket)

    async with running_endpoint(
        tmp_path,
        backend=Away(backend_config()),
        credentials=people(ACCESS_KEY, SECRET_KEY),
    ) as endpoint:
        alice = As(endpoint.url, ALICE)
        assert await alice.code("create_bucket", Bucket="new") == "ServiceUnavailable"
    journal = Journal.open(tmp_path / "appliance.db", RealWorld())
    with contextlib.closing(journal):
        assert not JournalBucketSettings(journal).of("new").values


# --- policies ---------------------------------------------------------------------------------------------


async def test_a_policy_is_told_as_it_was_put_and_goes(site):
    text = json.dumps(json.loads(policy(allow("s3:GetObject"))), indent=3)
    await site.alice.put_bucket_policy(Bucket="hers", Policy=text)
    assert (await site.alice.get_bucket_policy(Bucket="hers"))["Policy"] == text
    await site.alice.delete_bucket_policy(Bucket="hers")
    assert await site.alice.code("get_bucket_policy", Bucket="hers") == "NoSuchBucketPolicy"
    assert await site.alice.code("get_bucket_policy", Bucket="nowhere") == "NoSuchBucket"


@pytest.mark.parametrize("who", ["bob", "reader", "nobody"])
async def test_a_policy_lets_others_read_what_it_names(site, who):
    somebody = getattr(site, who)
    await site.set_policy(allow("s3:GetObject", "hers/dir/*"))
    assert await somebody.code("get_object", Bucket="hers", Key="dir/k") == ""
    assert await somebody.code("head_object", Bucket="hers", Key="dir/k") == ""
    assert await somebody.code("get_object", Bucket="hers", Key="k") == DENIED
    # Who may not list is not told what is missing.
    assert await somebody.code("get_object", Bucket="hers", Key="dir/missing") == DENIED
    listing = allow("s3:ListBucket", "hers", Condition={"StringLike": {"s3:prefix": "dir/*"}})
    await site.set_policy(allow("s3:GetObject", "hers/dir/*"), listing)
    assert await somebody.code("get_object", Bucket="hers", Key="dir/missing") == "NoSuchKey"
    assert await somebody.code("head_object", Bucket="hers", Key="missing") == "403"
    assert await somebody.code("list_objects_v2", Bucket="hers", Prefix="dir/") == ""
    assert await somebody.code("list_objects_v2", Bucket="hers") == DENIED


async def test_a_read_only_account_never_writes(site):
    await site.set_policy(allow("s3:*"), allow("s3:*", "hers"))
    assert await site.bob.code("put_object", Bucket="hers", Key="new", Body=b"") == ""
    assert await site.reader.code("get_object", Bucket="hers", Key="new") == ""
    assert await site.reader.code("put_object", Bucket="hers", Key="new", Body=b"") == DENIED
    assert await site.reader.code("delete_object", Bucket="hers", Key="new") == DENIED
    assert await site.reader.code("delete_bucket_policy", Bucket="hers") == DENIED


async def test_deny_wins_also_over_owner_and_admin_but_the_policy_can_be_repaired(site):
    await site.set_policy(allow("s3:*"), deny("s3:*"), deny("s3:*", "hers"))
    for who in (site.alice, site.admin, site.bob):
        assert await who.code("get_object", Bucket="hers", Key="k") == DENIED
        assert await who.code("list_objects_v2", Bucket="hers") == DENIED
    assert await site.bob.code("delete_bucket_policy", Bucket="hers") == DENIED
    assert await site.admin.code("get_bucket_policy", Bucket="hers") == ""
    assert await site.alice.code("delete_bucket_policy", Bucket="hers") == ""
    assert await site.alice.code("get_object", Bucket="hers", Key="k") == ""


async def test_principals_are_accounts_by_id_or_name(site):
    for principal in (site.bob.id, "arn:aws:iam:::user/bob", f"arn:aws:iam::{site.bob.id}:root"):
        await site.set_policy(allow("s3:GetObject", Principal={"AWS": principal}))
        assert await site.bob.code("get_object", Bucket="hers", Key="k") == ""
        assert await site.reader.code("get_object", Bucket="hers", Key="k") == DENIED
        assert await site.nobody.code("get_object", Bucket="hers", Key="k") == DENIED


async def test_what_is_not_understood_is_refused_and_changes_nothing(site):
    await site.set_policy(allow("s3:GetObject"))
    before = (await site.alice.get_bucket_policy(Bucket="hers"))["Policy"]
    for bad in (
        "nonsense",
        policy(allow("s3:Frobnicate")),
        policy(allow("s3:GetObject", "another/*")),
        policy(allow("s3:GetObject", Principal={"AWS": "arn:aws:iam:::user/unknown"})),
        policy(allow("s3:GetObject", Condition={"StringEquals": {"aws:Weather": "fine"}})),
        policy(allow("s3:GetObject", Unknown=1)),
    ):
        put = {"Bucket": "hers", "Policy": bad}
        assert await site.alice.code("put_bucket_policy", **put) == "MalformedPolicy"
    assert (await site.alice.get_bucket_policy(Bucket="hers"))["Policy"] == before


async def test_each_key_of_a_multi_delete_is_judged(site):
    await site.set_policy(allow("s3:DeleteObject", "hers/dir/*"))
    objects = {"Objects": [{"Key": "k"}, {"Key": "dir/k"}]}
    answer = await site.bob.delete_objects(Bucket="hers", Delete=objects)
    assert [one["Key"] for one in answer["Deleted"]] == ["dir/k"]
    assert [(one["Key"], one["Code"]) for one in answer["Errors"]] == [("k", DENIED)]
    assert await site.alice.code("get_object", Bucket="hers", Key="k") == ""
    assert await site.alice.code("get_object", Bucket="hers", Key="dir/k") == "NoSuchKey"


async def test_a_copy_needs_its_source(site):
    await site.bob.create_bucket(Bucket="his")
    await site.set_policy(allow("s3:GetObject", "hers/dir/*"))
    copy = {"Bucket": "his", "Key": "copy", "CopySource": {"Bucket": "hers", "Key": "dir/k"}}
    assert await site.bob.code("copy_object", **copy) == ""
    for key in ("k", "missing"):
        copy["CopySource"] = {"Bucket": "hers", "Key": key}
        assert await site.bob.code("copy_object", **copy) == DENIED
    upload = await site.bob.create_multipart_upload(Bucket="his", Key="parts")
    part = {"Bucket": "his", "Key": "parts", "UploadId": upload["UploadId"], "PartNumber": 1}
    source = {"Bucket": "hers", "Key": "k"}
    assert await site.bob.code("upload_part_copy", **part, CopySource=source) == DENIED
    source = {"Bucket": "hers", "Key": "dir/k"}
    assert await site.bob.code("upload_part_copy", **part, CopySource=source) == ""


async def test_conditions_on_tags_look_at_the_object_and_at_the_request(site):
    await site.set_policy(
        allow("s3:GetObject", Condition={"StringEquals": {"s3:ExistingObjectTag/open": "yes"}}),
        allow("s3:PutObjectTagging"),
        deny(
            "s3:PutObjectTagging",
            Condition={"StringEquals": {"s3:RequestObjectTag/open": "yes"}},
            Principal={"AWS": site.bob.id},
        ),
    )
    assert await site.bob.code("get_object", Bucket="hers", Key="k") == DENIED

    def tagged(value: str) -> dict[str, object]:
        tags = {"TagSet": [{"Key": "open", "Value": value}]}
        return {"Bucket": "hers", "Key": "k", "Tagging": tags}

    assert await site.bob.code("put_object_tagging", **tagged("yes")) == DENIED
    assert await site.bob.code("put_object_tagging", **tagged("no")) == ""
    assert await site.bob.code("get_object", Bucket="hers", Key="k") == DENIED
    assert await site.alice.code("put_object_tagging", **tagged("yes")) == ""
    assert await site.bob.code("get_object", Bucket="hers", Key="k") == ""


async def test_a_policy_is_kept_by_the_journal(tmp_path):
    async with at_site(tmp_path) as site:
        await site.set_policy(allow("s3:GetObject"))
    journal = Journal.open(tmp_path / "appliance.db", RealWorld())
    with contextlib.closing(journal):
        settings = JournalBucketSettings(journal).of("hers")
        assert settings.get("owner") == ALICE.identity.account_id.encode()
        assert b"s3:GetObject" in (settings.get("policy") or b"")


async def test_the_reason_of_a_refusal_is_logged_and_not_told(tmp_path):
    async with at_site(tmp_path) as site:
        await site.set_policy(deny("s3:GetObject", Sid="NoReading"))
        await site.bob.code("get_object", Bucket="hers", Key="k")
        await site.bob.code("list_objects_v2", Bucket="hers")
    lines = b"".join(site.log).splitlines()
    reasons = [found for line in lines if (found := json.loads(line).get("reason"))]
    assert reasons == ["denied by statement NoReading of the policy", "nothing allows it"]


# --- the rest -------------------------------------------------------------------------------------------------


async def test_expected_owners_are_compared(site):
    mine = {"Bucket": "hers", "ExpectedBucketOwner": site.alice.id}
    assert await site.alice.code("list_objects_v2", **mine) == ""
    assert await site.admin.code("get_object", Key="k", **mine) == ""
    others = {"Bucket": "hers", "ExpectedBucketOwner": site.bob.id}
    assert await site.alice.code("list_objects_v2", **others) == DENIED
    assert await site.admin.code("get_object", Key="k", **others) == DENIED


async def test_policy_status(site):
    async def public() -> bool:
        answer = await site.alice.get_bucket_policy_status(Bucket="hers")
        return bool(answer["PolicyStatus"]["IsPublic"])

    assert not await public()
    await site.set_policy(allow("s3:GetObject"))
    assert await public()
    at_home = {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}
    await site.set_policy(allow("s3:GetObject", Condition=at_home))
    assert not await public()
    await site.set_policy(allow("s3:GetObject", Principal={"AWS": site.bob.id}))
    assert not await public()


async def test_the_public_access_block_is_told_and_stops_what_is_public(site):
    block = {"BlockPublicPolicy": True, "RestrictPublicBuckets": False}
    gone = "NoSuchPublicAccessBlockConfiguration"
    assert await site.alice.code("get_public_access_block", Bucket="hers") == gone

    async def put(**flags: bool) -> None:
        await site.alice.put_public_access_block(
            Bucket="hers", PublicAccessBlockConfiguration=flags
        )

    await put(**block)
    told = (await site.alice.get_public_access_block(Bucket="hers"))[
        "PublicAccessBlockConfiguration"
    ]
    assert told == {**block, "BlockPublicAcls": False, "IgnorePublicAcls": False}
    public = policy(allow("s3:GetObject"))
    assert await site.alice.code("put_bucket_policy", Bucket="hers", Policy=public) == DENIED
    await put()
    await site.set_policy(allow("s3:GetObject"))
    assert await site.nobody.code("get_object", Bucket="hers", Key="k") == ""
    await put(RestrictPublicBuckets=True)
    assert await site.nobody.code("get_object", Bucket="hers", Key="k") == DENIED
    assert await site.alice.code("get_object", Bucket="hers", Key="k") == ""
    await site.alice.delete_public_access_block(Bucket="hers")
    assert await site.alice.code("get_public_access_block", Bucket="hers") == gone


async def test_conditions_that_nobody_in_particular_meets_do_not_get_past_the_block(site):
    flags = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    said = "arn:aws:kms:us-east-1:1:key/1"
    conditions = (
        {"StringEquals": {"aws:userid": "anonymous"}},
        {"ArnEquals": {"s3:x-amz-server-side-encryption-aws-kms-key-id": said}},
    )
    for condition in conditions:
        open_to_all = allow("s3:GetObject", Condition=condition)
        await site.set_policy(open_to_all)
        await site.alice.put_public_access_block(
            Bucket="hers", PublicAccessBlockConfiguration=dict.fromkeys(flags, True)
        )
        put = {"Bucket": "hers", "Policy": policy(open_to_all)}
        assert await site.alice.code("put_bucket_policy", **put) == DENIED
        assert await site.nobody.code("get_object", Bucket="hers", Key="k") == DENIED
        await site.alice.delete_public_access_block(Bucket="hers")


async def test_ownership_controls_are_told(site):
    missing = "OwnershipControlsNotFoundError"
    assert await site.alice.code("get_bucket_ownership_controls", Bucket="hers") == missing
    for rule in ("BucketOwnerPreferred", "ObjectWriter", "BucketOwnerEnforced"):
        controls = {"Rules": [{"ObjectOwnership": rule}]}
        await site.alice.put_bucket_ownership_controls(Bucket="hers", OwnershipControls=controls)
        answer = await site.alice.get_bucket_ownership_controls(Bucket="hers")
        assert answer["OwnershipControls"] == controls
    await site.alice.delete_bucket_ownership_controls(Bucket="hers")
    assert await site.alice.code("get_bucket_ownership_controls", Bucket="hers") == missing
    await site.alice.create_bucket(Bucket="new", ObjectOwnership="BucketOwnerEnforced")
    answer = await site.alice.get_bucket_ownership_controls(Bucket="new")
    assert answer["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]


async def test_who_may_list_but_not_read_is_told_what_is_missing(site):
    await site.set_policy(allow("s3:ListBucket", "hers"))
    for who in (site.bob, site.nobody):
        assert await who.code("get_object", Bucket="hers", Key="k") == DENIED
        assert await who.code("head_object", Bucket="hers", Key="k") == "403"
        assert await who.code("get_object", Bucket="hers", Key="missing") == "NoSuchKey"
        assert await who.code("head_object", Bucket="hers", Key="missing") == "404"


async def test_copies_heed_tags_and_owner_of_their_source(site):
    await site.bob.create_bucket(Bucket="his")
    by_tag = {"StringEquals": {"s3:ExistingObjectTag/open": "yes"}}
    await site.set_policy(allow("s3:GetObject*", Condition=by_tag))
    copy = {"Bucket": "his", "Key": "copy", "CopySource": {"Bucket": "hers", "Key": "k"}}
    assert await site.bob.code("copy_object", **copy) == DENIED
    tags = {"TagSet": [{"Key": "open", "Value": "yes"}]}
    await site.alice.put_object_tagging(Bucket="hers", Key="k", Tagging=tags)
    assert await site.bob.code("copy_object", **copy) == ""
    hers, his = site.alice.id, site.bob.id
    assert await site.bob.code("copy_object", **copy, ExpectedSourceBucketOwner=hers) == ""
    assert await site.bob.code("copy_object", **copy, ExpectedSourceBucketOwner=his) == DENIED
    assert await site.bob.code("copy_object", **copy, ExpectedBucketOwner=his) == ""


async def test_each_key_of_a_multi_delete_is_judged_by_its_tags(site):
    by_tag = {"StringEquals": {"s3:ExistingObjectTag/old": "yes"}}
    await site.set_policy(allow("s3:DeleteObject", Condition=by_tag))
    tags = {"TagSet": [{"Key": "old", "Value": "yes"}]}
    await site.alice.put_object_tagging(Bucket="hers", Key="k", Tagging=tags)
    objects = {"Objects": [{"Key": "k"}, {"Key": "dir/k"}, {"Key": "missing"}]}
    answer = await site.bob.delete_objects(Bucket="hers", Delete=objects)
    assert [one["Key"] for one in answer["Deleted"]] == ["k"]
    assert [one["Key"] for one in answer["Errors"]] == ["dir/k", "missing"]
    gone = {"Objects": [{"Key": "k"}]}
    assert await site.bob.code("delete_objects", Bucket="nowhere", Delete=gone) == "NoSuchBucket"
