"""ACLs of buckets and objects on POSIX: set in headers and documents, told, and enforced; whose objects are that others write."""

from __future__ import annotations

import pytest

from appliance.plugin import Backend
from appliance.policy.access.acl import ALL_USERS, AUTHENTICATED_USERS
from appliance_posix.plugin import appliance_backend
from tests.support.people import ALICE, BOB, READER, As, people
from tests.support.plugin_host import backend_config
from tests.support.s3_endpoint import ACCESS_KEY, SECRET_KEY, running_endpoint

DENIED = "AccessDenied"
NO_ACLS = "AccessControlListNotSupported"


class Site:
    """An endpoint with people at it. Alice has the bucket "hers", with the object k in it."""

    def __init__(self, url: str) -> None:
        self.alice, self.bob, self.reader = As(url, ALICE), As(url, BOB), As(url, READER)
        self.nobody = As(url, None)


def posix(directory) -> Backend:
    directory.mkdir()
    backend = appliance_backend(f"posix://{directory}", backend_config("posix"))
    assert backend is not None
    return backend


@pytest.fixture
async def site(tmp_path):
    async with running_endpoint(
        tmp_path,
        backend=posix(tmp_path / "truth"),
        credentials=people(ACCESS_KEY, SECRET_KEY),
    ) as endpoint:
        made = Site(endpoint.url)
        await made.alice.create_bucket(Bucket="hers")
        await made.alice.put_object(Bucket="hers", Key="k", Body=b"data")
        yield made


def grants_of(answer) -> list[tuple[str, str]]:
    """(display name or the group's last word, permission) of each grant."""
    return [
        (
            grant["Grantee"].get("DisplayName") or grant["Grantee"]["URI"].rpartition("/")[2],
            grant["Permission"],
        )
        for grant in answer["Grants"]
    ]


async def test_everything_begins_private_and_its_owners(site):
    for answer in (
        await site.alice.get_bucket_acl(Bucket="hers"),
        await site.alice.get_object_acl(Bucket="hers", Key="k"),
    ):
        assert answer["Owner"] == {"ID": site.alice.id, "DisplayName": "alice"}
        assert grants_of(answer) == [("alice", "FULL_CONTROL")]


@pytest.mark.parametrize(
    ("canned", "grants"),
    [
        ("private", []),
        ("public-read", [("AllUsers", "READ")]),
        ("public-read-write", [("AllUsers", "READ"), ("AllUsers", "WRITE")]),
        ("authenticated-read", [("AuthenticatedUsers", "READ")]),
    ],
)
async def test_canned_acls_of_objects(site, canned, grants):
    await site.alice.put_object(Bucket="hers", Key="new", Body=b"", ACL=canned)
    expected = [*grants, ("alice", "FULL_CONTROL")]
    assert grants_of(await site.alice.get_object_acl(Bucket="hers", Key="new")) == expected
    await site.alice.put_object_acl(Bucket="hers", Key="k", ACL=canned)
    assert grants_of(await site.alice.get_object_acl(Bucket="hers", Key="k")) == expected
    for who, may in ((site.nobody, "public" in canned), (site.bob, canned != "private")):
        for key in ("k", "new"):
            assert (await who.code("get_object", Bucket="hers", Key=key) == "") is may
            assert (await who.code("head_object", Bucket="hers", Key=key) == "") is may


async def test_canned_acls_of_buckets(site):
    list_it = {"Bucket": "hers"}
    put = {"Bucket": "hers", "Key": "new", "Body": b""}
    assert await site.nobody.code("list_objects_v2", **list_it) == DENIED
    await site.alice.put_bucket_acl(Bucket="hers", ACL="public-read")
    assert await site.nobody.code("list_objects_v2", **list_it) == ""
    assert await site.nobody.code("get_object", Bucket="hers", Key="k") == DENIED
    assert await site.nobody.code("get_object", Bucket="hers", Key="missing") == "NoSuchKey"
    assert await site.nobody.code("put_object", **put) == DENIED
    await site.alice.put_bucket_acl(Bucket="hers", ACL="public-read-write")
    assert await site.bob.code("put_object", **put) == ""
    assert await site.reader.code("put_object", **put) == DENIED
    assert await site.nobody.code("delete_object", Bucket="hers", Key="new") == ""
    await site.alice.put_bucket_acl(Bucket="hers", ACL="authenticated-read")
    assert await site.nobody.code("list_objects_v2", **list_it) == DENIED
    assert await site.bob.code("list_objects_v2", **list_it) == ""
    await site.alice.create_bucket(Bucket="open", ACL="public-read")
    assert grants_of(await site.alice.get_bucket_acl(Bucket="open"))[0] == ("AllUsers", "READ")


