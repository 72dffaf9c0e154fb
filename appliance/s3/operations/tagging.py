"""Tags of objects."""

from __future__ import annotations

from appliance.s3.http.response import Response
from appliance.s3.operations.call import Call, empty, xml
from appliance.s3.operations.payload import read_document
from appliance.s3.wire.xml import parse, render


async def get_object_tagging(call: Call) -> Response:
    """No tags are an empty set, not an error: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectTagging.html."""
    call.check_version()
    return xml(render.tagging(await call.cache.get_tags(call.bucket, call.key)))


async def put_object_tagging(call: Call) -> Response:
    call.check_version()
    tags = parse.parse_tagging(await read_document(call))
    await call.context.gate.admit(call.request, call.authentication, request_tags=tags)
    await call.cache.put_tags(call.bucket, call.key, tags)
    return empty(200)


async def delete_object_tagging(call: Call) -> Response:
    call.check_version()
    await call.cache.put_tags(call.bucket, call.key, {})
    return empty(204)
