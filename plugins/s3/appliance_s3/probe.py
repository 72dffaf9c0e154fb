"""What an upstream can do: tried out on an object of our own below `.appliance/s3/` (abilities.py says when).

S3's documents do not say what an implementation leaves out, and one that does not know a condition ignores it: the write goes through. So a
condition is relied on only after a write that had to fail did fail. The object is removed again, also when the probe is cancelled.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import trio

from appliance.model.errors import (
    ApplianceError,
    BackendUnavailableError,
    ConflictError,
    PreconditionFailedError,
)
from appliance.model.objects import Conditions
from appliance_s3.answers import checksums
from appliance_s3.failures import Where
from appliance_s3.names import RESERVED
from appliance_s3.requests import add_headers, tag_set, write_conditions
from appliance_s3.sending import CLEAN_UP_TIMEOUT_S, Sender

_BODY = b"What can this S3 service do?\n"
_CRC32C = "x/5J4Q=="
_MD5 = hashlib.md5(_BODY, usedforsecurity=False).hexdigest()
_ABSENT = Conditions(if_none_match=("*",))
_OTHER = Conditions(if_match=("00000000000000000000000000000000",))


class Features(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. `writable` is False where nothing could be tried, because even a plain PUT was refused."""

    writable: bool = False
    conditional_put: bool = False
    conditional_complete: bool = False
    conditional_copy: bool = False
    conditional_delete: bool = False
    quoted_etags: bool = False  # If-Match of a PUT wants its ETag as RFC 9110 writes it; radosgw 16.2 wants it without quotes
    tagging: bool = False
    checksums: bool = False

    @classmethod
    def documented(cls) -> Features:
        """What S3's documents promise."""
        return cls(**dict.fromkeys(cls.__struct_fields__, True))

    def missing(self) -> list[str]:
        names = [name for name in self.__struct_fields__ if name != "quoted_etags"]
        return [name for name in names if not getattr(self, name)]


async def probe(sender: Sender, bucket: str, root: str, nonce: str) -> Features:
    """Try everything out in `bucket`. Raises BackendUnavailableError if the upstream does not answer."""
    run = _Probe(sender, bucket, f"{root}{RESERVED}probe-{nonce}")
    try:
        return await run.everything()
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CLEAN_UP_TIMEOUT_S):
            await run.clean_up()


class _Probe:
    def __init__(self, sender: Sender, bucket: str, key: str) -> None:
        self._sender = sender
        self._target = {"Bucket": bucket, "Key": key}
        self._where = Where(sender.upstream.name, "a probe of the upstream", bucket)
        self._upload: dict[str, Any] | None = None
        self._has_versions = False

    async def everything(self) -> Features:
        if not await self._works("put_object", {"Body": _BODY}):
            return Features()
        conditional = await self._refuses("put_object", {"Body": _BODY}, _ABSENT)
        conditional = conditional and await self._refuses("put_object", {"Body": _BODY}, _OTHER)
        return Features(
            writable=True,
            conditional_put=conditional,
            quoted_etags=not conditional or await self._takes_quotes(),
            # Who ignores the conditions of a PUT is not asked about others: a copy onto itself, for one, goes through there.
            conditional_complete=conditional and await self._conditional_complete(),
            conditional_copy=conditional
            and await self._refuses("copy_object", self._onto_itself(), _ABSENT),
            tagging=await self._works("put_object_tagging", {"Tagging": tag_set({"a": "b"})})
            and await self._works("get_object_tagging", {}),
            checksums=await self._checksums(),
            # Last, as the object may be gone afterwards.
            conditional_delete=conditional and await self._refuses("delete_object", {}, _OTHER),
        )

    def _onto_itself(self) -> dict[str, Any]:
        return {"CopySource": dict(self._target), "MetadataDirective": "REPLACE"}

    async def _call(self, name: str, parameters: dict[str, Any]) -> dict[str, Any]:
        answer = await self._sender.call(self._where, name, {**self._target, **parameters})
        self._has_versions = self._has_versions or "VersionId" in answer
        return answer

    async def _works(self, name: str, parameters: dict[str, Any]) -> bool:
        try:
            await self._call(name, parameters)
        except BackendUnavailableError:
            if name == "put_object":
                raise
            return False
        except ApplianceError:
            return False
        return True

    async def _refuses(self, name: str, parameters: dict[str, Any], conditions: Conditions) -> bool:
        """Whether a write is refused because of a condition that does not hold."""
        parameters = dict(parameters)
        add_headers(parameters, write_conditions(conditions))
        try:
            await self._call(name, parameters)
        except (PreconditionFailedError, ConflictError):
            return True
        except ApplianceError:
            return False
        return False

    async def _takes_quotes(self) -> bool:
        """Whether a condition that holds, its ETag in quotes, is seen to hold."""
        same = {"Body": _BODY}
        add_headers(same, write_conditions(Conditions(if_match=(_MD5,))))
        return await self._works("put_object", same)

    async def _conditional_complete(self) -> bool:
        try:
            upload = {"UploadId": (await self._call("create_multipart_upload", {}))["UploadId"]}
            self._upload = upload
            part = await self._call("upload_part", {**upload, "PartNumber": 1, "Body": _BODY})
        except ApplianceError:
            return False
        parts = [{"PartNumber": 1, "ETag": part["ETag"]}]
        return await self._refuses(
            "complete_multipart_upload", {**upload, "MultipartUpload": {"Parts": parts}}, _ABSENT
        )

    async def _checksums(self) -> bool:
        """Whether a checksum that is sent with a PUT comes back with HEAD."""
        try:
            await self._call("put_object", {"Body": _BODY, "ChecksumCRC32C": _CRC32C})
            head = await self._call("head_object", {"ChecksumMode": "ENABLED"})
        except ApplianceError:
            return False
        kept, _ = checksums(head["ResponseMetadata"]["HTTPHeaders"])
        return kept.get("crc32c") == _CRC32C

    async def clean_up(self) -> None:
        """In a bucket with versions the object goes by all its ids: nothing of ours is to keep the bucket from being deleted."""
        ids = await self._version_ids()
        for name, parameters in (
            *([("abort_multipart_upload", self._upload)] if self._upload else []),
            *([("delete_object", {"VersionId": version_id}) for version_id in ids]),
            *([] if ids else [("delete_object", {})]),
        ):
            try:
                await self._call(name, parameters)
            except ApplianceError as error:
                # An upload that was completed, or a bucket that cannot be written, leaves nothing.
                self._sender.upstream.host.logger.debug("probe: %s", error)

    async def _version_ids(self) -> list[str]:
        """Of all versions and delete markers of the object; none in a bucket without."""
        if not self._has_versions:
            return []
        parameters = {"Bucket": self._target["Bucket"], "Prefix": self._target["Key"]}
        try:
            answer = await self._sender.call(self._where, "list_object_versions", parameters)
        except ApplianceError:
            return []
        found = [*answer.get("Versions", ()), *answer.get("DeleteMarkers", ())]
        return [str(item["VersionId"]) for item in found if item.get("VersionId")]
