"""Multipart uploads of clients: passed through. Their state lives upstream, their ids are the upstream's: any node can go on with any."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence
from typing import Any

from appliance.model.errors import (
    BackendUnavailableError,
    CorruptDataError,
    IncompleteBodyError,
    InvalidArgumentError,
    InvalidPartError,
    InvalidPartOrderError,
    NoSuchKeyError,
    NoSuchUploadError,
)
from appliance.model.objects import (
    PART_NUMBER_MAX,
    CompletedPart,
    PartInfo,
    PartPage,
    PutOptions,
    UploadInfo,
    UploadPage,
)
from appliance.model.ranges import ByteRange
from appliance.plugin import Body, Chunk
from appliance_s3.abilities import Abilities
from appliance_s3.answers import Made, is_md5, made, part_info, unquote_etag, upload_info
from appliance_s3.failures import Where
from appliance_s3.parts import expected_etag, gather
from appliance_s3.requests import (
    add_checksum,
    add_headers,
    content_md5,
    part_named,
    put_parameters,
    range_header,
)
from appliance_s3.sending import Sender, close

# A part up to this size is sent with its MD5 and may be sent again; a larger one streams.
WHOLE_BYTES = 8 << 20
# The largest part of unknown size: it has to be in memory, as S3 wants its length first.
UNKNOWN_BYTES_MAX = 64 << 20
UPLOAD_ID_MAX = 1024


def target(place: dict[str, str], upload_id: str) -> dict[str, Any]:
    """Parameters that name an upload. Raises NoSuchUploadError: without an id, S3 would take a part for a whole object."""
    # Nor is one that cannot be written in a URL an id that an upstream gave.
    if not 1 <= len(upload_id) <= UPLOAD_ID_MAX or not upload_id.isascii():
        raise NoSuchUploadError
    return {**place, "UploadId": upload_id}


def check_number(number: int) -> None:
    if not 1 <= number <= PART_NUMBER_MAX:
        raise InvalidArgumentError(
            f"Part number must be an integer between 1 and {PART_NUMBER_MAX:,}."
        )


def check_order(parts: Sequence[CompletedPart]) -> None:
    """Raise InvalidPartError for no parts, InvalidPartOrderError unless their numbers ascend."""
    if not parts:
        raise InvalidPartError("An upload is completed with at least one part.")
    if any(one.number >= other.number for one, other in itertools.pairwise(parts)):
        raise InvalidPartOrderError


class Uploads:
    """Uploads at one upstream.

    What clients say about checksums is passed on where the upstream keeps any: algorithm and type with the upload, a value with each part,
    and again at completion. Parts also carry, or are compared with, their MD5.
    """

    def __init__(self, sender: Sender, abilities: Abilities) -> None:
        self._sender = sender
        self._abilities = abilities

    async def create(
        self, where: Where, place: dict[str, str], options: PutOptions, now_ns: int
    ) -> UploadInfo:
        parameters = {**place, **put_parameters(options)}
        for name in (await self._kept(where, options.checksums))[:1]:
            parameters |= {"ChecksumAlgorithm": name.upper()}
            parameters |= {"ChecksumType": options.checksum_type}
        answer = await self._sender.call(where, "create_multipart_upload", parameters)
        return upload_info(where.key, answer, now_ns)

    async def put_part(
        self, where: Where, place: dict[str, Any], number: int, body: Body, now_ns: int
    ) -> PartInfo:
        check_number(number)
        chunks = aiter(body)
        try:
            start = bytearray()
            kept = await self._kept(where, sorted(body.known))
            limit = await self._in_memory(where, place, body, kept)
            parameters = {**place, "PartNumber": number}
            if await gather(chunks, start, limit + 1):
                answer = await self._whole(where, parameters, body, start, kept)
                size = len(start)
            else:
                add_checksum(parameters, kept, body.promised)
                answer = await self._streamed(where, parameters, body, chunks, start)
                size = body.size or 0
        finally:
            await close(chunks)
        return PartInfo(
            number=number,
            size=size,
            etag=unquote_etag(answer["ETag"]),
            modified_ns=now_ns,
            checksums=body.digests().checksums,
        )

    async def _kept(self, where: Where, names: Sequence[str]) -> list[str]:
        """Those of these checksums that the upstream keeps."""
        if not names:
            return []
        able = await self._abilities.checksums(where.bucket)
        return [name for name in names if name in able]

    async def _in_memory(
        self, where: Where, place: dict[str, Any], body: Body, kept: Sequence[str]
    ) -> int:
        """Up to how many bytes a part is gathered: more where only its end tells a checksum without which its upload would not take it."""
        if body.size is None:
            return UNKNOWN_BYTES_MAX
        if body.size <= WHOLE_BYTES or not kept or any(name in body.promised for name in kept):
            return min(body.size, WHOLE_BYTES)
        wanted = (await self.list_parts(where, place, 0, 1)).upload.checksums
        late = any(name in kept for name in wanted) and body.size <= UNKNOWN_BYTES_MAX
        return body.size if late else WHOLE_BYTES

    async def _whole(
        self,
        where: Where,
        parameters: dict[str, Any],
        body: Body,
        data: bytearray,
        kept: Sequence[str],
    ) -> dict[str, Any]:
        if body.size is not None and body.size != len(data):
            raise IncompleteBodyError(f"The part has {len(data)} bytes instead of {body.size}.")
        digests = body.digests()
        parameters |= {"Body": bytes(data), "ContentMD5": content_md5(digests.md5)}
        add_checksum(parameters, kept, digests.checksums)
        answer = await self._call(where, "upload_part", parameters)
        self._sender.upstream.counts["written_bytes"] += len(data)
        return answer

    async def _streamed(
        self,
        where: Where,
        parameters: dict[str, Any],
        body: Body,
        chunks: AsyncIterator[Chunk],
        start: bytearray,
    ) -> dict[str, Any]:
        if body.size is None:
            raise InvalidArgumentError(
                f"A part whose length is not declared may have at most {UNKNOWN_BYTES_MAX:,} bytes."
            )
        parameters["ContentLength"] = body.size
        answer = await self._sender.stream(where, "upload_part", parameters, chunks, start)
        etag = unquote_etag(answer["ETag"])
        if is_md5(etag, answer["ResponseMetadata"]["HTTPHeaders"]) and etag != body.digests().md5:
            raise CorruptDataError(
                f"The backend {where.backend} stored other bytes than it was sent; send the part again.",
                bucket=where.bucket,
                key=where.key,
            )
        return answer

    async def copy_part(
        self,
        where: Where,
        place: dict[str, Any],
        number: int,
        source: dict[str, str],
        part: ByteRange | None,
        source_etag: str,
        size: int,
    ) -> PartInfo:
        check_number(number)
        parameters: dict[str, Any] = {**place, "PartNumber": number, "CopySource": source}
        if part is not None:
            parameters["CopySourceRange"] = range_header(part)
        if source_etag:
            parameters["CopySourceIfMatch"] = f'"{source_etag}"'
        answer = await self._sender.call(where, "upload_part_copy", parameters)
        item = {"Size": size, **answer["CopyPartResult"], "PartNumber": number}
        return part_info(item)

    async def list_parts(
        self, where: Where, place: dict[str, Any], after: int, limit: int
    ) -> PartPage:
        parameters = {**place, "PartNumberMarker": after, "MaxParts": limit}
        answer = await self._call(where, "list_parts", parameters)
        items = answer.get("Parts", ())
        parts = tuple(part_info(item) for item in items if item["PartNumber"] > after)
        upload = upload_info(where.key, {**answer, "UploadId": place["UploadId"]})
        more = answer.get("IsTruncated") and parts
        return PartPage(upload=upload, parts=parts, next_marker=parts[-1].number if more else 0)

    async def list(
        self, where: Where, bucket: str, root: str, hidden: str, options: dict[str, Any]
    ) -> UploadPage:
        """One page; `options` are boto3's."""
        try:
            answer = await self._sender.call(
                where, "list_multipart_uploads", {"Bucket": bucket, **options}
            )
        except NoSuchUploadError:  # rclone's word for none
            answer = {}
        # radosgw 16.2 takes a key marker without an upload id for the first upload of that key.
        beyond = "" if "UploadIdMarker" in options else options.get("KeyMarker", "")
        uploads = [
            upload_info(item["Key"].removeprefix(root), item)
            for item in answer.get("Uploads", ())
            if not item["Key"].startswith(root + hidden) and item["Key"] > beyond
        ]
        prefixes = [item["Prefix"].removeprefix(root) for item in answer.get("CommonPrefixes", ())]
        truncated = bool(answer.get("IsTruncated"))
        return UploadPage(
            uploads=tuple(uploads),
            common_prefixes=tuple(prefixes),
            truncated=truncated,
            next_key_marker=answer.get("NextKeyMarker", "").removeprefix(root) if truncated else "",
            next_upload_id_marker=answer.get("NextUploadIdMarker", "") if truncated else "",
        )

    async def complete(
        self,
        where: Where,
        place: dict[str, Any],
        parts: Sequence[CompletedPart],
        headers: dict[str, str],
    ) -> Made:
        """The object; its ETag is "" if the upstream does not tell (radosgw)."""
        check_order(parts)
        told = {name for part in parts for name in part.checksums}
        kept = await self._kept(where, sorted(told))
        named = [part_named(part, kept) for part in parts]
        parameters = {**place, "MultipartUpload": {"Parts": named}}
        add_headers(parameters, headers)
        expected = expected_etag([part.etag for part in parts])
        try:
            answer = await self._sender.complete(where, parameters, expected)
        except NoSuchKeyError:
            if "If-Match" in headers:
                # Of an upload that is there, it is the object that is not.
                await self._call(where, "list_parts", {**place, "MaxParts": 1})
                raise
            raise NoSuchUploadError(bucket=where.bucket, key=where.key) from None
        except BackendUnavailableError:
            # radosgw 16.2 answers 500 if there is no such upload; and after a lost answer it may have been aborted meanwhile.
            await self._call(where, "list_parts", {**place, "MaxParts": 1})
            raise
        return made(answer)

    async def abort(self, where: Where, place: dict[str, Any]) -> None:
        await self._call(where, "abort_multipart_upload", place)

    async def _call(self, where: Where, name: str, parameters: dict[str, Any]) -> dict[str, Any]:
        try:
            return await self._sender.call(where, name, parameters)
        except NoSuchKeyError:  # what radosgw 16.2 says
            raise NoSuchUploadError(bucket=where.bucket, key=where.key) from None
