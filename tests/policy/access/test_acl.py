"""ACLs and what is set on buckets: canned ones, who is permitted what, what is kept and read again, and what cannot be read."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.policy.access.acl import (
    ALL_USERS,
    AUTHENTICATED_USERS,
    CANNED,
    GRANTS_MAX,
    Grant,
    Permission,
    decode_acl,
    encode_acl,
    is_public,
    make_acl,
    permits,
    shown,
)
from appliance.policy.access.bucket import (
    NO_BLOCK,
    BucketAccess,
    Ownership,
    PublicAccessBlock,
    bucket_access,
    encode_block,
)
from appliance.policy.access.decide import Caller, Facts, Need, decide
from appliance.policy.access.document import parse_policy
from appliance.policy.access.errors import MalformedAclError

OWNER, OTHER, ROOT = "a" * 64, "b" * 64, "f" * 64
GRANTS = st.builds(Grant, st.sampled_from([OWNER, OTHER, ALL_USERS]), st.sampled_from(Permission))


@pytest.mark.parametrize(
    ("canned", "anybody", "somebody", "bucket_owner"),
    [
        ("private", "", "", ""),
        ("public-read", "R", "R", "R"),
        ("public-read-write", "RW", "RW", "RW"),
        ("authenticated-read", "", "R", "R"),
        ("aws-exec-read", "", "", ""),
        ("bucket-owner-read", "", "", "R"),
        ("bucket-owner-full-control", "", "", "RW"),
        ("log-delivery-write", "", "", ""),
    ],
)
def test_canned_acls_permit_what_they_say(canned, anybody, somebody, bucket_owner):
    acl = CANNED[canned](OWNER, ROOT)

    def may(who: str) -> str:
        letters = {"R": Permission.READ, "W": Permission.WRITE}
        found = [x for x, y in letters.items() if permits(acl, who, y, ignore_public=False)]
        return "".join(found)

    assert (may(""), may(OTHER), may(ROOT)) == (anybody, somebody, bucket_owner)
    assert Grant(OWNER, Permission.FULL_CONTROL) in shown(acl, OWNER)
    assert is_public(acl) is bool(somebody)
    assert set(CANNED) >= {canned}


def test_public_grants_can_be_ignored_and_others_not():
    acl = (Grant(ALL_USERS, Permission.READ), Grant(OTHER, Permission.READ_ACP))
    assert not permits(acl, OTHER, Permission.READ, ignore_public=True)
    assert permits(acl, OTHER, Permission.READ_ACP, ignore_public=True)
    nobody = (Grant("", Permission.READ), Grant(AUTHENTICATED_USERS, Permission.READ))
    assert not permits(nobody, "", Permission.READ, ignore_public=False)


@given(st.none() | st.lists(GRANTS, max_size=4).map(make_acl))
def test_an_acl_is_read_as_it_was_kept(acl):
    assert decode_acl(encode_acl(acl)) == acl
    assert (encode_acl(acl) == b"") is (acl is None)


def test_grants_are_kept_once_and_bounded():
    one = Grant(OWNER, Permission.READ)
    assert make_acl([one, one]) == (one,)
    many = [Grant(f"{number:064x}", Permission.READ) for number in range(GRANTS_MAX + 1)]
    assert len(make_acl(many[1:])) == GRANTS_MAX
    with pytest.raises(MalformedAclError):
        make_acl(many)


# --- what is set on a bucket -------------------------------------------------------------------------------


def document(principal: str = "*") -> bytes:
    statement = {
        "Effect": "Allow",
        "Principal": principal,
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::b/*",
    }
    return json.dumps({"Statement": statement}).encode()


def test_settings_are_read_as_they_were_put():
    acl = CANNED["public-read"](OWNER, OWNER)
    block = PublicAccessBlock(block_public_acls=True, restrict_public_buckets=True)
    found = bucket_access(
        "b",
        {
            "owner": OWNER.encode(),
            "acl": encode_acl(acl),
            "policy": parse_policy(document(), "b", lambda _name: "").encode(),
            "ownership": b"BucketOwnerPreferred",
            "public-access": encode_block(block),
            "cors": b"<other/>",
        },
        ROOT,
        acls=True,
    )
    assert (found.owner, found.acl, found.block) == (OWNER, acl, block)
    assert found.ownership is Ownership.BUCKET_OWNER_PREFERRED
    assert found.policy is not None
    assert found.policy.document == document()
    nothing = bucket_access("b", {}, ROOT, acls=True)
    assert nothing == BucketAccess(owner=ROOT)
    assert nothing.restrictions == NO_BLOCK
    assert not nothing.enforced
    assert bucket_access("b", {}, ROOT, acls=False).enforced


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("acl", b"\xc1"),
        ("policy", b"\x00"),
        ("policy", msgspec.msgpack.encode({"document": b"{}", "principals": {}})),
        ("ownership", b"Everybody"),
        ("public-access", b"\xff"),
        ("owner", b"\xff"),
    ],
)
def test_what_cannot_be_read_closes_the_bucket(name, value, caplog):
    values = {"owner": OWNER.encode(), "acl": encode_acl(CANNED["public-read"](OWNER, OWNER))}
    found = bucket_access("b", values | {name: value}, ROOT, acls=True)
    need = Need(action="s3:GetObject", by_object=Permission.READ, of_object=True)
    for caller in (Caller(""), Caller(OTHER), Caller(OWNER)):
        asked = Facts(caller=caller, need=need, resource="b/k", bucket=found, keys=lambda _key: ())
        assert not decide(asked)
    assert "cannot be read" in caplog.text


@pytest.mark.parametrize(
    ("access", "public"),
    [
        (BucketAccess(owner=OWNER), False),
        (BucketAccess(owner=OWNER, acl=CANNED["public-read"](OWNER, OWNER)), True),
        (BucketAccess(owner=OWNER, acl=CANNED["authenticated-read"](OWNER, OWNER)), True),
        (
            BucketAccess(
                owner=OWNER,
                acl=CANNED["public-read"](OWNER, OWNER),
                block=PublicAccessBlock(ignore_public_acls=True),
            ),
            False,
        ),
        (
            BucketAccess(
                owner=OWNER,
                acl=CANNED["public-read"](OWNER, OWNER),
                ownership=Ownership.BUCKET_OWNER_ENFORCED,
            ),
            False,
        ),
        (BucketAccess(owner=OWNER, policy=parse_policy(document(), "b", str)), True),
        (
            BucketAccess(
                owner=OWNER,
                policy=parse_policy(document(), "b", str),
                block=PublicAccessBlock(restrict_public_buckets=True),
            ),
            False,
        ),
    ],
)
def test_which_buckets_are_public(access, public):
    assert access.public is public
