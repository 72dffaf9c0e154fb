"""PostObject: uploads from a browser's form, with the permission of whoever signed the form's policy.

The fields come first: they say who signed, what is allowed, and what the object is to be. Then it is a PutObject of the file, authorised as
one, whose bytes stream past the limits of the policy.
"""

from __future__ import annotations

from urllib.parse import quote_from_bytes

import msgspec

from appliance.auth.identity import unsigned
from appliance.auth.sigv4 import UNSIGNED_PAYLOAD
from appliance.model.names import key_bytes
from appliance.model.objects import ObjectInfo
from appliance.s3.http.response import Response, render_fields
from appliance.s3.operations.call import Call, as_user, etag_header
from appliance.s3.operations.decoded import Decoded, FormFile
from appliance.s3.operations.writing import store_object
from appliance.s3.wire import post_fields
from appliance.s3.wire.errors import InvalidRequestError, MissingContentLengthError
from appliance.s3.wire.form import FormDecoder, boundary_of
from appliance.s3.wire.operations import Operation
from appliance.s3.wire.post_policy import PostPolicy, parse_policy
from appliance.s3.wire.response import XML
from appliance.s3.wire.versions import made_headers

_OF_SENDER = ("referer", "user-agent")


async def post_object(call: Call) -> Response:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/RESTObjectPOST.html."""
    decoder, content = await _fields_read(call)
    fields = decoder.fields
    identity = call.context.verify_form(fields)
    key = post_fields.key_of(fields, decoder.filename)
    policy = _policy(call, {**fields, "key": key})
    file = FormFile(content)
    if policy is not None:
        file = FormFile(content, policy.size_min, policy.size_max)
    # Policies may ask where a browser comes from: no field can say so.
    sender = {name: call.headers[name] for name in _OF_SENDER if name in call.headers}
    headers = {**sender, **post_fields.put_headers(fields)}
    authentication = msgspec.structs.replace(unsigned(UNSIGNED_PAYLOAD), identity=identity)
    if call.identified is not None:
        call.identified(authentication)
    put = msgspec.structs.replace(
        call,
        request=msgspec.structs.replace(
            call.request, operation=Operation.PutObject, key=key, headers=headers
        ),
        authentication=authentication,
        key=key,
        headers=headers,
        form=file,
    )
    await call.context.admit(put)
    with as_user(identity):
        stored = await store_object(put)
    return _answer(put, fields, stored)


async def _fields_read(call: Call) -> tuple[FormDecoder, Decoded]:
    """The form, read as far as the beginning of its file."""
    if "authorization" in call.headers:
        raise InvalidRequestError("A form carries its signature in its fields, not in a header.")
    if call.body.length == 0:
        raise MissingContentLengthError
    decoder = FormDecoder(boundary_of(call.headers))
    content = Decoded(call.body, decoder)
    while not decoder.in_file and await content.advance(decoder):
        pass
    return decoder, content


def _policy(call: Call, fields: dict[str, str]) -> PostPolicy | None:
    """What the signer allows, checked; None for a form without a policy, which is nobody's."""
    if "policy" not in fields:
        return None
    policy = parse_policy(fields["policy"])
    policy.check(fields, call.bucket, call.context.world.now_ns() / 10**9)
    return policy


def _answer(call: Call, fields: dict[str, str], stored: ObjectInfo) -> Response:
    etag = stored.etag
    headers = [etag_header(etag), *made_headers(stored.version_id)]
    redirect = post_fields.success_redirect(fields, call.bucket, call.key, etag)
    if redirect:
        return Response(303, render_fields([*headers, ("Location", redirect)]))
    location = _location(call)
    headers.append(("Location", location))
    status = post_fields.success_status(fields)
    if status != 201:
        return Response(status, render_fields(headers))
    document = post_fields.post_response(location, call.bucket, call.key, etag)
    return Response(status, render_fields([XML, *headers]), document)


def _location(call: Call) -> str:
    """The new object's URL, as the client reached us."""
    request = call.request
    scheme = "https" if request.request.tls else "http"
    bucket = "" if request.virtual_host else f"/{call.bucket}"
    host = request.request.headers.get("host", "")
    return f"{scheme}://{host}{bucket}/{quote_from_bytes(key_bytes(call.key), safe='/-_.~')}"
