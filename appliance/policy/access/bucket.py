"""What is set on a bucket about access to it, understood: owner, ACL, policy, ownership of its objects, public access block.

`Settings` (the named values that the journal keeps) go in, a frozen `BucketAccess` comes out; each value is written by one function here.
A value that cannot be read, which takes a damaged journal, gives nothing to anybody: closed, not open.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Mapping

import msgspec

from appliance.policy.access.acl import PRIVATE, Acl, decode_acl, encode_acl, is_public
from appliance.policy.access.document import Policy, deny_all, load_policy
from appliance.policy.access.errors import AccessSettingError

_LOG = logging.getLogger(__name__)

# Names of settings.
OWNER, ACL, POLICY, OWNERSHIP, BLOCK = "owner", "acl", "policy", "ownership", "public-access"


class Ownership(enum.StrEnum):
    """Whose the objects are that others write: https://docs.aws.amazon.com/AmazonS3/latest/userguide/about-object-ownership.html."""

    OBJECT_WRITER = "ObjectWriter"
    BUCKET_OWNER_PREFERRED = "BucketOwnerPreferred"
    BUCKET_OWNER_ENFORCED = "BucketOwnerEnforced"


class PublicAccessBlock(msgspec.Struct, frozen=True, kw_only=True):
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_PublicAccessBlockConfiguration.html."""

    block_public_acls: bool = False
    ignore_public_acls: bool = False
    block_public_policy: bool = False
    restrict_public_buckets: bool = False


NO_BLOCK = PublicAccessBlock()


class BucketAccess(msgspec.Struct, frozen=True, kw_only=True):
    """`ownership` and `block` are None where nobody set them. `acls`: whether objects of this bucket can have owners and ACLs at all."""

    owner: str
    acl: Acl = PRIVATE
    policy: Policy | None = None
    ownership: Ownership | None = None
    block: PublicAccessBlock | None = None
    acls: bool = True

    @property
    def acl_off(self) -> bool:
        """Ownership controls turn ACLs off, the bucket's own and those of objects: only policies give anything to others."""
        return self.ownership is Ownership.BUCKET_OWNER_ENFORCED

    @property
    def enforced(self) -> bool:
        """All objects are the bucket owner's, and have no ACLs: by choice, or because the backend cannot keep any."""
        return not self.acls or self.acl_off

    @property
    def restrictions(self) -> PublicAccessBlock:
        return self.block or NO_BLOCK

    @property
    def public(self) -> bool:
        """What GetBucketPolicyStatus says: somebody unknown may do something here."""
        restrictions = self.restrictions
        by_acl = not self.acl_off and not restrictions.ignore_public_acls and is_public(self.acl)
        by_policy = self.policy is not None and self.policy.public
        return by_acl or (by_policy and not restrictions.restrict_public_buckets)


def bucket_access(
    bucket: str, values: Mapping[str, bytes], root: str, *, acls: bool
) -> BucketAccess:
    """What the settings of a bucket say. Without an owner it is root's, whose canonical id is `root`."""
    try:
        ownership = values.get(OWNERSHIP)
        block = values.get(BLOCK)
        return BucketAccess(
            owner=values.get(OWNER, b"").decode() or root,
            acl=decode_acl(values.get(ACL, b"")),
            policy=load_policy(values[POLICY], bucket) if POLICY in values else None,
            ownership=Ownership(ownership.decode()) if ownership is not None else None,
            block=_decode_block(block) if block is not None else None,
            acls=acls,
        )
    except (AccessSettingError, msgspec.MsgspecError, ValueError) as error:
        _LOG.error(
            "The access settings of bucket %s cannot be read (%s): it is closed until they are put again.",
            bucket,
            error,
        )
        owner = values.get(OWNER, b"").decode("ascii", "replace")
        return BucketAccess(owner=owner or root, policy=deny_all(), acls=acls)


_decode_block = msgspec.msgpack.Decoder(PublicAccessBlock).decode


def encode_block(block: PublicAccessBlock) -> bytes:
    """The value of BLOCK."""
    return msgspec.msgpack.encode(block)


def acl_change(acl: Acl) -> dict[str, bytes | None]:
    """The change of settings that puts a bucket's ACL."""
    return {ACL: encode_acl(acl) or None}
