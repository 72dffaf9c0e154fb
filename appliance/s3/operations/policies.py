"""What is set on a bucket about access, ACLs aside: its policy and what that comes to, ownership controls, public access block."""

from __future__ import annotations

from appliance.policy.access.bucket import (
    BLOCK,
    OWNERSHIP,
    POLICY,
    BucketAccess,
    Ownership,
    encode_block,
)
from appliance.policy.access.document import parse_policy
from appliance.policy.access.errors import AclWithOwnershipError, PublicAccessBlockedError
from appliance.s3.http.response import Response, render_fields
from appliance.s3.operations.call import Call, empty, xml
from appliance.s3.operations.payload import read_document
from appliance.s3.operations.setting import set_on_bucket
from appliance.s3.wire.access_faults import (
    NoSuchBlockError,
    NoSuchOwnershipError,
    NoSuchPolicyError,
)
from appliance.s3.wire.xml import access


async def _bucket(call: Call) -> BucketAccess:
    """Of a bucket that exists. Raises NoSuchBucketError."""
    await call.cache.head_bucket(call.bucket)
    return call.context.gate.bucket(call.bucket)


# --- policy -------------------------------------------------------------------------------------------


async def get_bucket_policy(call: Call) -> Response:
    """The document as it was put: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketPolicy.html."""
    bucket = await _bucket(call)
    if bucket.policy is None:
        raise NoSuchPolicyError(extra={"BucketName": call.bucket})
    fields = render_fields([("Content-Type", "application/json")])
    return Response(200, fields, bucket.policy.document)


async def put_bucket_policy(call: Call) -> Response:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketPolicy.html."""
    document = await read_document(call)
    bucket = await _bucket(call)
    policy = parse_policy(document, call.bucket, call.context.gate.resolve)
    if policy.public and bucket.restrictions.block_public_policy:
        raise PublicAccessBlockedError
    await set_on_bucket(call, {POLICY: policy.encode()})
    return empty(204)


async def delete_bucket_policy(call: Call) -> Response:
    await set_on_bucket(call, {POLICY: None})
    return empty(204)


async def get_bucket_policy_status(call: Call) -> Response:
    """Of a bucket without a policy: not public, unless its ACL is. (AWS has no status then; Ceph, and its tests, have this one.)"""
    bucket = await _bucket(call)
    return xml(access.policy_status(public=bucket.public))


# --- ownership controls -----------------------------------------------------------------------------------


async def get_bucket_ownership_controls(call: Call) -> Response:
    bucket = await _bucket(call)
    if bucket.ownership is None:
        raise NoSuchOwnershipError(extra={"BucketName": call.bucket})
    return xml(access.ownership(bucket.ownership))


async def put_bucket_ownership_controls(call: Call) -> Response:
    """Turning ACLs off takes a bucket that gives nothing by its own."""
    rule = access.parse_ownership(await read_document(call))
    bucket = await _bucket(call)
    if rule is Ownership.BUCKET_OWNER_ENFORCED and bucket.acl is not None:
        raise AclWithOwnershipError
    await set_on_bucket(call, {OWNERSHIP: rule.value.encode()})
    return empty(200)


async def delete_bucket_ownership_controls(call: Call) -> Response:
    await set_on_bucket(call, {OWNERSHIP: None})
    return empty(204)


# --- public access block --------------------------------------------------------------------------------------


async def get_public_access_block(call: Call) -> Response:
    bucket = await _bucket(call)
    if bucket.block is None:
        raise NoSuchBlockError(extra={"BucketName": call.bucket})
    return xml(access.public_access_block(bucket.block))


async def put_public_access_block(call: Call) -> Response:
    block = access.parse_public_access_block(await read_document(call))
    await set_on_bucket(call, {BLOCK: encode_block(block)})
    return empty(200)


async def delete_public_access_block(call: Call) -> Response:
    await set_on_bucket(call, {BLOCK: None})
    return empty(204)
