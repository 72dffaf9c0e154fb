"""Listings of objects, in S3's three forms; the cache knows one."""

from __future__ import annotations

from appliance.model.objects import VersionListRequest
from appliance.s3.http.response import Response
from appliance.s3.operations.call import Call, xml
from appliance.s3.operations.owning import whose
from appliance.s3.wire.listing import list_query_v1, list_query_v2, list_query_versions
from appliance.s3.wire.xml import render


async def list_objects(call: Call) -> Response:
    query = list_query_v1(call.bucket, call.query)
    page = await call.cache.list_objects(call.bucket, query.request)
    return xml(render.list_objects_v1(query, page, whose(call)))


async def list_objects_v2(call: Call) -> Response:
    query = list_query_v2(call.bucket, call.query, call.secret)
    page = await call.cache.list_objects(call.bucket, query.request)
    return xml(render.list_objects_v2(query, page, whose(call), call.secret))


async def list_object_versions(call: Call) -> Response:
    """Of buckets without versioning: each object's one version, "null"."""
    query = list_query_versions(call.bucket, call.query)
    request = VersionListRequest(
        prefix=query.prefix,
        delimiter=query.delimiter,
        key_marker=query.marker,
        version_id_marker=query.version_id_marker,
        limit=query.limit,
    )
    page = await call.cache.list_versions(call.bucket, request)
    return xml(render.list_object_versions(query, page, whose(call)))
