"""Operations that an S3 backend's upstream carries out as it knows them: lifecycle rules, object lock, and what has no other meaning here.

The request is authenticated and authorised here, stripped of what is ours (wire/forwarding.py), and signed anew by the backend; its answer
comes back as it is. Where the backend is no S3 service, such an operation is not implemented.

What names a place outside of its bucket, to be written with the appliance's own permissions (replicas, logs, inventories, notifications),
would let one account reach another's bucket: only administrators may configure it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from appliance.auth.identity import Role
from appliance.model.errors import AccessDeniedError, UnsupportedError
from appliance.model.names import check_key
from appliance.plugin import Body, BytesBody, ForwardAnswer, ForwardRequest
from appliance.s3.http.response import Response, Sink, render_fields
from appliance.s3.operations.call import Call
from appliance.s3.operations.owning import owner_and_acl
from appliance.s3.operations.payload import read_document, with_payload
from appliance.s3.wire.errors import MissingContentLengthError
from appliance.s3.wire.forwarding import answered_headers, forwarded_headers, forwarded_query
from appliance.s3.wire.object_lock import BYPASS, OBJECT_LOCK, asks_for_bypass
from appliance.s3.wire.operations import Operation as Op
from appliance.s3.wire.options import system_headers, tags_of_header, user_metadata
from appliance.s3.wire.xml.tree import parse_tree

_BODILESS = frozenset({204, 304})
_REACHING_OUT = frozenset(
    {
        Op.PutBucketAnalyticsConfiguration,
        Op.PutBucketInventoryConfiguration,
        Op.PutBucketLogging,
        Op.PutBucketNotificationConfiguration,
        Op.PutBucketReplication,
    }
)
# Only a part of what a restore may ask for reaches out.
_REACHING_OUT_ELEMENT = "outputlocation"
FORWARDED = frozenset(
    {
        Op.GetBucketAccelerateConfiguration,
        Op.PutBucketAccelerateConfiguration,
        Op.GetBucketAnalyticsConfiguration,
        Op.ListBucketAnalyticsConfigurations,
        Op.PutBucketAnalyticsConfiguration,
        Op.DeleteBucketAnalyticsConfiguration,
        Op.GetBucketEncryption,
        Op.PutBucketEncryption,
        Op.DeleteBucketEncryption,
        Op.GetBucketIntelligentTieringConfiguration,
        Op.ListBucketIntelligentTieringConfigurations,
        Op.PutBucketIntelligentTieringConfiguration,
        Op.DeleteBucketIntelligentTieringConfiguration,
        Op.GetBucketInventoryConfiguration,
        Op.ListBucketInventoryConfigurations,
        Op.PutBucketInventoryConfiguration,
        Op.DeleteBucketInventoryConfiguration,
        Op.GetBucketLifecycleConfiguration,
        Op.PutBucketLifecycleConfiguration,
        Op.DeleteBucketLifecycle,
        Op.GetBucketLogging,
        Op.PutBucketLogging,
        Op.GetBucketMetricsConfiguration,
        Op.ListBucketMetricsConfigurations,
        Op.PutBucketMetricsConfiguration,
        Op.DeleteBucketMetricsConfiguration,
        Op.GetBucketNotificationConfiguration,
        Op.PutBucketNotificationConfiguration,
        Op.GetBucketReplication,
        Op.PutBucketReplication,
        Op.DeleteBucketReplication,
        Op.GetBucketRequestPayment,
        Op.PutBucketRequestPayment,
        Op.GetBucketWebsite,
        Op.PutBucketWebsite,
        Op.DeleteBucketWebsite,
        Op.GetObjectLockConfiguration,
        Op.PutObjectLockConfiguration,
        Op.GetObjectLegalHold,
        Op.PutObjectLegalHold,
        Op.GetObjectRetention,
        Op.PutObjectRetention,
        Op.GetObjectTorrent,
        Op.RestoreObject,
        Op.SelectObjectContent,
    }
)


async def forwarded(call: Call) -> Response:
    """Any of `FORWARDED`. Raises UnsupportedError where the bucket's backend passes nothing on."""
    operation = call.request.operation
    require_forwarding(call, f"The operation {operation.name} is not implemented here.")
    if operation in _REACHING_OUT and call.identity.role is not Role.ADMIN:
        raise AccessDeniedError(bucket=call.bucket, key=call.key)
    document = b""
    if operation.method in {"PUT", "POST"}:
        document = await read_document(call)
        reaching = operation is Op.RestoreObject and _restores_elsewhere(document)
        if reaching and call.identity.role is not Role.ADMIN:
            raise AccessDeniedError(bucket=call.bucket, key=call.key)
    return await streamed(call, forward_request(call, BytesBody(document)))


