"""May this request be done? One pure function over facts.

Order, as AWS has it: an explicit Deny in the policy; an Allow in the policy; ownership; grants of ACLs; else no. Around it the roles:
admins (root among them) need no permission but heed a Deny, read-only accounts never write. Nobody is locked out of repairing a policy:
the bucket's owner and admins may get, put and delete it whatever it says.

A policy, and the bucket's owner, can give access only to objects that are the bucket owner's. Whose an object is may not be known when the
question is asked first: then the answer is for the bucket owner's own, and `by_object` says that it may be another for somebody else's.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/how-s3-evaluates-access-control.html
"""

from __future__ import annotations

from collections.abc import MutableMapping

import msgspec

from appliance.policy.access.acl import PRIVATE, Acl, Permission, permits
from appliance.policy.access.actions import POLICY_ACTIONS
from appliance.policy.access.bucket import BucketAccess
from appliance.policy.access.conditions import Condition, RequestKeys
from appliance.policy.access.document import Statement
from appliance.policy.access.patterns import TooLongError


class Caller(msgspec.Struct, frozen=True):
    """Who asks. `account_id` is "" without credentials. `admin`: needs no permission; `read_only`: never writes."""

    account_id: str
    admin: bool = False
    read_only: bool = False


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """One action that an operation takes, and what besides a policy can give it.

    `by_bucket`, `by_object`: the grant in the bucket's or object's ACL that does, if any. `of_object`: whose the object is matters: its
    owner may, the bucket's owner may not with others' objects. `implied`: another need of the same request gives it, if nothing denies it.
    """

    action: str
    writes: bool = False
    by_bucket: Permission | None = None
    by_object: Permission | None = None
    of_object: bool = False
    implied: bool = False


class ObjectAccess(msgspec.Struct, frozen=True):
    """Owner ("" is the bucket's) and ACL of an object."""

    owner: str = ""
    acl: Acl = PRIVATE


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """`resource` is `bucket` or `bucket/key`. `object` is None while it is not known, or does not exist.

    `held`: for a request about many objects, one mapping for all: it notes what conditions come to that are not about the object.
    """

    caller: Caller
    need: Need
    resource: str
    bucket: BucketAccess
    keys: RequestKeys
    object: ObjectAccess | None = None
    held: MutableMapping[Condition, bool] | None = None


class Allow(msgspec.Struct, frozen=True):
    """`by_object`: only if the object is the bucket owner's, which was not known."""

    by_object: bool = False

    def __bool__(self) -> bool:
        return True


class Deny(msgspec.Struct, frozen=True):
    """`reason` is for the log. `by_object`: the object, which was not known, might give it. `explicit`: not just for want of an Allow."""

    reason: str
    by_object: bool = False
    explicit: bool = True

    def __bool__(self) -> bool:
        return False


ALLOW = Allow()
ALLOW_OWN = Allow(by_object=True)
_TOO_LONG = Deny("the request has a name or header that is too long to be held against the policy")


def decide(facts: Facts) -> Allow | Deny:
    """See the module."""
    caller, need, bucket = facts.caller, facts.need, facts.bucket
    owns_bucket = bool(caller.account_id) and caller.account_id == bucket.owner
    if caller.read_only and need.writes:
        return Deny("the account may only read")
    repairs = need.action in POLICY_ACTIONS and (owns_bucket or caller.admin)
    try:
        denied, allowed = _by_policy(facts)
    except TooLongError:
        return ALLOW if repairs else _TOO_LONG
    if denied is not None and not repairs:
        return Deny(f"denied by statement {denied.sid or '(without Sid)'} of the policy")
    if caller.admin or need.implied:
        return ALLOW
    unknown = need.of_object and facts.object is None and not bucket.enforced
    if _own_object(facts):
        if owns_bucket or (allowed is not None and not _restricted(facts)):
            return ALLOW_OWN if unknown else ALLOW
    elif caller.account_id and facts.object and caller.account_id == facts.object.owner:
        return ALLOW
    if _by_acl(facts):
        return ALLOW
    return Deny("nothing allows it", by_object=unknown, explicit=False)


def settled(caller: Caller, bucket: BucketAccess) -> Allow | None:
    """What every request of this caller to this bucket comes to, as long as nothing is set anew; None if that depends on the request.

    ALLOW: all is allowed. ALLOW_OWN: all but what `of_object` is about objects of others.
    """
    if caller.read_only or (
        bucket.policy is not None and bucket.policy.about(caller.account_id)[0]
    ):
        return None
    if caller.admin:
        return ALLOW
    if caller.account_id and caller.account_id == bucket.owner:
        return ALLOW if bucket.enforced else ALLOW_OWN
    return None


def conceivable(facts: Facts) -> bool:
    """Whether `decide` might allow this for any resource of the bucket: `resource`, `keys` and denials are not looked at."""
    caller, need, bucket = facts.caller, facts.need, facts.bucket
    if caller.read_only and need.writes:
        return False
    if caller.admin or need.implied or need.of_object or need.by_object is not None:
        return True
    if caller.account_id and caller.account_id == bucket.owner:
        return True
    if bucket.policy is not None and not _restricted(facts):
        _, allowing = bucket.policy.about(caller.account_id)
        if any(need.action in statement.actions for statement in allowing):
            return True
    return _by_acl(facts)


def _by_policy(facts: Facts) -> tuple[Statement | None, Statement | None]:
    """A statement that denies it, and one that allows it."""
    policy = facts.bucket.policy
    if policy is None:
        return None, None
    denying, allowing = policy.about(facts.caller.account_id)
    asked = (facts.need.action, facts.resource, facts.keys, facts.held)
    denied = next((one for one in denying if one.applies(*asked)), None)
    return denied, next((one for one in allowing if one.applies(*asked)), None)


def _own_object(facts: Facts) -> bool:
    """Whether what it is about is the bucket owner's, as far as is known and matters."""
    if not facts.need.of_object or facts.object is None or facts.bucket.enforced:
        return True
    return facts.object.owner in {"", facts.bucket.owner}


def _restricted(facts: Facts) -> bool:
    """The public access block takes back what a public policy gives to anybody but the owner."""
    policy = facts.bucket.policy
    restrict = facts.bucket.restrictions.restrict_public_buckets
    return restrict and policy is not None and policy.public


def _by_acl(facts: Facts) -> bool:
    need, bucket = facts.need, facts.bucket
    ignore = bucket.restrictions.ignore_public_acls
    who = facts.caller.account_id
    if need.by_bucket is not None and not bucket.acl_off:
        return permits(bucket.acl, who, need.by_bucket, ignore_public=ignore)
    if need.by_object is None or facts.object is None or bucket.enforced:
        return False
    return permits(facts.object.acl, who, need.by_object, ignore_public=ignore)
