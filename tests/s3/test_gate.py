"""The gate: what it remembers is never stale, and what it says early and late together is what the judge says of all the facts."""

from __future__ import annotations

import json
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.auth.identity import ANONYMOUS, Authentication, Identity, Role, unsigned
from appliance.model.objects import ObjectInfo
from appliance.policy.access.acl import CANNED, decode_acl, encode_acl
from appliance.policy.access.bucket import PublicAccessBlock, encode_block
from appliance.policy.access.decide import Caller, Facts, ObjectAccess, decide
from appliance.policy.access.document import parse_policy
from appliance.s3.bucket_settings import MemoryBucketSettings
from appliance.s3.gate import Gate, RefusedError
from appliance.s3.wire.actions import NEEDS, needs_of
from appliance.s3.wire.request import Request, S3Request, parse_request
from appliance.s3.wire.request_keys import RequestKeys
from tests.support import access_reference as reference
from tests.support.access_reference import BUCKET_OWNER, OTHER

ROOT = "f" * 64


class Keeps:
    """As much of a cache as the gate asks without waiting."""

    def keeps_acls(self, bucket: str) -> bool:
        return True


class Clock:
    def now_ns(self) -> int:
        return 1_704_153_600 * 10**9


def person(account_id: str, role: Role) -> Authentication:
    identity = Identity(
        account_id=account_id, display_name=account_id[:1], access_key=account_id[:3], role=role
    )
    return Authentication(
        identity=identity,
        payload="UNSIGNED-PAYLOAD",
        presigned=False,
        signature="s",
        signing_key=b"",
        scope="",
        timestamp="20240101T000000Z",
    )


def request(method: str, target: str) -> S3Request:
    return parse_request(
        Request(method=method, target=target.encode(), headers={}, peer="10.0.0.1")
    )


REQUESTS = [
    request("GET", "/b/k"),
    request("HEAD", "/b/d/k"),
    request("GET", "/b/k?acl"),
    request("PUT", "/b/k"),
    request("DELETE", "/b/k"),
    request("GET", "/b?prefix=d%2F"),
    request("GET", "/b?policy"),
    request("DELETE", "/b?policy"),
    request("DELETE", "/b"),
]
WHO = st.one_of(
    st.just(unsigned("UNSIGNED-PAYLOAD")),
    st.builds(person, st.sampled_from([BUCKET_OWNER, OTHER, ROOT]), st.sampled_from(list(Role))),
)
CANNED_ACLS = st.sampled_from(sorted(CANNED)).map(
    lambda name: encode_acl(CANNED[name](OTHER, BUCKET_OWNER)) or None
)


def policy(statements: list[dict[str, Any]]) -> bytes:
    document = json.dumps({"Version": "2012-10-17", "Statement": statements}).encode()
    return parse_policy(document, "b", lambda name: name if len(name) == 64 else "").encode()


CHANGES = st.one_of(
    st.fixed_dictionaries({"owner": st.sampled_from([BUCKET_OWNER.encode(), OTHER.encode()])}),
    st.fixed_dictionaries({"policy": st.none() | reference.POLICIES.map(policy)}),
    st.fixed_dictionaries({"acl": CANNED_ACLS}),
    st.fixed_dictionaries(
        {"ownership": st.sampled_from([None, b"BucketOwnerEnforced", b"ObjectWriter"])}
    ),
    st.fixed_dictionaries(
        {
            "public-access": st.builds(
                PublicAccessBlock,
                ignore_public_acls=st.booleans(),
                restrict_public_buckets=st.booleans(),
            ).map(encode_block)
        }
    ),
    st.none(),
)
OBJECTS = st.builds(
    ObjectInfo,
    key=st.just("k"),
    size=st.just(0),
    etag=st.just(""),
    version=st.just("v"),
    modified_ns=st.just(0),
    owner=st.sampled_from(["", BUCKET_OWNER, OTHER]),
    acl=CANNED_ACLS.map(lambda acl: acl or b""),
)


