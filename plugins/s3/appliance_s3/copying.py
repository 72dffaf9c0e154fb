"""Server-side copies: one CopyObject, or, beyond its 5 GiB, a multipart upload whose parts are copied."""

from __future__ import annotations

from typing import Any

import trio

from appliance.model.errors import ApplianceError
from appliance.model.objects import PART_NUMBER_MAX, ObjectInfo, PutOptions
from appliance.model.ranges import ByteRange
from appliance_s3.answers import made
from appliance_s3.failures import Where
from appliance_s3.parts import expected_etag
from appliance_s3.requests import add_headers, put_parameters, range_header
from appliance_s3.sending import CLEAN_UP_TIMEOUT_S, Sender

PART_BYTES = 1 << 30
PARTS_AT_A_TIME = 4


class Copier:
    """Copies within one upstream. Places are boto3's Bucket and Key."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    async def simple(
        self,
        where: Where,
        source: dict[str, str],
        source_etag: str,
        place: dict[str, str],
        options: PutOptions | None,
        headers: dict[str, str],
    ) -> str:
        """CopyObject; the version id of the copy. `options` None keeps everything; `source_etag`, if any, must still be the source's."""
        parameters: dict[str, Any] = {**place, "CopySource": source}
        if options is not None:
            parameters |= put_parameters(options)
            parameters |= {"MetadataDirective": "REPLACE", "TaggingDirective": "REPLACE"}
        if source_etag:
            parameters["CopySourceIfMatch"] = f'"{source_etag}"'
        add_headers(parameters, headers)
        answer = await self._sender.call(where, "copy_object", parameters, idempotent=not headers)
        return str(answer.get("VersionId", ""))

    async def large(
        self,
        where: Where,
        source: dict[str, str],
        info: ObjectInfo,
        place: dict[str, str],
        options: PutOptions,
        headers: dict[str, str],
    ) -> str:
        """The object that `info` describes, in parts; the version id of the copy."""
        parameters = {**place, **put_parameters(options)}
        created = await self._sender.call(where, "create_multipart_upload", parameters)
        upload = {**place, "UploadId": created["UploadId"]}
        try:
            return await self._parts(where, source, info, upload, headers)
        except BaseException:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CLEAN_UP_TIMEOUT_S):
                await self._sender.call(where, "abort_multipart_upload", upload)
            raise

    async def _parts(
        self,
        where: Where,
        source: dict[str, str],
        info: ObjectInfo,
        upload: dict[str, Any],
        headers: dict[str, str],
    ) -> str:
        size = max(PART_BYTES, -(-info.size // PART_NUMBER_MAX))
        etags: dict[int, str] = {}
        failure: ApplianceError | None = None
        slots = trio.CapacityLimiter(PARTS_AT_A_TIME)

        async def copy(number: int, part: ByteRange) -> None:
            nonlocal failure
            parameters = {
                **upload,
                "PartNumber": number,
                "CopySource": source,
                "CopySourceRange": range_header(part),
                "CopySourceIfMatch": f'"{info.etag}"',
            }
            try:
                async with slots:
                    answer = await self._sender.call(where, "upload_part_copy", parameters)
                etags[number] = answer["CopyPartResult"]["ETag"]
            except ApplianceError as error:
                failure = failure or error
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for number, offset in enumerate(range(0, info.size, size), 1):
                part = ByteRange(offset, min(size, info.size - offset))
                nursery.start_soon(copy, number, part)
        if failure is not None:
            raise failure
        return await self._complete(where, upload, etags, headers)

    async def _complete(
        self, where: Where, upload: dict[str, Any], etags: dict[int, str], headers: dict[str, str]
    ) -> str:
        """Make the object of its parts; their ETags by number."""
        parts = [{"PartNumber": number, "ETag": etag} for number, etag in sorted(etags.items())]
        parameters = {**upload, "MultipartUpload": {"Parts": parts}}
        add_headers(parameters, headers)
        expected = expected_etag([str(part["ETag"]) for part in parts])
        return made(await self._sender.complete(where, parameters, expected)).version_id
