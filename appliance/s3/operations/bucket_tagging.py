"""Tags of buckets: set and told, without effect on anything here."""

from __future__ import annotations

from appliance.model.errors import NoSuchTagSetError
from appliance.s3.http.response import Response
from appliance.s3.operations.call import Call, empty, xml
from appliance.s3.operations.payload import read_document
from appliance.s3.operations.setting import set_on_bucket
from appliance.s3.wire.xml import parse, render

_TAGGING = "tagging"


async def get_bucket_tagging(call: Call) -> Response:
    """No tags are an error here: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketTagging.html."""
    await call.cache.head_bucket(call.bucket)
    tags = call.context.bucket_settings.of(call.bucket).parsed(_TAGGING, parse.parse_bucket_tagging)
    if not tags:
        raise NoSuchTagSetError(bucket=call.bucket)
    return xml(render.tagging(tags))


async def put_bucket_tagging(call: Call) -> Response:
    document = await read_document(call)
    parse.parse_bucket_tagging(document)
    await set_on_bucket(call, {_TAGGING: document})
    return empty(204)


async def delete_bucket_tagging(call: Call) -> Response:
    await set_on_bucket(call, {_TAGGING: None})
    return empty(204)
