"""Multipart uploads. Their state lives in the backend; clients see upload ids sealed, so that a forged one never gets there."""

from __future__ import annotations

import contextlib

from appliance.model.checksums import multipart_etag
from appliance.model.errors import InvalidPartError, NoSuchKeyError, NoSuchUploadError
from appliance.model.objects import CompletedPart, Conditions, ObjectInfo, PartInfo, UploadInfo
from appliance.plugin import Body
from appliance.s3.http.response import Response
from appliance.s3.operations.call import Call, empty, etag_header, xml
from appliance.s3.operations.owning import owned, whose
from appliance.s3.operations.patient import patiently
from appliance.s3.operations.payload import read_document, with_payload
from appliance.s3.wire import headers as fields
from appliance.s3.wire.digest import check_object_checksum, declared_checksum
from appliance.s3.wire.errors import InvalidArgumentValueError, InvalidRequestError
from appliance.s3.wire.listing import (
    opened_upload_id,
    part_number,
    parts_query,
    sealed_upload_id,
    uploads_query,
)
from appliance.s3.wire.options import refuse_unsupported
from appliance.s3.wire.response import Headers
from appliance.s3.wire.versions import made_headers
from appliance.s3.wire.xml import parse, render


async def create_multipart_upload(call: Call) -> Response:
    options = owned(call, fields.upload_options(call.headers, call.default_checksum))
    upload = await call.cache.create_upload(call.bucket, call.key, options)
    sealed = sealed_upload_id(upload.upload_id, call.bucket, call.key, call.secret)
    headers: Headers = []
    # The default is not announced: a client that did not ask for it need not send it with its parts.
    if upload.checksums and "x-amz-checksum-algorithm" in call.headers:
        headers.append(("x-amz-checksum-algorithm", upload.checksums[0].upper()))
        headers.append(("x-amz-checksum-type", upload.checksum_type))
    return xml(render.initiate_multipart_upload(call.bucket, call.key, sealed), headers)


async def upload_part(call: Call) -> Response:
    refuse_unsupported(call.headers)
    upload_id, number = upload_target(call)

    async def store(body: Body) -> PartInfo:
        return await call.cache.put_part(call.bucket, call.key, upload_id, number, body)

    part = await with_payload(call, (), store)
    return empty(200, [etag_header(part.etag), *_checksum_headers(part.checksums)])


async def list_parts(call: Call) -> Response:
    query = parts_query(call.query)
    page = await call.cache.list_parts(
        call.bucket, call.key, _upload_id(call), after=query.after, limit=query.limit
    )
    sealed = call.query["uploadId"]
    return xml(render.list_parts(call.bucket, page, sealed, query.after, query.limit, whose(call)))


async def list_multipart_uploads(call: Call) -> Response:
    query = uploads_query(call.bucket, call.query)
    marker = query.upload_id_marker
    if marker:
        marker = opened_upload_id(marker, call.bucket, query.key_marker, call.secret)
    page = await call.cache.list_uploads(
        call.bucket,
        prefix=query.prefix,
        delimiter=query.delimiter,
        key_marker=query.key_marker,
        upload_id_marker=marker,
        limit=query.limit,
    )
    return xml(render.list_uploads(query, page, whose(call), call.secret))


async def complete_multipart_upload(call: Call) -> Response:
    upload_id = _upload_id(call)
    parts = parse.parse_complete_multipart_upload(
        await read_document(call, checksum_is_of_body=False)
    )
    conditions = fields.conditions(call.headers)
    headers: Headers = []

    async def complete() -> bytes:
        try:
            info = await call.cache.complete_upload(
                call.bucket, call.key, upload_id, parts, conditions
            )
        except NoSuchUploadError as error:
            info = await _completed_before(call, parts, conditions, error)
        headers.extend(made_headers(info.version_id))
        return render.complete_multipart_upload(call.bucket, info, _location(call))

    # What is completed already has no parts left to check.
    with contextlib.suppress(NoSuchUploadError):
        await _check_declarations(call, upload_id, parts)
    return await patiently(call, complete, headers)


async def _completed_before(
    call: Call,
    parts: tuple[CompletedPart, ...],
    conditions: Conditions,
    error: NoSuchUploadError,
) -> ObjectInfo:
    """The object that these parts made: a client that lost the answer completes again, and is to hear the same. Else raises `error`.

    The ETag tells. Not with conditions, which that very object may contradict, or somebody else's equal one fulfil.
    """
    try:
        etag = multipart_etag(part.etag for part in parts)
        info = await call.cache.head(call.bucket, call.key)
    except (ValueError, NoSuchKeyError):
        raise error from None
    if conditions or info.etag != etag:
        raise error
    return info


async def abort_multipart_upload(call: Call) -> Response:
    await call.cache.abort_upload(call.bucket, call.key, _upload_id(call))
    return empty(204)


async def _check_declarations(call: Call, upload_id: str, parts: tuple[CompletedPart, ...]) -> None:
    """What the client says about the whole object - its size, its checksum - must follow from the parts it names."""
    headers = call.headers
    size = headers.get("x-amz-mp-object-size")
    if size is None and not declared_checksum(headers)[1]:
        return
    upload, known = await _known_parts(call, upload_id)
    chosen = [known[part.number] for part in parts if part.number in known]
    if len(chosen) < len(parts):
        raise InvalidPartError
    if size is not None and size != str(sum(part.size for part in chosen)):
        raise InvalidRequestError(
            "The provided 'x-amz-mp-object-size' header value does not match what was computed."
        )
    check_object_checksum(headers, upload.checksum_type, chosen)


async def _known_parts(call: Call, upload_id: str) -> tuple[UploadInfo, dict[int, PartInfo]]:
    known: dict[int, PartInfo] = {}
    after = 0
    while True:
        page = await call.cache.list_parts(call.bucket, call.key, upload_id, after=after)
        known.update((part.number, part) for part in page.parts)
        after = page.next_marker
        if not after:
            return page.upload, known


def upload_target(call: Call) -> tuple[str, int]:
    """The backend's upload id, and the part's number. Raises NoSuchUploadError, InvalidArgumentValueError."""
    return _upload_id(call), _part_number(call)


def _upload_id(call: Call) -> str:
    """The backend's id. Raises NoSuchUploadError."""
    return opened_upload_id(call.query["uploadId"], call.bucket, call.key, call.secret)


def _part_number(call: Call) -> int:
    number = part_number(call.query)
    if number is None:
        raise InvalidArgumentValueError(
            "This operation does not accept a query-string without a part number.", "partNumber", ""
        )
    return number


def _location(call: Call) -> str:
    """The new object's URL, as the client reached us."""
    scheme = "https" if call.request.request.tls else "http"
    return f"{scheme}://{call.headers.get('host', '')}{call.request.resource}"


def _checksum_headers(checksums: dict[str, str]) -> Headers:
    return [(f"x-amz-checksum-{name}", value) for name, value in checksums.items()]