async def test_grants_by_id_email_and_group(site):
    headers = {
        "GrantRead": f'id="{site.bob.id}", emailAddress=reader@example.org',
        "GrantReadACP": f'uri="{AUTHENTICATED_USERS}"',
    }
    await site.alice.put_object_acl(Bucket="hers", Key="k", **headers)
    assert grants_of(await site.alice.get_object_acl(Bucket="hers", Key="k")) == [
        ("AuthenticatedUsers", "READ_ACP"),
        ("bob", "READ"),
        ("reader", "READ"),
    ]
    assert await site.bob.code("get_object", Bucket="hers", Key="k") == ""
    assert await site.bob.code("get_object_acl", Bucket="hers", Key="k") == ""
    assert await site.bob.code("put_object_acl", Bucket="hers", Key="k", ACL="private") == DENIED
    assert await site.nobody.code("get_object", Bucket="hers", Key="k") == DENIED
    assert await site.alice.code("get_object", Bucket="hers", Key="k") == ""


async def test_a_document_of_grants(site):
    owner = {"ID": site.alice.id}
    grant = {"Grantee": {"Type": "CanonicalUser", "ID": site.bob.id}, "Permission": "WRITE_ACP"}
    group = {"Grantee": {"Type": "Group", "URI": ALL_USERS}, "Permission": "READ"}
    acl = {"Owner": owner, "Grants": [grant, group]}
    put = {"Bucket": "hers", "Key": "k", "AccessControlPolicy": acl}
    await site.alice.put_object_acl(**put)
    told = await site.alice.get_object_acl(Bucket="hers", Key="k")
    assert grants_of(told) == [("AllUsers", "READ"), ("bob", "WRITE_ACP")]
    assert await site.bob.code("put_object_acl", Bucket="hers", Key="k", ACL="private") == ""
    assert grants_of(await site.alice.get_object_acl(Bucket="hers", Key="k")) == [
        ("alice", "FULL_CONTROL")
    ]
    acl["Owner"] = {"ID": site.bob.id}
    assert await site.alice.code("put_object_acl", **put) == DENIED
    acl["Owner"], acl["Grants"] = owner, []
    await site.alice.put_bucket_acl(Bucket="hers", AccessControlPolicy=acl)
    assert (await site.alice.get_bucket_acl(Bucket="hers"))["Grants"] == []


@pytest.mark.parametrize(
    ("acl", "code"),
    [
        ({"ACL": "everybody"}, "InvalidArgument"),
        ({"GrantRead": "id=unknown"}, "InvalidArgument"),
        ({"GrantRead": "emailAddress=no@where.example"}, "UnresolvableGrantByEmailAddress"),
        ({"GrantRead": 'uri="http://groups/none"'}, "InvalidArgument"),
        ({"GrantRead": "anybody"}, "InvalidArgument"),
        ({"ACL": "private", "GrantRead": "id=x"}, "InvalidRequest"),
    ],
)
async def test_acls_that_are_none_are_refused_and_change_nothing(site, acl, code):
    assert await site.alice.code("put_object_acl", Bucket="hers", Key="k", **acl) == code
    assert await site.alice.code("put_bucket_acl", Bucket="hers", **acl) == code
    put = {"Bucket": "hers", "Key": "new", "Body": b""}
    assert await site.alice.code("put_object", **put, **acl) == code
    assert await site.alice.code("get_object", Bucket="hers", Key="new") == "NoSuchKey"


async def test_objects_belong_to_who_writes_them(site):
    await site.alice.put_bucket_acl(Bucket="hers", ACL="public-read-write")
    await site.bob.put_object(Bucket="hers", Key="his", Body=b"data")
    assert (await site.bob.get_object_acl(Bucket="hers", Key="his"))["Owner"]["ID"] == site.bob.id
    assert await site.bob.code("get_object", Bucket="hers", Key="his") == ""
    assert await site.alice.code("get_object", Bucket="hers", Key="his") == DENIED
    assert await site.alice.code("get_object_acl", Bucket="hers", Key="his") == DENIED
    await site.bob.put_object_acl(Bucket="hers", Key="his", ACL="bucket-owner-read")
    assert await site.alice.code("get_object", Bucket="hers", Key="his") == ""
    assert await site.alice.code("delete_object", Bucket="hers", Key="his") == ""
    await site.nobody.put_object(Bucket="hers", Key="nobodys", Body=b"data")
    assert await site.alice.code("get_object", Bucket="hers", Key="nobodys") == ""


