"""CORS of a bucket: its rules, and the preflights that browsers send before a page of another origin may ask for anything.

Preflights come without credentials, by the standard, and are answered to anybody: what the rules say about methods and origins is all that
they tell.
"""

from __future__ import annotations

from appliance.journal.bucket_settings import Settings
from appliance.s3.http.response import Response
from appliance.s3.operations.call import Call, empty, xml
from appliance.s3.operations.payload import read_document
from appliance.s3.operations.setting import set_on_bucket
from appliance.s3.wire.cors import CorsRule, parse_cors, preflight, render_cors
from appliance.s3.wire.errors import NoSuchCorsError

_CORS = "cors"


def cors_rules(settings: Settings) -> tuple[CorsRule, ...] | None:
    """None where the bucket has none."""
    return settings.parsed(_CORS, parse_cors)


async def get_bucket_cors(call: Call) -> Response:
    await call.cache.head_bucket(call.bucket)
    rules = cors_rules(call.context.bucket_settings.of(call.bucket))
    if rules is None:
        raise NoSuchCorsError(bucket=call.bucket)
    return xml(render_cors(rules))


async def put_bucket_cors(call: Call) -> Response:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketCors.html."""
    document = await read_document(call)
    parse_cors(document)
    await set_on_bucket(call, {_CORS: document})
    return empty(200)


async def delete_bucket_cors(call: Call) -> Response:
    await set_on_bucket(call, {_CORS: None})
    return empty(204)


async def preflighted(call: Call) -> Response:
    """OPTIONS of a bucket or object, there or not: https://docs.aws.amazon.com/AmazonS3/latest/API/RESTOPTIONSobject.html."""
    rules = cors_rules(call.context.bucket_settings.of(call.bucket))
    return empty(200, preflight(rules, call.headers))
