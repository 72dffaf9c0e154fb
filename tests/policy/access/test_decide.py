"""The judge: against a slow and obvious second one, and rule by rule."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.policy.access.acl import Grant, Permission
from appliance.policy.access.bucket import BucketAccess, Ownership, PublicAccessBlock
from appliance.policy.access.decide import (
    ALLOW,
    ALLOW_OWN,
    Allow,
    Caller,
    Deny,
    Facts,
    Need,
    ObjectAccess,
    conceivable,
    decide,
    settled,
)
from appliance.policy.access.document import parse_policy
from tests.support import access_reference as reference
from tests.support.access_reference import ALL, BUCKET_OWNER, KNOWN, NOBODY, OTHER, THIRD

PERMISSIONS = st.sampled_from(["READ", "WRITE", "FULL_CONTROL"])
GRANTEES = st.sampled_from([ALL, KNOWN, BUCKET_OWNER, OTHER])
ACLS = st.none() | st.lists(st.tuples(GRANTEES, PERMISSIONS), max_size=2)
# action -> what else can give it: (writes, grant in the bucket's ACL, grant in the object's, the object's owner matters)
GIVEN_BY = {
    "s3:GetObject": (False, None, "READ", True),
    "s3:PutObject": (True, "WRITE", None, False),
    "s3:ListBucket": (False, "READ", None, False),
    "s3:DeleteObject": (True, "WRITE", None, False),
    "s3:PutBucketPolicy": (True, None, None, False),
}


def resolve(name: str) -> str:
    return name if name in {BUCKET_OWNER, OTHER, THIRD} else ""


def parsed(statements: list[dict[str, Any]]):
    document = json.dumps({"Version": "2012-10-17", "Statement": statements}).encode()
    return parse_policy(document, "b", resolve)


def acl_of(grants):
    return None if grants is None else tuple(Grant(who, Permission(what)) for who, what in grants)


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "statements": draw(st.none() | reference.POLICIES),
        "who": draw(reference.ACCOUNTS),
        "role": draw(st.sampled_from(["user", "user", "user", "admin", "readonly"])),
        "action": draw(st.sampled_from(reference.ACTIONS)),
        "resource": draw(st.sampled_from(reference.RESOURCES)),
        "keys": draw(reference.KEYS),
        "bucket_acl": draw(ACLS),
        "ownership": draw(st.sampled_from([None, *Ownership])),
        "acls": draw(st.sampled_from([True, True, False])),
        "ignore": draw(st.booleans()),
        "restrict": draw(st.booleans()),
        "object_owner": draw(st.sampled_from(["", BUCKET_OWNER, OTHER])),
        "object_acl": draw(ACLS),
    }


def expected(case: dict[str, Any]) -> bool:
    """As AWS's pages tell it."""
    writes, by_bucket, by_object, of_object = GIVEN_BY[case["action"]]
    who, owner = case["who"], BUCKET_OWNER
    if case["role"] == "readonly" and writes:
        return False
    effects = {
        one["Effect"]
        for one in case["statements"] or []
        if reference.applies(one, who, case["action"], case["resource"], case["keys"])
    }
    repairing = case["action"] == "s3:PutBucketPolicy" and (who == owner or case["role"] == "admin")
    if "Deny" in effects and not repairing:
        return False
    if case["role"] == "admin":
        return True
    off = case["ownership"] is Ownership.BUCKET_OWNER_ENFORCED
    enforced = off or not case["acls"]
    object_owner = owner if enforced else case["object_owner"] or owner
    if not of_object or object_owner == owner:
        restricted = case["restrict"] and parsed(case["statements"]).public if effects else False
        if who == owner or ("Allow" in effects and not restricted):
            return True
    if of_object and who == object_owner:
        return True
    by_the_bucket = by_bucket is not None and granted(case, "bucket_acl", by_bucket)
    by_the_object = by_object is not None and granted(case, "object_acl", by_object)
    return (by_the_bucket and not off) or (by_the_object and not enforced)


def granted(case: dict[str, Any], acl: str, permission: str) -> bool:
    who = case["who"]
    for grantee, what in case[acl] or []:
        if what not in {permission, "FULL_CONTROL"}:
            continue
        if grantee == ALL and not case["ignore"]:
            return True
        if grantee == KNOWN and who != NOBODY and not case["ignore"]:
            return True
        if grantee == who:
            return True
    return False


def facts_of(case: dict[str, Any], *, known: bool = True) -> Facts:
    writes, by_bucket, by_object, of_object = GIVEN_BY[case["action"]]
    block = PublicAccessBlock(
        ignore_public_acls=case["ignore"], restrict_public_buckets=case["restrict"]
    )
    return Facts(
        caller=Caller(case["who"], case["role"] == "admin", case["role"] == "readonly"),
        need=Need(
            action=case["action"],
            writes=writes,
            by_bucket=Permission(by_bucket) if by_bucket else None,
            by_object=Permission(by_object) if by_object else None,
            of_object=of_object,
        ),
        resource=case["resource"],
        bucket=BucketAccess(
            owner=BUCKET_OWNER,
            acl=acl_of(case["bucket_acl"]),
            policy=parsed(case["statements"]) if case["statements"] else None,
            ownership=case["ownership"],
            block=block,
            acls=case["acls"],
        ),
        keys=lambda key: case["keys"].get(key, ()),
        object=ObjectAccess(case["object_owner"], acl_of(case["object_acl"])) if known else None,
    )


@settings(max_examples=250)
@given(cases())
def test_the_judge_says_what_the_obvious_one_says(case):
    verdict = decide(facts_of(case))
    assert bool(verdict) is expected(case), verdict
    assert not verdict.by_object


