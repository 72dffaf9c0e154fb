"""Buckets: list, create, look at, delete."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Awaitable, Callable

import trio

from appliance.model.errors import (
    ApplianceError,
    BackendError,
    BucketExistsError,
    NoSuchBucketError,
)
from appliance.model.names import check_new_bucket_name
from appliance.plugin import BytesBody, ForwardRequest
from appliance.policy.access.bucket import ACL, OWNER, OWNERSHIP, Ownership, acl_change
from appliance.policy.access.errors import AclWithOwnershipError
from appliance.s3.http.response import Response
from appliance.s3.operations.call import Call, empty, xml
from appliance.s3.operations.forwarding import require_forwarding
from appliance.s3.operations.owning import grantees
from appliance.s3.operations.payload import read_document
from appliance.s3.wire.access_faults import BucketTakenError
from appliance.s3.wire.bucket_listing import buckets_query, page_of
from appliance.s3.wire.errors import InvalidArgumentValueError, InvalidLocationError
from appliance.s3.wire.grants import acl_of_headers, says_acl
from appliance.s3.wire.xml import parse, render

_OBJECT_LOCK = "x-amz-bucket-object-lock-enabled"


async def list_buckets(call: Call) -> Response:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListBuckets.html."""
    gate = call.context.gate
    region, account_id = call.context.settings.region, call.identity.account_id
    query = buckets_query(call.query, account_id, call.secret)
    found = await call.cache.list_buckets()
    mine = [bucket for bucket in found if gate.may_see(call.identity, bucket.name)]
    page = page_of(mine, query, region, account_id, call.secret)
    return xml(
        render.list_buckets(
            page.buckets,
            call.identity,
            token=page.token,
            prefix=query.prefix,
            region=region if query.asked else "",
        )
    )


async def create_bucket(call: Call) -> Response:
    """The location constraint must be this endpoint's region (or absent). Creating one's own bucket again succeeds, as in us-east-1."""
    document = await read_document(call)
    constraint = parse.parse_create_bucket(document)
    if constraint and constraint != call.context.settings.region:
        raise InvalidLocationError
    check_new_bucket_name(call.bucket)
    settings = _first_settings(call)
    create = functools.partial(call.cache.create_bucket, call.bucket)
    if call.headers.get(_OBJECT_LOCK, "").lower() == "true":
        require_forwarding(call, "Object lock is not implemented for this bucket.")
        create = functools.partial(_create_with_lock, call, document)
    async with call.context.gate.naming(call.bucket):
        if await _exists(call):
            if not _is_that(call, settings):
                raise BucketTakenError(extra={"BucketName": call.bucket})
        else:
            await _create(call, settings, create)
    return empty(200, [("Location", f"/{call.bucket}")])


def _first_settings(call: Call) -> dict[str, bytes | None]:
    """Owner, and what the headers say of ACL and ownership of objects. Raises AclWithOwnershipError, and errors of the headers."""
    owner = call.identity.account_id
    ownership = call.headers.get("x-amz-object-ownership", "")
    if ownership and ownership not in set(Ownership):
        raise InvalidArgumentValueError(
            "Invalid x-amz-object-ownership header", "x-amz-object-ownership", ownership
        )
    acl = acl_of_headers(call.headers, owner, owner, grantees(call), of_bucket=True)
    if acl is not None and ownership == Ownership.BUCKET_OWNER_ENFORCED:
        raise AclWithOwnershipError
    return {
        OWNER: owner.encode(),
        OWNERSHIP: ownership.encode() or None,
        **acl_change(acl),
    }


def _is_that(call: Call, settings: dict[str, bytes | None]) -> bool:
    """Whether the bucket that is there is the caller's, and its ACL the one that is asked for, if one is."""
    there = call.context.bucket_settings.of(call.bucket)
    if call.context.gate.bucket(call.bucket).owner != call.identity.account_id:
        return False
    return not says_acl(call.headers) or there.get(ACL) == settings[ACL]


async def _exists(call: Call) -> bool:
    try:
        await call.cache.head_bucket(call.bucket)
    except NoSuchBucketError:
        return False
    return True


async def _create_with_lock(call: Call, document: bytes) -> None:
    """Only the upstream can make a bucket whose objects may be locked. Raises BucketExistsError, BackendError."""
    request = ForwardRequest(
        method="PUT",
        bucket=call.bucket,
        headers={_OBJECT_LOCK: "true"},
        body=BytesBody(document),
    )
    async with call.cache.forward(request) as answer:
        said = await answer.read()
    if answer.status == 409:
        raise BucketExistsError(bucket=call.bucket)
    if answer.status != 200:
        raise BackendError(f"The upstream answered {answer.status} to CreateBucket: {said[:200]!r}")


async def _create(
    call: Call,
    settings: dict[str, bytes | None],
    create: Callable[[], Awaitable[None]],
) -> None:
    """Whose it is is known before it exists: a crash leaves a claim on nothing, which the next who creates it replaces."""
    kept = call.context.bucket_settings
    await kept.drop(call.bucket)
    await kept.change(call.bucket, settings)
    try:
        await create()
    except BaseException as error:
        # Cancelled, it may have been created all the same.
        with trio.CancelScope(shield=True), contextlib.suppress(ApplianceError):
            if isinstance(error, BucketExistsError) or not await _exists(call):
                await kept.drop(call.bucket)
        if isinstance(error, BucketExistsError):
            raise BucketTakenError(extra={"BucketName": call.bucket}) from None
        raise


async def head_bucket(call: Call) -> Response:
    await call.cache.head_bucket(call.bucket)
    return empty(200, [("x-amz-bucket-region", call.context.settings.region)])


async def delete_bucket(call: Call) -> Response:
    async with call.context.gate.naming(call.bucket):
        await call.cache.delete_bucket(call.bucket)
        await call.context.bucket_settings.drop(call.bucket)
    return empty(204)


async def get_bucket_versioning(call: Call) -> Response:
    """Never enabled: an empty configuration. Clients ask before they decide how to delete."""
    return xml(render.versioning(await call.cache.get_versioning(call.bucket)))


async def put_bucket_versioning(call: Call) -> Response:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketVersioning.html."""
    state = parse.parse_versioning(await read_document(call))
    await call.cache.put_versioning(call.bucket, state)
    return empty(200)


async def get_bucket_location(call: Call) -> Response:
    await call.cache.head_bucket(call.bucket)
    return xml(render.bucket_location(call.context.settings.region))
