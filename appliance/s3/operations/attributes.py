"""GetObjectAttributes: what is known about an object, the parts it was uploaded in among it."""

from __future__ import annotations

from email.utils import formatdate

from appliance.model.errors import InvalidArgumentError
from appliance.s3.http.response import Response
from appliance.s3.operations.call import Call, xml
from appliance.s3.wire import headers as fields
from appliance.s3.wire.versions import version_headers
from appliance.s3.wire.xml import render

_KNOWN = frozenset({"ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"})
_PARTS_MAX = 1000


async def get_object_attributes(call: Call) -> Response:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAttributes.html."""
    wanted = _wanted(call)
    marker = _number(call, "x-amz-part-number-marker", 0)
    limit = min(_number(call, "x-amz-max-parts", _PARTS_MAX), _PARTS_MAX)
    info = await call.cache.head(call.bucket, call.key, version_id=call.version_id)
    call.check_object(info)
    fields.conditions(call.headers).check_read(info)
    modified = formatdate(info.modified_ns // 10**9, usegmt=True)
    document = render.object_attributes(info, wanted, marker, limit)
    return xml(document, [("Last-Modified", modified), *version_headers(info.version_id)])


def _wanted(call: Call) -> frozenset[str]:
    names = call.headers.get("x-amz-object-attributes", "").split(",")
    wanted = frozenset(name.strip() for name in names if name.strip())
    if not wanted or not wanted <= _KNOWN:
        raise InvalidArgumentError("Invalid attribute name specified.")
    return wanted


def _number(call: Call, name: str, default: int) -> int:
    value = call.headers.get(name, "")
    if not value:
        return default
    if not (value.isascii() and value.isdecimal() and len(value) <= 9):
        raise InvalidArgumentError(f"The header {name} is not a number.")
    return int(value)
