"""CopyObject and UploadPartCopy: the source is opened by name and version, so that what was checked is what is copied."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable

from appliance.model.errors import (
    DeleteMarkerError,
    EntityTooLargeError,
    NotModifiedError,
    PreconditionFailedError,
    VersionChangedError,
)
from appliance.model.names import check_key
from appliance.model.objects import PUT_SIZE_MAX, ObjectInfo, PutOptions
from appliance.s3.gate import MISSING, reads_source
from appliance.s3.http.response import Response
from appliance.s3.operations.call import Call
from appliance.s3.operations.multipart import upload_target
from appliance.s3.operations.owning import owner_and_acl
from appliance.s3.operations.patient import patiently
from appliance.s3.wire import headers as fields
from appliance.s3.wire.errors import InvalidCopyError, InvalidRequestError
from appliance.s3.wire.headers import CopySource
from appliance.s3.wire.options import refuse_unsupported
from appliance.s3.wire.response import Headers
from appliance.s3.wire.versions import checked_version_id, made_headers, version_headers
from appliance.s3.wire.xml import render

# Not metadata: what a request says about these counts whatever the directive.
_PLACEMENT = ("x-amz-storage-class", "x-amz-website-redirect-location")


# How often a source is looked at anew that somebody else goes on overwriting.
ATTEMPTS = 10


async def copy_object(call: Call) -> Response:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html."""
    check_key(call.key)
    conditions = fields.conditions(call.headers)
    source = _source(call)
    owner, acl = owner_and_acl(call)
    headers: Headers = []

    async def copy(found: ObjectInfo) -> bytes:
        if found is not info:  # another has come in its place, maybe with tags
            await _check_tags(call, source, found)
        options = await _options(call, source, found)
        copied = await call.cache.copy(
            source.bucket,
            source.key,
            call.bucket,
            call.key,
            source_version=found.version,
            source_version_id=source.version_id,
            options=options,
            conditions=conditions,
            owner=owner,
            acl=acl,
        )
        headers.extend([*_source_headers(found), *made_headers(copied.version_id)])
        return render.copy_object_result(copied)

    info = await _current(call, source)
    _check_copy(call, source, info)
    await _check_tags(call, source, info)
    return await patiently(call, functools.partial(_copied, call, source, info, copy), headers)


async def upload_part_copy(call: Call) -> Response:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html."""
    upload_id, number = upload_target(call)
    refuse_unsupported(call.headers)
    spec = fields.copy_source_range(call.headers)
    source = _source(call)
    headers: Headers = []

    async def copy(info: ObjectInfo) -> bytes:
        part = await call.cache.copy_part(
            source.bucket,
            source.key,
            call.bucket,
            call.key,
            upload_id,
            number,
            range=fields.copy_range(spec, info.size) if spec else None,
            source_version=info.version,
            source_version_id=source.version_id,
        )
        headers.extend(_source_headers(info))
        return render.copy_part_result(part)

    info = await _current(call, source)
    if spec:
        fields.copy_range(spec, info.size)
    return await patiently(call, functools.partial(_copied, call, source, info, copy), headers)


async def _copied(
    call: Call,
    source: CopySource,
    info: ObjectInfo,
    copy: Callable[[ObjectInfo], Awaitable[bytes]],
) -> bytes:
    """What `copy` returns for the source as it is: if it is overwritten meanwhile, the client means what is there now.

    Raises VersionChangedError if that never ends.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            return await copy(info)
        except VersionChangedError:
            info = await _current(call, source)
    return await copy(info)


def _source(call: Call) -> CopySource:
    source = fields.copy_source(call.headers)
    if source.version_id:
        checked_version_id(source.version_id)
    return source


def _source_headers(info: ObjectInfo) -> Headers:
    return version_headers(info.version_id, "x-amz-copy-source-version-id")


async def _current(call: Call, source: CopySource) -> ObjectInfo:
    """What the source is now. Its conditions must hold: both kinds of failure are 412 here."""
    gate, authentication = call.context.gate, call.authentication
    request = reads_source(call.request, source.bucket, source.key, source.version_id)
    try:
        info = await call.cache.head(source.bucket, source.key, version_id=source.version_id)
    except MISSING as error:
        told = gate.missing(request, authentication, error)
        if told is not error or not isinstance(error, DeleteMarkerError):
            raise told from None
        # https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html: a marker named by its id is a bad request.
        raise InvalidRequestError(
            "The source of a copy request may not specifically refer to a delete marker by version id."
        ) from error
    await gate.check_source(request, authentication, info)
    try:
        fields.copy_conditions(call.headers).check_read(info)
    except NotModifiedError:
        raise PreconditionFailedError(key=source.key) from None
    return info


async def _check_tags(call: Call, source: CopySource, info: ObjectInfo) -> None:
    """Raise RefusedError for tags that the caller may not read or set, if they are to come along."""
    if fields.copy_directives(call.headers).replace_tags:
        return
    request = reads_source(call.request, source.bucket, source.key, source.version_id)
    await call.context.gate.check_carried_tags(call.request, request, call.authentication, info)


def _check_copy(call: Call, source: CopySource, info: ObjectInfo) -> None:
    """Raise EntityTooLargeError, InvalidCopyError."""
    if info.size > PUT_SIZE_MAX:
        raise EntityTooLargeError(
            "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120"
        )
    onto_itself = (source.bucket, source.key) == (call.bucket, call.key)
    # An old version copied onto the current one changes that.
    if onto_itself and not source.version_id and not _changes(call):
        raise InvalidCopyError


def _changes(call: Call) -> bool:
    """Whether the copy is to carry anything else than its source."""
    directives = fields.copy_directives(call.headers)
    given = directives.options
    placed = any(name in given.headers for name in _PLACEMENT)
    return directives.replace_metadata or directives.replace_tags or bool(given.checksums) or placed


async def _options(call: Call, source: CopySource, info: ObjectInfo) -> PutOptions | None:
    """What the copy is to carry; None: everything as in the source."""
    if not _changes(call):
        return None
    directives = fields.copy_directives(call.headers)
    given = directives.options
    placement = {name: given.headers[name] for name in _PLACEMENT if name in given.headers}
    replace = directives.replace_metadata
    tags = given.tags
    if not directives.replace_tags:
        tags = {}
        if info.tag_count:
            tags = await call.cache.get_tags(
                source.bucket, source.key, version_id=source.version_id
            )
    return PutOptions(
        headers=given.headers if replace else {**info.headers, **placement},
        metadata=given.metadata if replace else info.metadata,
        tags=tags,
        checksums=given.checksums or tuple(info.checksums),
    )
