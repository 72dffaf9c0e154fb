"""Whose a new object is, and with which ACL: by who writes it, what its headers ask for, and the ownership of objects in its bucket.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/about-object-ownership.html
What is written without credentials belongs to the bucket's owner: there is nobody else to answer for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from appliance.auth.identity import Account
from appliance.model.objects import PutOptions
from appliance.policy.access.acl import PRIVATE, Acl, encode_acl, is_public
from appliance.policy.access.bucket import BucketAccess, Ownership
from appliance.policy.access.errors import AclNotSupportedError, PublicAccessBlockedError
from appliance.s3.operations.call import Call
from appliance.s3.wire.grants import CANNED_ACL, Grantees, acl_of_headers, says_acl

_TO_BUCKET_OWNER = "bucket-owner-full-control"


def grantees(call: Call) -> Grantees:
    """Who exists."""
    accounts = call.context.accounts

    def with_email(email: str) -> str:
        account = accounts.with_email(email)
        return account.account_id if account is not None else ""

    return Grantees(lambda name: accounts.account(name) is not None, with_email)


def display_name(call: Call, account_id: str) -> str:
    """Of an account; "" where it is gone."""
    account = call.context.accounts.account(account_id)
    return account.display_name if account is not None else ""


def whose(call: Call) -> Callable[[str], Account]:
    """Who somebody is who owns an object or upload of this bucket, as the model says it."""
    bucket = call.context.gate.bucket(call.bucket)

    def person(owner: str) -> Account:
        account_id = bucket.owner if bucket.enforced else owner or bucket.owner
        found = call.context.accounts.account(account_id)
        return found or Account(account_id=account_id, display_name="")

    return person


def owned(call: Call, options: PutOptions) -> PutOptions:
    """`options` of an object that `call` writes, with owner and ACL. Raises as `owner_and_acl`."""
    owner, acl = owner_and_acl(call)
    return msgspec.structs.replace(options, owner=owner, acl=acl) if owner or acl else options


def owner_and_acl(call: Call) -> tuple[str, bytes]:
    """As `ObjectInfo` has them, of an object that `call` writes.

    Raises AclNotSupportedError, PublicAccessBlockedError, and errors of the headers.
    """
    bucket = call.context.gate.bucket(call.bucket)
    writer = call.identity.account_id or bucket.owner
    headers = call.headers
    if not says_acl(headers):
        return ("" if bucket.enforced or writer == bucket.owner else writer), b""
    given_away = (
        bucket.ownership is Ownership.BUCKET_OWNER_PREFERRED
        and headers.get(CANNED_ACL) == _TO_BUCKET_OWNER
    )
    owner = bucket.owner if bucket.enforced or given_away else writer
    acl = acl_of_headers(headers, owner, bucket.owner, grantees(call))
    check_acl(bucket, acl, headers, off=bucket.enforced)
    return ("" if owner == bucket.owner else owner), encode_acl(acl)


def check_acl(bucket: BucketAccess, acl: Acl, headers: Mapping[str, str], *, off: bool) -> None:
    """Raise AclNotSupportedError where ACLs are `off`, but for what says that all is the bucket owner's; PublicAccessBlockedError.

    Where they are off because the backend cannot keep any, an ACL that gives nobody anything does no harm.
    """
    if is_public(acl) and bucket.restrictions.block_public_acls:
        raise PublicAccessBlockedError
    if not off or headers.get(CANNED_ACL) == _TO_BUCKET_OWNER:
        return
    if acl is not PRIVATE or (bucket.acl_off and says_acl(headers)):
        raise AclNotSupportedError
