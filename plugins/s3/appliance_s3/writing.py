"""Writing an object: in one request where S3 allows it, so that its ETag is the MD5 of its bytes and it appears whole or not at all.

    up to `WHOLE_BYTES`, or of unknown size and up to `SPOOL_BYTES`   gathered in memory, sent with Content-MD5; may be repeated
    known size up to 5 GiB                                           streamed as it arrives, its end held back until verified (feed.py)
    known size beyond                                                multipart upload, parts streamed one after the other
    unknown size beyond `SPOOL_BYTES`                                multipart upload, parts gathered in memory, some at a time

A checksum to keep goes along: of what is gathered, and of what is streamed where its sender promised the value in advance. What comes with
one in a trailer is gathered up to `SPOOL_BYTES` for that; beyond, and in parts of our own, the checksum is only verified.

What was streamed could not carry its MD5; the ETag that comes back is compared with it. An object that arrived wrong is removed where the
upstream deletes on the condition that it still is that object. Elsewhere it stays: an unconditional delete could hit what another writer
has put there since.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

from appliance.model.errors import (
    ApplianceError,
    CorruptDataError,
    EntityTooLargeError,
    IncompleteBodyError,
)
from appliance.model.objects import (
    OBJECT_SIZE_MAX,
    PUT_SIZE_MAX,
    Conditions,
    PutOptions,
)
from appliance.plugin import Body
from appliance_s3.abilities import Abilities
from appliance_s3.answers import Made, is_md5, made, unquote_etag
from appliance_s3.failures import Where
from appliance_s3.parts import OwnUpload, gather, gathered_parts, streamed_parts
from appliance_s3.requests import (
    add_checksum,
    add_headers,
    content_md5,
    put_parameters,
)
from appliance_s3.sending import Sender, close

WHOLE_BYTES = 1 << 20
SPOOL_BYTES = 8 << 20


def _in_memory(body: Body, kept: Sequence[str]) -> int:
    """Up to how many bytes the body is gathered, rather than streamed: more where only its end tells a checksum that is to be kept."""
    if body.size is None:
        return SPOOL_BYTES
    wanted = [name for name in kept if name in body.known]
    late = bool(wanted) and not any(name in body.promised for name in wanted)
    return min(body.size, SPOOL_BYTES if late else WHOLE_BYTES)


class Writer:
    """Puts bodies to one upstream."""

    def __init__(self, sender: Sender, abilities: Abilities) -> None:
        self._sender = sender
        self._abilities = abilities

    async def put(
        self,
        where: Where,
        target: dict[str, str],
        body: Body,
        options: PutOptions,
        headers: dict[str, str],
    ) -> Made:
        """Store an object under the conditions in `headers`."""
        if body.size is not None and body.size > OBJECT_SIZE_MAX:
            raise EntityTooLargeError(bucket=where.bucket, key=where.key)
        parameters = {**target, **put_parameters(options)}
        chunks = aiter(body)
        try:
            start = bytearray()
            kept = await self._kept(where, options)
            limit = _in_memory(body, kept)
            # One byte more than the limit is what tells an end from a pause.
            if await gather(chunks, start, limit + 1):
                return await self._put_whole(where, parameters, start, body, kept, headers)
            if body.size is not None and body.size <= PUT_SIZE_MAX:
                add_headers(parameters, headers)
                add_checksum(parameters, kept, body.promised)
                parameters["ContentLength"] = body.size
                answer = await self._sender.stream(where, "put_object", parameters, chunks, start)
                return await self._verified(where, target, answer, body)
            source = gathered_parts(chunks, start)
            if body.size is not None:
                source = streamed_parts(body.size, chunks, start)
            async with aclosing(source) as parts:
                return await OwnUpload(self._sender, where, target).run(parameters, parts, headers)
        finally:
            await close(chunks)

    async def _kept(self, where: Where, options: PutOptions) -> tuple[str, ...]:
        """The checksums asked for that the upstream keeps."""
        if not options.checksums:
            return ()
        able = await self._abilities.checksums(where.bucket)
        return tuple(name for name in options.checksums if name in able)

    # --- whole bodies ----------------------------------------------------------------------------------------------

    async def _put_whole(
        self,
        where: Where,
        parameters: dict[str, Any],
        data: bytearray,
        body: Body,
        kept: Sequence[str],
        headers: dict[str, str],
    ) -> Made:
        if body.size is not None and body.size != len(data):
            raise IncompleteBodyError(f"The body has {len(data)} bytes instead of {body.size}.")
        digests = body.digests()
        add_headers(parameters, headers)
        add_checksum(parameters, kept, digests.checksums)
        parameters["ContentMD5"] = content_md5(digests.md5)
        parameters["Body"] = bytes(data)
        # With conditions a second try could fail because of the first one's success.
        answer = await self._sender.call(where, "put_object", parameters, idempotent=not headers)
        self._sender.upstream.counts["written_bytes"] += len(data)
        return Made(unquote_etag(answer["ETag"]), answer.get("VersionId", ""))

    async def _verified(
        self, where: Where, target: dict[str, str], answer: dict[str, Any], body: Body
    ) -> Made:
        """What was made, once its ETag says that all bytes arrived as they were sent."""
        etag = unquote_etag(answer["ETag"])
        if not is_md5(etag, answer["ResponseMetadata"]["HTTPHeaders"]):
            return made(answer)
        if etag == body.digests().md5:
            return made(answer)
        removed = await self._remove(where, target, made(answer))
        raise CorruptDataError(
            f"The backend {where.backend} stored other bytes than it was sent; "
            + (
                "they were removed. Send the object again."
                if removed
                else "they may be there still. Send the object again, or delete it."
            ),
            bucket=where.bucket,
            key=where.key,
        )

    async def _remove(self, where: Where, target: dict[str, str], wrong: Made) -> bool:
        """Remove the object if it is certain to be this one: by its version id, or on condition of its ETag. Whether that was done."""
        parameters: dict[str, Any] = dict(target)
        try:
            if wrong.version_id:
                parameters["VersionId"] = wrong.version_id
            else:
                only_this = Conditions(if_match=(wrong.etag,))
                headers = await self._abilities.conditions(
                    only_this, "conditional_delete", where.bucket, "DELETE"
                )
                add_headers(parameters, headers)
            await self._sender.call(where, "delete_object", parameters, idempotent=False)
        except ApplianceError as error:
            self._sender.upstream.host.logger.warning("backend %s: %s", where.backend, error)
            return False
        return True
