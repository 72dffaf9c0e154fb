"""Objects encrypted with a key that the client brings (SSE-C): only an S3 backend's upstream can, and the cache keeps nothing of them.

What passes here in the clear must not come to lie on this node's disk, and nobody may be served it who does not bring the key: so all of
it goes past the cache. The one thing that the cache does is to forget, at a write, what it had of that name.
"""

from __future__ import annotations

import html
import re

import msgspec

from appliance.model.errors import AccessDeniedError
from appliance.model.names import check_key
from appliance.plugin import Body, BytesBody
from appliance.s3.http.response import Response
from appliance.s3.operations.call import Call, Operate, xml
from appliance.s3.operations.forwarding import (
    answer_fields,
    check_said,
    forward_request,
    put_past_cache,
    require_forwarding,
    streamed,
)
from appliance.s3.operations.multipart import upload_target
from appliance.s3.operations.payload import with_payload
from appliance.s3.wire.encryption import ALGORITHM, KEY_MD5, check_customer_key
from appliance.s3.wire.errors import InvalidRequestError, MissingContentLengthError
from appliance.s3.wire.listing import sealed_upload_id
from appliance.s3.wire.operations import Operation
from appliance.s3.wire.xml import render

_UPLOAD_ID = re.compile(rb"<UploadId>([^<]{1,2048})</UploadId>")
_NOWHERE = "Server Side Encryption with Customer provided keys is not implemented for this bucket: its storage does not encrypt."


async def read_encrypted(call: Call) -> Response:
    """GetObject, HeadObject and GetObjectAttributes with a key."""
    check_customer_key(call.headers)
    if call.verdict is not None and not call.verdict:
        # What the object's tags or ACL say is not known without reading it as somebody else.
        raise AccessDeniedError(bucket=call.bucket, key=call.key)
    if not call.cache.forwards(call.bucket):
        await call.cache.head(call.bucket, call.key)
        raise InvalidRequestError("The encryption parameters are not applicable to this object.")
    return await streamed(call, forward_request(call, BytesBody(b"")))


async def put_encrypted(call: Call) -> Response:
    """PutObject with a key."""
    check_customer_key(call.headers)
    check_key(call.key)
    require_forwarding(call, _NOWHERE)
    return await put_past_cache(call)


async def create_encrypted_upload(call: Call) -> Response:
    """CreateMultipartUpload with a key. The parts come with it too; completing and aborting needs none."""
    check_customer_key(call.headers)
    check_key(call.key)
    require_forwarding(call, _NOWHERE)
    check_said(call)
    async with call.cache.forward(forward_request(call, BytesBody(b""))) as answer:
        document = await answer.read()
    fields = answer_fields(answer)
    upload_id = _UPLOAD_ID.search(document)
    if answer.status != 200 or upload_id is None:
        return Response(answer.status, fields, document)
    told = html.unescape(upload_id[1].decode())
    sealed = sealed_upload_id(told, call.bucket, call.key, call.secret)
    about_key = [(name, call.headers[name]) for name in (ALGORITHM, KEY_MD5)]
    return xml(render.initiate_multipart_upload(call.bucket, call.key, sealed), about_key)


async def put_encrypted_part(call: Call) -> Response:
    """UploadPart with a key."""
    check_customer_key(call.headers)
    upload_id, number = upload_target(call)
    require_forwarding(call, _NOWHERE)

    async def store(body: Body) -> Response:
        if body.size is None:
            raise MissingContentLengthError
        request = forward_request(call, body)
        query = (("partNumber", str(number)), ("uploadId", upload_id))
        request = msgspec.structs.replace(request, query=query)
        async with call.cache.forward(request) as answer:
            return Response(answer.status, answer_fields(answer), await answer.read())

    return await with_payload(call, (), store)


ENCRYPTED: dict[Operation, Operate] = {
    Operation.GetObject: read_encrypted,
    Operation.HeadObject: read_encrypted,
    Operation.GetObjectAttributes: read_encrypted,
    Operation.PutObject: put_encrypted,
    Operation.CreateMultipartUpload: create_encrypted_upload,
    Operation.UploadPart: put_encrypted_part,
}