def gate_of(kept: MemoryBucketSettings) -> Gate:
    return Gate(Keeps(), kept, None, Clock(), ROOT)  # type: ignore[arg-type]


def all_at_once(gate: Gate, asked: S3Request, who: Authentication, info: ObjectInfo) -> bool:
    """What the judge says of every need with all facts."""
    access = gate.bucket("b")
    identity = who.identity
    caller = Caller(
        identity.account_id, identity.role is Role.ADMIN, identity.role is Role.READONLY
    )
    keys = RequestKeys(
        request=asked, authentication=who, now_ns=Clock().now_ns(), bucket_owner=access.owner
    )
    found = gate_object(info)
    return all(
        decide(
            Facts(
                caller=caller,
                need=need,
                resource=f"b/{asked.key}" if asked.key else "b",
                bucket=access,
                keys=keys,
                object=found,
            )
        )
        for need in needs_of(asked)
    )


def gate_object(info: ObjectInfo) -> ObjectAccess:
    return ObjectAccess(info.owner, decode_acl(info.acl))


def in_steps(gate: Gate, asked: S3Request, who: Authentication, info: ObjectInfo) -> bool:
    """The early verdict, and where it leaves the object open, the late one."""
    verdict = gate.verdict(asked, who, Clock().now_ns())
    assert verdict is not None
    if not verdict.by_object:
        return bool(verdict)
    assert any(need.of_object for need in NEEDS[asked.operation])
    try:
        gate.check_object(asked, who, verdict, info)
    except RefusedError:
        return False
    return True


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(CHANGES, WHO, st.sampled_from(REQUESTS), OBJECTS), max_size=12))
def test_early_and_late_together_are_what_the_judge_says_and_never_stale(steps):
    kept = MemoryBucketSettings()
    gate = gate_of(kept)
    for change, who, asked, info in steps:
        if change is None:
            trio.run(kept.drop, "b")
        else:
            trio.run(kept.change, "b", change)
        expected = all_at_once(gate_of(kept), asked, who, info)
        for _ in range(2):  # the second time from what is remembered
            assert in_steps(gate, asked, who, info) is expected


def test_a_changed_account_is_judged_anew():
    kept = MemoryBucketSettings()
    gate = gate_of(kept)
    delete = request("DELETE", "/b")
    assert gate.verdict(delete, person(OTHER, Role.ADMIN), 0)
    assert not gate.verdict(delete, person(OTHER, Role.USER), 0)
    trio.run(kept.change, "b", {"owner": OTHER.encode()})
    assert gate.verdict(delete, person(OTHER, Role.USER), 0)
    assert not gate.verdict(delete, person(OTHER, Role.READONLY), 0)
    assert not gate.verdict(delete, unsigned(""), 0)
    assert not gate.verdict(request("GET", "/"), unsigned(""), 0)
    assert ANONYMOUS.account_id == ""


async def test_others_run_between_the_keys_of_one_request():
    store = MemoryBucketSettings()
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::b/x*"}
    await store.change("b", {"owner": BUCKET_OWNER.encode(), "policy": policy([deny])})
    gate = Gate(Keeps(), store, None, Clock(), ROOT)
    asked, who = request("POST", "/b?delete"), person(BUCKET_OWNER, Role.USER)
    order: list[str] = []

    async def judge() -> None:
        for key in ("k", "x", "y"):
            refused = await gate.refusal_of_key(asked, who, key, "", {})
            order.append("refused" if refused else "allowed")

    async def other() -> None:
        for _ in range(3):
            await trio.lowlevel.checkpoint()
            order.append("other")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(judge)
        nursery.start_soon(other)
    judged = [index for index, what in enumerate(order) if what != "other"]
    assert [order[index] for index in judged] == ["allowed", "refused", "allowed"]
    # Tasks that can run do so once a round, in any order: only of every other round is it certain who ran between.
    assert judged[2] - judged[0] > 2
