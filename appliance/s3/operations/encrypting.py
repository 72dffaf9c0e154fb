"""Objects encrypted with a key that the client brings (SSE-C): only an S3 backend's upstream can, and the cache keeps nothing of them.

What passes here in the clear must not come to lie on this node's disk, and nobody may be served it who does not bring the key: so all of
it goes past the cache. The one thing that the cache does is to forget, at a write, what it had of that name.
"""

from __future__ import annotations

from appliance.model.errors import AccessDeniedError
from appliance.model.names import check_key
from appliance.plugin import Body, BytesBody
from appliance.s3.http.response import Response
from appliance.s3.operations.call import Call, Operate
from appliance.s3.operations.forwarding import (
    answer_fields,
    forward_request,
    require_forwarding,
    streamed,
)
from appliance.s3.operations.payload import with_payload
from appliance.s3.wire.encryption import check_customer_key
from appliance.s3.wire.errors import InvalidRequestError, MissingContentLengthError
from appliance.s3.wire.operations import Operation

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

    async def store(body: Body) -> Response:
        if body.size is None:
            raise MissingContentLengthError
        answer, document = await call.cache.forward_write(forward_request(call, body))
        return Response(answer.status, answer_fields(call, answer), document)

    return await with_payload(call, (), store)


ENCRYPTED: dict[Operation, Operate] = {
    Operation.GetObject: read_encrypted,
    Operation.HeadObject: read_encrypted,
    Operation.GetObjectAttributes: read_encrypted,
    Operation.PutObject: put_encrypted,
}