async def test_listings_tell_whose_objects_are(site):
    await site.alice.put_bucket_acl(Bucket="hers", ACL="public-read-write")
    await site.bob.put_object(Bucket="hers", Key="his", Body=b"data")

    def owners(rows) -> dict[str, str]:
        return {row["Key"]: row["Owner"]["DisplayName"] for row in rows}

    for who in (site.alice, site.bob):
        expected = {"his": "bob", "k": "alice"}
        assert owners((await who.list_objects(Bucket="hers"))["Contents"]) == expected
        listed = await who.list_objects_v2(Bucket="hers", FetchOwner=True)
        assert owners(listed["Contents"]) == expected
    versions = await site.alice.list_object_versions(Bucket="hers")
    assert owners(versions["Versions"]) == expected


async def test_a_copy_is_the_copiers_and_private_again(site):
    await site.bob.create_bucket(Bucket="his")
    await site.alice.put_object_acl(Bucket="hers", Key="k", ACL="public-read")
    source = {"Bucket": "hers", "Key": "k"}
    await site.bob.copy_object(Bucket="his", Key="copy", CopySource=source)
    told = await site.bob.get_object_acl(Bucket="his", Key="copy")
    assert (told["Owner"]["DisplayName"], grants_of(told)) == ("bob", [("bob", "FULL_CONTROL")])
    await site.bob.copy_object(Bucket="his", Key="copy", CopySource=source, ACL="public-read")
    assert await site.nobody.code("get_object", Bucket="his", Key="copy") == ""


async def test_an_upload_in_parts_has_the_acl_it_began_with(site):
    target = {"Bucket": "hers", "Key": "parts"}
    upload = await site.alice.create_multipart_upload(**target, ACL="public-read")
    target["UploadId"] = upload["UploadId"]
    part = await site.alice.upload_part(**target, PartNumber=1, Body=b"data")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    await site.alice.complete_multipart_upload(**target, MultipartUpload=parts)
    assert await site.nobody.code("get_object", Bucket="hers", Key="parts") == ""


async def test_enforced_ownership_turns_acls_off(site):
    await site.alice.put_bucket_acl(Bucket="hers", ACL="public-read-write")
    await site.bob.put_object(Bucket="hers", Key="his", Body=b"data", ACL="public-read")
    controls = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    put = {"Bucket": "hers", "OwnershipControls": controls}
    refused = "InvalidBucketAclWithObjectOwnership"
    assert await site.alice.code("put_bucket_ownership_controls", **put) == refused
    await site.alice.put_bucket_acl(Bucket="hers", ACL="private")
    await site.alice.put_bucket_ownership_controls(**put)
    assert await site.nobody.code("get_object", Bucket="hers", Key="his") == DENIED
    assert await site.bob.code("get_object", Bucket="hers", Key="his") == DENIED
    assert await site.alice.code("get_object", Bucket="hers", Key="his") == ""
    told = await site.alice.get_object_acl(Bucket="hers", Key="his")
    assert (told["Owner"]["DisplayName"], grants_of(told)) == ("alice", [("alice", "FULL_CONTROL")])
    new = {"Bucket": "hers", "Key": "new", "Body": b""}
    for acl in ("private", "public-read"):
        assert await site.alice.code("put_object", **new, ACL=acl) == NO_ACLS
        assert await site.alice.code("put_object_acl", Bucket="hers", Key="k", ACL=acl) == NO_ACLS
        assert await site.alice.code("put_bucket_acl", Bucket="hers", ACL=acl) == NO_ACLS
    full = "bucket-owner-full-control"
    assert await site.alice.code("put_object", **new, ACL=full) == ""
    made = {"Bucket": "made", "ObjectOwnership": "BucketOwnerEnforced", "ACL": "public-read"}
    assert await site.alice.code("create_bucket", **made) == refused


