"""ACLs of buckets and objects: told, and set anew."""

from __future__ import annotations

import functools

from appliance.model.objects import ObjectInfo
from appliance.policy.access.acl import (
    PRIVATE,
    Acl,
    Grant,
    Permission,
    decode_acl,
    encode_acl,
    shown,
)
from appliance.policy.access.bucket import acl_change
from appliance.s3.gate import RefusedError
from appliance.s3.http.response import Response
from appliance.s3.operations.call import Call, empty, xml
from appliance.s3.operations.owning import check_acl, display_name, grantees
from appliance.s3.operations.payload import read_document
from appliance.s3.operations.setting import set_on_bucket
from appliance.s3.wire.errors import InvalidRequestError
from appliance.s3.wire.grants import acl_of_headers, says_acl
from appliance.s3.wire.response import Headers
from appliance.s3.wire.xml import access


async def get_bucket_acl(call: Call) -> Response:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketAcl.html."""
    await call.cache.head_bucket(call.bucket)
    bucket = call.context.gate.bucket(call.bucket)
    return _shown(call, bucket.owner, PRIVATE if bucket.acl_off else bucket.acl)


async def put_bucket_acl(call: Call) -> Response:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketAcl.html."""
    await call.cache.head_bucket(call.bucket)
    bucket = call.context.gate.bucket(call.bucket)
    acl = await _asked_for(call, bucket.owner, bucket.owner, of_bucket=True)
    bucket = call.context.gate.bucket(call.bucket)
    check_acl(bucket, acl, call.headers, off=bucket.acl_off)
    if not bucket.acl_off:
        await set_on_bucket(call, acl_change(acl))
    return empty(200)


async def get_object_acl(call: Call) -> Response:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAcl.html."""
    info = await _object(call)
    call.check_object(info)
    bucket = call.context.gate.bucket(call.bucket)
    if bucket.enforced:
        return _shown(call, bucket.owner, PRIVATE)
    return _shown(call, info.owner or bucket.owner, decode_acl(info.acl), _version(info))


async def put_object_acl(call: Call) -> Response:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectAcl.html."""
    info = await _object(call)
    bucket = call.context.gate.bucket(call.bucket)
    owner = bucket.owner if bucket.enforced else info.owner or bucket.owner
    acl = await _asked_for(call, owner, bucket.owner)
    bucket = call.context.gate.bucket(call.bucket)
    check_acl(bucket, acl, call.headers, off=bucket.enforced)
    if not bucket.enforced:
        info = await call.cache.put_acl(
            call.bucket, call.key, encode_acl(acl), version_id=call.version_id
        )
    return empty(200, _version(info))


async def _object(call: Call) -> ObjectInfo:
    return await call.cache.head(call.bucket, call.key, version_id=call.version_id)


async def _asked_for(call: Call, owner: str, bucket_owner: str, *, of_bucket: bool = False) -> Acl:
    """The ACL in the headers, or in the body, which must name the owner there is. Raises RefusedError, and errors of either."""
    body = await read_document(call)
    if says_acl(call.headers):
        if body:
            raise InvalidRequestError("An ACL comes in headers or in the body, not in both.")
        return acl_of_headers(
            call.headers, owner, bucket_owner, grantees(call), of_bucket=of_bucket
        )
    given = access.parse_acl(body, grantees(call))
    if given.owner != owner:
        raise RefusedError("an ACL cannot change the owner", bucket=call.bucket, key=call.key)
    full = (Grant(owner, Permission.FULL_CONTROL),)
    return PRIVATE if given.grants == full else given.grants


def _shown(call: Call, owner: str, acl: Acl, headers: Headers | None = None) -> Response:
    named = functools.partial(display_name, call)
    return xml(access.acl(owner, shown(acl, owner), named), headers)


def _version(info: ObjectInfo) -> Headers:
    return [("x-amz-version-id", info.version_id)] if info.version_id else []