@settings(max_examples=150)
@given(cases())
def test_what_is_said_without_knowing_the_object_holds_for_the_bucket_owners_own(case):
    early = decide(facts_of(case, known=False))
    late = decide(facts_of(case))
    if not early.by_object:
        # Whatever the object is, that is it.
        assert bool(late) is bool(early)
    elif early:
        assert late or case["object_owner"] not in {"", BUCKET_OWNER}


@settings(max_examples=150)
@given(cases())
def test_what_is_settled_holds_for_every_request(case):
    facts = facts_of(case)
    verdict = settled(facts.caller, facts.bucket)
    if verdict is ALLOW:
        assert decide(facts)
    elif verdict is ALLOW_OWN:
        foreign = facts.need.of_object and case["object_owner"] not in {"", BUCKET_OWNER}
        assert foreign or decide(facts)


def test_whoever_has_no_credentials_owns_nothing():
    case = {
        "statements": None,
        "who": NOBODY,
        "role": "user",
        "action": "s3:GetObject",
        "resource": "b/k",
        "keys": {},
        "bucket_acl": None,
        "ownership": None,
        "acls": True,
        "ignore": False,
        "restrict": False,
        "object_owner": "",
        "object_acl": None,
    }
    facts = facts_of(case)
    assert not decide(facts)
    unowned = BucketAccess(owner="")
    assert not decide(
        Facts(
            caller=facts.caller,
            need=facts.need,
            resource="b/k",
            bucket=unowned,
            keys=facts.keys,
            object=facts.object,
        )
    )
    assert settled(facts.caller, unowned) is None


def test_an_implied_need_is_only_asked_whether_it_is_denied():
    def verdict(*statements: dict[str, Any]) -> Allow | Deny:
        return decide(
            Facts(
                caller=Caller(OTHER),
                need=Need(action="s3:PutObjectAcl", writes=True, implied=True),
                resource="b/k",
                bucket=BucketAccess(owner=BUCKET_OWNER, policy=parsed(list(statements))),
                keys=lambda _key: (),
            )
        )

    put = {"Principal": "*", "Resource": "arn:aws:s3:::b/*"}
    assert verdict({"Effect": "Allow", "Action": "s3:PutObject", **put})
    assert not verdict({"Effect": "Deny", "Action": "s3:PutObjectAcl", **put})


@pytest.mark.parametrize("who", [BUCKET_OWNER, OTHER])
def test_reasons_name_the_statement(who):
    everything = {"Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::b/*"}
    policy = parsed([{"Sid": "Closed", "Effect": "Deny", **everything}])
    verdict = decide(
        Facts(
            caller=Caller(who),
            need=Need(action="s3:GetObject", of_object=True),
            resource="b/k",
            bucket=BucketAccess(owner=BUCKET_OWNER, policy=policy),
            keys=lambda _key: (),
        )
    )
    assert not Deny("only for want of it", explicit=False)
    assert verdict == Deny("denied by statement Closed of the policy")


@pytest.mark.parametrize("effect", ["Allow", "Deny"])
@pytest.mark.parametrize(
    "caller", [Caller(OTHER), Caller(BUCKET_OWNER), Caller(THIRD, admin=True)], ids=str
)
def test_what_is_too_long_to_be_held_against_the_policy_is_refused(effect, caller):
    statement = {
        "Principal": "*",
        "Action": "s3:*",
        "Resource": ["arn:aws:s3:::b", "arn:aws:s3:::b/*"],
    }
    like = {"StringNotLike": {"aws:UserAgent": "a*b"}}
    policy = parsed([{"Effect": effect, "Condition": like, **statement}])

    def verdict(action: str, length: int) -> Any:
        return decide(
            Facts(
                caller=caller,
                need=Need(action=action, writes=True),
                resource="b/k",
                bucket=BucketAccess(owner=BUCKET_OWNER, policy=policy),
                keys=lambda _key: ("x" * length,),
            )
        )

    assert bool(verdict("s3:PutObject", 2048)) is (effect == "Allow")
    assert verdict("s3:PutObject", 2049) == Deny(
        "the request has a name or header that is too long to be held against the policy"
    )
    repairs = caller.admin or caller.account_id == BUCKET_OWNER
    assert bool(verdict("s3:DeleteBucketPolicy", 2049)) is repairs


def test_conditions_that_are_not_about_the_object_are_asked_once():
    conditions = {
        "StringLike": {"aws:UserAgent": "a*"},
        "StringEquals": {"s3:ExistingObjectTag/t": "v", "s3:VersionId": "v"},
    }
    everything = {"Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::b/*"}
    policy = parsed([{"Effect": "Deny", "Condition": conditions, **everything}])
    asked: list[str] = []
    held: dict[Any, bool] = {}

    def keys(tag: str) -> Any:
        def value(key: str) -> list[str]:
            asked.append(key)
            return ["abc"] if key == "aws:useragent" else [tag]

        return value

    def verdict(tag: str) -> Any:
        return decide(
            Facts(
                caller=Caller(BUCKET_OWNER),
                need=Need(action="s3:DeleteObject", writes=True),
                resource="b/k",
                bucket=BucketAccess(owner=BUCKET_OWNER, policy=policy),
                keys=keys(tag),
                held=held,
            )
        )

    assert [bool(verdict(tag)) for tag in ("v", "w", "v")] == [False, True, False]
    assert asked.count("aws:useragent") == 1
    assert asked.count("s3:existingobjecttag/t") == 3
    assert asked.count("s3:versionid") == 2


@settings(max_examples=300)
@given(case=cases())
def test_what_is_not_conceivable_is_never_allowed(case):
    facts = facts_of(case)
    if not conceivable(facts):
        assert not decide(facts)