async def test_preferred_ownership_takes_what_is_given(site):
    controls = {"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]}
    await site.alice.put_bucket_ownership_controls(Bucket="hers", OwnershipControls=controls)
    await site.alice.put_bucket_acl(Bucket="hers", ACL="public-read-write")
    await site.bob.put_object(Bucket="hers", Key="kept", Body=b"")
    full = "bucket-owner-full-control"
    await site.bob.put_object(Bucket="hers", Key="given", Body=b"", ACL=full)
    assert await site.alice.code("get_object", Bucket="hers", Key="kept") == DENIED
    assert await site.alice.code("get_object", Bucket="hers", Key="given") == ""
    told = await site.alice.get_object_acl(Bucket="hers", Key="given")
    assert told["Owner"]["DisplayName"] == "alice"


async def test_the_public_access_block_blocks_and_ignores_acls(site):
    await site.alice.put_object(Bucket="hers", Key="open", Body=b"", ACL="public-read")

    async def block(**flags: bool) -> None:
        await site.alice.put_public_access_block(
            Bucket="hers", PublicAccessBlockConfiguration=flags
        )

    await block(BlockPublicAcls=True)
    new = {"Bucket": "hers", "Key": "new", "Body": b""}
    assert await site.alice.code("put_object", **new, ACL="public-read") == DENIED
    assert await site.alice.code("put_bucket_acl", Bucket="hers", ACL="public-read") == DENIED
    to_all = f'uri="{ALL_USERS}"'
    put = {"Bucket": "hers", "Key": "k", "GrantRead": to_all}
    assert await site.alice.code("put_object_acl", **put) == DENIED
    assert await site.alice.code("put_object", **new, ACL="private") == ""
    assert await site.nobody.code("get_object", Bucket="hers", Key="open") == ""
    await block(IgnorePublicAcls=True)
    assert await site.nobody.code("get_object", Bucket="hers", Key="open") == DENIED
    assert await site.alice.code("put_object", **new, ACL="public-read") == ""


async def test_without_a_place_for_acls_objects_are_the_buckets_owners(tmp_path):
    async with running_endpoint(tmp_path, credentials=people(ACCESS_KEY, SECRET_KEY)) as endpoint:
        assert not endpoint.cache.keeps_acls("bucket")
        alice, bob = As(endpoint.url, ALICE), As(endpoint.url, BOB)
        nobody = As(endpoint.url, None)
        await alice.create_bucket(Bucket="hers", ACL="public-read-write")
        key = {"Bucket": "hers", "Key": "k"}
        for acl in ("private", "bucket-owner-full-control"):
            assert await alice.code("put_object", **key, Body=b"", ACL=acl) == ""
        assert await alice.code("put_object", **key, Body=b"", ACL="public-read") == NO_ACLS
        assert await alice.code("put_object_acl", **key, ACL="public-read") == NO_ACLS
        # The bucket's own ACL needs nothing of the backend.
        assert await nobody.code("list_objects_v2", Bucket="hers") == ""
        assert await bob.code("put_object", **key, Body=b"") == ""
        assert await bob.code("get_object", **key) == DENIED
        told = await alice.get_object_acl(**key)
        assert grants_of(told) == [("alice", "FULL_CONTROL")]
        await alice.put_bucket_acl(Bucket="hers", ACL="private")
        assert await nobody.code("list_objects_v2", Bucket="hers") == DENIED


async def test_who_may_list_but_not_read_is_told_what_is_missing(site):
    await site.alice.put_bucket_acl(Bucket="hers", ACL="public-read")
    for who in (site.bob, site.nobody):
        assert await who.code("get_object", Bucket="hers", Key="k") == DENIED
        assert await who.code("head_object", Bucket="hers", Key="k") == "403"
        assert await who.code("get_object", Bucket="hers", Key="missing") == "NoSuchKey"
        assert await who.code("head_object", Bucket="hers", Key="missing") == "404"


async def test_an_objects_owner_may_tag_it_and_new_tags_leave_its_acl(site):
    await site.alice.put_bucket_acl(Bucket="hers", ACL="public-read-write")
    his = {"Bucket": "hers", "Key": "his"}
    await site.bob.put_object(**his, Body=b"data", ACL="public-read")
    tags = {"TagSet": [{"Key": "a", "Value": "b"}]}
    assert await site.bob.code("put_object_tagging", **his, Tagging=tags) == ""
    assert await site.alice.code("put_object_tagging", **his, Tagging=tags) == DENIED
    assert await site.nobody.code("get_object", **his) == ""
    assert await site.nobody.code("get_object_tagging", **his) == DENIED
    assert (await site.bob.get_object_tagging(**his))["TagSet"] == tags["TagSet"]
    told = await site.bob.get_object_acl(**his)
    assert (told["Owner"]["DisplayName"], len(told["Grants"])) == ("bob", 2)


async def test_versions_have_their_own_acls(site):
    enabled = {"Status": "Enabled"}
    await site.alice.put_bucket_versioning(Bucket="hers", VersioningConfiguration=enabled)
    key = {"Bucket": "hers", "Key": "v"}
    first = (await site.alice.put_object(**key, Body=b"1", ACL="public-read"))["VersionId"]
    second = (await site.alice.put_object(**key, Body=b"2"))["VersionId"]
    assert await site.nobody.code("get_object", **key) == DENIED
    assert await site.nobody.code("get_object", **key, VersionId=second) == DENIED
    assert await site.nobody.code("get_object", **key, VersionId=first) == ""
    await site.alice.put_object_acl(**key, VersionId=first, ACL="private")
    assert await site.nobody.code("get_object", **key, VersionId=first) == DENIED
    await site.alice.put_object_acl(**key, ACL="public-read")
    assert await site.nobody.code("get_object", **key) == ""
    assert await site.nobody.code("delete_object", **key, VersionId=first) == DENIED