def _restores_elsewhere(document: bytes) -> bool:
    """Whether any element says so, in whatever encoding. Raises MalformedXmlError: what is not understood here, others might understand."""
    if not document:
        return False
    nodes = [parse_tree(document, "RestoreRequest")]
    for node in nodes:
        nodes.extend(node.children)
    return any(node.name.lower() == _REACHING_OUT_ELEMENT for node in nodes)


def require_forwarding(call: Call, sentence: str) -> None:
    """Raise UnsupportedError with `sentence` unless the bucket's backend passes requests on."""
    if not call.cache.forwards(call.bucket):
        raise UnsupportedError(sentence, bucket=call.bucket, key=call.key)


def forward_request(call: Call, body: Body) -> ForwardRequest:
    """Raises InvalidArgumentValueError for a version id that can be none."""
    _ = call.version_id
    headers = forwarded_headers(call.headers)
    if call.request.operation is Op.PutObjectRetention and asks_for_bypass(call.headers):
        headers[BYPASS] = "true"
    return ForwardRequest(
        method=call.request.request.method,
        bucket=call.bucket,
        key=call.key,
        query=forwarded_query(call.query),
        headers=headers,
        body=body,
    )


def answer_fields(answer: ForwardAnswer) -> bytes:
    """Header lines of the upstream's answer."""
    return render_fields(answered_headers(answer.headers))


async def put_locked(call: Call) -> Response:
    """PutObject with headers of object lock, which only the upstream can keep."""
    [name, *_] = sorted(OBJECT_LOCK.intersection(call.headers))
    check_key(call.key)
    require_forwarding(
        call, f"A header you provided implies functionality that is not implemented: {name}."
    )
    return await put_past_cache(call)


def check_said(call: Call) -> None:
    """What is said about a new object must be within S3's limits, and its ACL allowed: raises as the PutObject that goes the usual way."""
    system_headers(call.headers)
    user_metadata(call.headers)
    tags_of_header(call.headers)
    owner_and_acl(call)


async def put_past_cache(call: Call) -> Response:
    """A PutObject as it came; the cache forgets what it had of that name. Raises MissingContentLengthError, and as `check_said`."""
    check_said(call)

    async def store(body: Body) -> Response:
        if body.size is None:
            raise MissingContentLengthError
        answer, document = await call.cache.forward_write(forward_request(call, body))
        return Response(answer.status, answer_fields(answer), document)

    return await with_payload(call, (), store)


async def streamed(call: Call, request: ForwardRequest) -> Response:
    """The upstream's answer, its body on its way."""
    stack = AsyncExitStack()
    try:
        answer = await stack.enter_async_context(call.cache.forward(request))
    except BaseException:
        await stack.aclose()
        raise
    fields = answer_fields(answer)
    if request.method == "HEAD" or answer.size == 0 or answer.status in _BODILESS:
        await stack.aclose()
        return Response(answer.status, fields, content_length=answer.size)
    if answer.size is None:
        return Response(answer.status, fields, _pieces(answer, stack))
    return Response(answer.status, fields, AnswerBody(answer, answer.size, stack))


async def _pieces(answer: ForwardAnswer, stack: AsyncExitStack) -> AsyncIterator[bytes]:
    """A body of unknown length."""
    async with stack:
        async for chunk in answer:
            yield chunk


class AnswerBody:
    """A body of known length on its way from the upstream to the client."""

    def __init__(self, answer: ForwardAnswer, size: int, stack: AsyncExitStack) -> None:
        self.size = size
        self._answer = answer
        self._stack = stack

    async def send_to(self, sink: Sink) -> None:
        async for chunk in self._answer:
            await sink.send(chunk)

    async def aclose(self) -> None:
        await self._stack.aclose()
