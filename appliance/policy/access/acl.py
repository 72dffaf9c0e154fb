"""Access control lists: who may do what with one bucket or one object, beside its owner.

An ACL is its grants in order, the owner's own among them. PRIVATE (b"" when encoded) is what everything begins with: all to the owner.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable, Iterable

import msgspec

from appliance.policy.access.errors import MalformedAclError

ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"
AUTHENTICATED_USERS = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
LOG_DELIVERY = "http://acs.amazonaws.com/groups/s3/LogDelivery"
GROUPS = frozenset({ALL_USERS, AUTHENTICATED_USERS, LOG_DELIVERY})
PUBLIC_GROUPS = frozenset({ALL_USERS, AUTHENTICATED_USERS})
GRANTS_MAX = 100


class Permission(enum.StrEnum):
    """S3's five. Of an object WRITE means nothing."""

    FULL_CONTROL = "FULL_CONTROL"
    READ = "READ"
    WRITE = "WRITE"
    READ_ACP = "READ_ACP"
    WRITE_ACP = "WRITE_ACP"


class Grant(msgspec.Struct, frozen=True, array_like=True):
    """`grantee` is a canonical id or one of GROUPS."""

    grantee: str
    permission: Permission

    @property
    def public(self) -> bool:
        return self.grantee in PUBLIC_GROUPS


Grants = tuple[Grant, ...]
Acl = Grants | None
PRIVATE: Acl = None


def _full(account_id: str) -> Grant:
    return Grant(account_id, Permission.FULL_CONTROL)


def _to_group(*grants: tuple[str, Permission]) -> Callable[[str, str], Acl]:
    given = tuple(Grant(*grant) for grant in grants)
    return lambda owner, _bucket_owner: (*given, _full(owner))


def _to_bucket_owner(permission: Permission) -> Callable[[str, str], Acl]:
    def make(owner: str, bucket_owner: str) -> Acl:
        if owner == bucket_owner:
            return PRIVATE
        return (_full(owner), Grant(bucket_owner, permission))

    return make


# https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html#canned-acl: (owner, owner of the bucket) -> grants.
CANNED: dict[str, Callable[[str, str], Acl]] = {
    "private": lambda _owner, _bucket_owner: PRIVATE,
    "public-read": _to_group((ALL_USERS, Permission.READ)),
    "public-read-write": _to_group((ALL_USERS, Permission.READ), (ALL_USERS, Permission.WRITE)),
    "authenticated-read": _to_group((AUTHENTICATED_USERS, Permission.READ)),
    # To Amazon EC2, which is not here.
    "aws-exec-read": lambda _owner, _bucket_owner: PRIVATE,
    "bucket-owner-read": _to_bucket_owner(Permission.READ),
    "bucket-owner-full-control": _to_bucket_owner(Permission.FULL_CONTROL),
    "log-delivery-write": _to_group(
        (LOG_DELIVERY, Permission.WRITE), (LOG_DELIVERY, Permission.READ_ACP)
    ),
}
# Of a bucket these say nothing, as its owner is its bucket's owner: S3 ignores them there.
OBJECT_ONLY = frozenset({"bucket-owner-read", "bucket-owner-full-control"})


def shown(acl: Acl, owner: str) -> Grants:
    """The grants as they are listed: to groups first, as canned ACLs have them."""
    if acl is None:
        return (_full(owner),)
    return tuple(sorted(acl, key=lambda grant: grant.grantee not in GROUPS))


def is_public(acl: Acl) -> bool:
    return any(grant.public for grant in acl or ())


def permits(acl: Acl, account_id: str, permission: Permission, *, ignore_public: bool) -> bool:
    """Whether a grant gives `permission` to an account ("" is who sends no credentials), its ownership aside."""
    wanted = (permission, Permission.FULL_CONTROL)
    return any(
        grant.permission in wanted and _is_for(grant, account_id, ignore_public)
        for grant in acl or ()
    )


def _is_for(grant: Grant, account_id: str, ignore_public: bool) -> bool:
    if grant.public:
        known = grant.grantee == ALL_USERS or bool(account_id)
        return known and not ignore_public
    return bool(account_id) and grant.grantee == account_id


def make_acl(grants: Iterable[Grant]) -> Grants:
    """Grants that somebody gave one by one, each once. Raises MalformedAclError where there are too many."""
    acl = tuple(dict.fromkeys(grants))
    if len(acl) > GRANTS_MAX:
        raise MalformedAclError(f"An ACL has at most {GRANTS_MAX} grants.")
    return acl


def encode_acl(acl: Acl) -> bytes:
    """b"" for PRIVATE; `decode_acl` reads it."""
    return b"" if acl is None else msgspec.msgpack.encode(acl)


@functools.lru_cache(maxsize=4096)
def decode_acl(encoded: bytes) -> Acl:
    """Raises msgspec.MsgspecError where it is none."""
    return msgspec.msgpack.decode(encoded, type=Grants) if encoded else PRIVATE
