"""Buckets: list, create, look at, delete."""

from __future__ import annotations

import contextlib

from appliance.model.errors import BucketExistsError
from appliance.model.names import check_new_bucket_name
from appliance.s3.http.response import Response
from appliance.s3.operations.call import Call, empty, xml
from appliance.s3.operations.payload import read_document
from appliance.s3.wire.errors import InvalidLocationError
from appliance.s3.wire.xml import parse, render

_UNVERSIONED = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n'
    b'<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"/>'
)


async def list_buckets(call: Call) -> Response:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListBuckets.html."""
    gate = call.context.gate
    found = await call.cache.list_buckets()
    mine = [bucket for bucket in found if gate.may_see(call.identity, bucket.name)]
    return xml(render.list_buckets(mine, call.identity))


async def create_bucket(call: Call) -> Response:
    """The location constraint must be this endpoint's region (or absent). Creating one's own bucket again succeeds, as in us-east-1."""
    constraint = parse.parse_create_bucket(await read_document(call))
    if constraint and constraint != call.context.settings.region:
        raise InvalidLocationError
    check_new_bucket_name(call.bucket)
    with contextlib.suppress(BucketExistsError):
        await call.cache.create_bucket(call.bucket)
    return empty(200, [("Location", f"/{call.bucket}")])


async def head_bucket(call: Call) -> Response:
    await call.cache.head_bucket(call.bucket)
    return empty(200, [("x-amz-bucket-region", call.context.settings.region)])


async def delete_bucket(call: Call) -> Response:
    await call.cache.delete_bucket(call.bucket)
    await call.context.bucket_settings.drop(call.bucket)
    return empty(204)


async def get_bucket_versioning(call: Call) -> Response:
    """Never enabled, never suspended: an empty configuration. Clients ask before they decide how to delete."""
    await call.cache.head_bucket(call.bucket)
    return xml(_UNVERSIONED)


async def get_bucket_location(call: Call) -> Response:
    await call.cache.head_bucket(call.bucket)
    return xml(render.bucket_location(call.context.settings.region))
