"""PutObject, DeleteObject, DeleteObjects."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.model.errors import ApplianceError, NoSuchKeyError, PreconditionFailedError
from appliance.model.names import check_key
from appliance.model.objects import (
    NO_CONDITIONS,
    Conditions,
    DeleteOutcome,
    DeleteTarget,
    ObjectInfo,
)
from appliance.plugin import Body, bypassing_governance
from appliance.policy.access.conditions import Condition
from appliance.s3.http.response import Response
from appliance.s3.operations.call import Call, empty, xml
from appliance.s3.operations.owning import owned
from appliance.s3.operations.payload import read_document, with_payload
from appliance.s3.wire import headers as fields
from appliance.s3.wire.errors import InvalidRequestError
from appliance.s3.wire.object_lock import asks_for_bypass
from appliance.s3.wire.options import refuse_unsupported
from appliance.s3.wire.versions import checked_version_id, deleted_headers
from appliance.s3.wire.xml import parse, render
from appliance.s3.wire.xml.parse import DeleteItem


async def put_object(call: Call) -> Response:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html."""
    return empty(200, fields.written_headers(await store_object(call)))


async def store_object(call: Call) -> ObjectInfo:
    """Store what comes with `call` as it says: the part that PutObject and PostObject share."""
    check_key(call.key)
    options = owned(call, fields.put_options(call.headers, call.default_checksum))
    conditions = fields.conditions(call.headers)

    async def store(body: Body) -> ObjectInfo:
        return await call.cache.put(call.bucket, call.key, body, options, conditions)

    return await with_payload(call, options.checksums, store)


async def delete_object(call: Call) -> Response:
    """Deleting what is not there succeeds, as in S3; `If-Match` makes it conditional."""
    check_key(call.key)
    refuse_unsupported(call.headers)
    conditions = fields.conditions(call.headers)
    with bypassing_governance(asks_for_bypass(call.headers)):
        deleted = await call.cache.delete(
            call.bucket, call.key, conditions, version_id=call.version_id
        )
    return empty(204, deleted_headers(deleted))


async def delete_objects(call: Call) -> Response:
    """Up to 1,000 keys, each with its own outcome. S3 wants a digest of this document, so that no flipped bit deletes another key."""
    if not _has_digest(call):
        raise InvalidRequestError(
            "Missing required header for this request: Content-MD5 OR x-amz-checksum-*"
        )
    # Who can delete nothing here is not listened to: documents are large, and anybody may send some.
    await call.context.gate.admit_deletes(call.request, call.authentication)
    request = parse.parse_delete(await read_document(call))
    with bypassing_governance(asks_for_bypass(call.headers)):
        outcomes = await _deleted(call, request.objects)
    return xml(render.delete_result(outcomes, quiet=request.quiet))


async def _deleted(call: Call, objects: Sequence[DeleteItem]) -> list[DeleteOutcome]:
    """An outcome each, in order."""
    gate = call.context.gate
    outcomes: dict[int, DeleteOutcome] = {}
    plain: list[tuple[int, DeleteTarget]] = []
    held: dict[Condition, bool] = {}
    for index, item in enumerate(objects):
        error = _item_error(item) or await gate.refusal_of_key(
            call.request, call.authentication, item.key, item.version_id, held
        )
        if error is not None:
            outcomes[index] = DeleteOutcome(key=item.key, version_id=item.version_id, error=error)
        elif item.etag:
            outcomes[index] = await _delete_if(call, item)
        else:
            target = DeleteTarget(key=item.key, version_id=item.version_id)
            plain.append((index, target))
    if not plain:
        await call.cache.head_bucket(call.bucket)
    if plain or not outcomes:
        targets = [target for _, target in plain]
        found = await call.cache.delete_versions(call.bucket, targets)
        for (index, _), outcome in zip(plain, found, strict=True):
            outcomes[index] = outcome
    return [outcomes[index] for index in sorted(outcomes)]


def _has_digest(call: Call) -> bool:
    headers = call.headers
    return (
        "content-md5" in headers
        or "x-amz-trailer" in headers
        or any(name.startswith("x-amz-checksum-") for name in headers)
    )


def _item_error(item: DeleteItem) -> ApplianceError | None:
    try:
        check_key(item.key)
        if item.version_id:
            checked_version_id(item.version_id)
    except ApplianceError as error:
        return error
    return None


async def _delete_if(call: Call, item: DeleteItem) -> DeleteOutcome:
    conditions: Conditions = (
        Conditions(if_match=(item.etag.strip('"'),)) if item.etag else NO_CONDITIONS
    )
    key, version_id = item.key, item.version_id
    try:
        deleted = await call.cache.delete(call.bucket, key, conditions, version_id=version_id)
    except (PreconditionFailedError, NoSuchKeyError) as error:
        return DeleteOutcome(key=key, version_id=version_id, error=error)
    return DeleteOutcome(key=key, version_id=version_id, deleted=deleted)
