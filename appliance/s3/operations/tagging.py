"""Tags of objects."""

from __future__ import annotations

from appliance.s3.http.response import Response
from appliance.s3.operations.call import Call, empty, xml
from appliance.s3.operations.payload import read_document
from appliance.s3.wire.versions import version_headers
from appliance.s3.wire.xml import parse, render


async def get_object_tagging(call: Call) -> Response:
    """No tags are an empty set, not an error: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectTagging.html."""
    version_id = call.version_id
    tags = await call.cache.get_tags(call.bucket, call.key, version_id=version_id)
    return xml(render.tagging(tags), version_headers(version_id))


async def put_object_tagging(call: Call) -> Response:
    version_id = call.version_id
    tags = parse.parse_tagging(await read_document(call))
    await call.context.gate.admit(call.request, call.authentication, request_tags=tags)
    info = await call.cache.put_tags(call.bucket, call.key, tags, version_id=version_id)
    return empty(200, version_headers(info.version_id))


async def delete_object_tagging(call: Call) -> Response:
    info = await call.cache.put_tags(call.bucket, call.key, {}, version_id=call.version_id)
    return empty(204, version_headers(info.version_id))
