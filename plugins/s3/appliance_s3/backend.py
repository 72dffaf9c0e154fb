"""`S3Backend`: buckets of an S3 service as the appliance's backend.

A thin layer of methods: names are translated (names.py), parameters made (requests.py), the call goes to the upstream
(upstream.py), and its answer becomes a value (answers.py). Reading and writing bytes have modules of their own, and so have uploads,
registers, tags, and what this upstream can do (abilities.py).

Starting only looks whether the upstream answers; nothing is written there. The first conditional write, or write with a checksum, into the
account is preceded by a probe: about ten requests on an object `.appliance/s3/probe-...` in the bucket written to, which is removed again.

What S3 itself lacks: an object of unknown size beyond 8 MiB has a multipart ETag, `ObjectInfo.part_sizes` is empty, and Last-Modified
counts whole seconds.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from appliance.model.errors import (
    InvalidArgumentError,
    NoSuchKeyError,
    NoSuchVersionError,
    PreconditionFailedError,
    UnsupportedError,
    VersionChangedError,
)
from appliance.model.objects import (
    NO_CONDITIONS,
    PUT_SIZE_MAX,
    BucketInfo,
    Conditions,
    Deleted,
    DeleteOutcome,
    DeleteTarget,
    ListPage,
    ListRequest,
    ObjectInfo,
    ObjectPart,
    PutOptions,
    Versioning,
    VersionListRequest,
    VersionPage,
)
from appliance.model.ranges import RangeSpec
from appliance.plugin import (
    Body,
    ObjectStream,
)
from appliance_s3.answers import Made, list_page, object_info, object_part
from appliance_s3.deleting import bypass, delete_batch
from appliance_s3.multipart import MultipartOperations
from appliance_s3.names import RESERVED
from appliance_s3.reading import Wanted
from appliance_s3.registers import Registers
from appliance_s3.requests import add_headers, listing
from appliance_s3.versions import version_error, with_version


class S3Backend(MultipartOperations):
    """See the module. `capabilities` are what S3 documents until the first write that needs to know (abilities.py)."""

    # --- buckets ---------------------------------------------------------------------------------------------------

    async def list_buckets(self) -> Sequence[BucketInfo]:
        if self.settings.bucket:
            return [await self.head_bucket(self.settings.bucket)]
        return await self._buckets.list_all()

    async def head_bucket(self, bucket: str) -> BucketInfo:
        await self._buckets.must_exist(self._names.bucket(bucket))
        return BucketInfo(name=bucket)

    async def create_bucket(self, bucket: str) -> None:
        await self._buckets.create(bucket)

    async def delete_bucket(self, bucket: str) -> None:
        await self._buckets.delete(self._names.bucket(bucket))

    async def get_versioning(self, bucket: str) -> Versioning:
        where = self._where("asking for versioning", bucket)
        state = await self._versions.state(where, self._names.bucket(bucket))
        self._abilities.noted(bucket, versioned=state is not Versioning.OFF)
        return state

    async def put_versioning(self, bucket: str, state: Versioning) -> None:
        where = self._where("setting versioning", bucket)
        await self._versions.set_state(where, self._names.bucket(bucket), state)
        self._abilities.noted(bucket, versioned=True)

    # --- reading ---------------------------------------------------------------------------------------------------

    async def list_objects(self, bucket: str, request: ListRequest) -> ListPage:
        root = self._names.root
        self._names.bucket(bucket)
        if request.limit == 0:
            await self._buckets.must_exist(bucket)
            return ListPage()
        parameters: dict[str, Any] = {"Bucket": bucket, "MaxKeys": request.limit}
        parameters |= listing(request, root)
        where = self._where("listing objects", bucket)
        answer = await self._sender.call(where, "list_objects_v2", parameters)
        self._buckets.seen(bucket)
        return list_page(answer, root, RESERVED)

    async def list_versions(self, bucket: str, request: VersionListRequest) -> VersionPage:
        self._names.bucket(bucket)
        if request.limit == 0:
            await self._buckets.must_exist(bucket)
            return VersionPage()
        where = self._where("listing versions", bucket)
        return await self._versions.list(where, bucket, self._names.root, RESERVED, request)

    async def head(self, bucket: str, key: str, *, version_id: str = "") -> ObjectInfo:
        place = with_version(self._names.existing(bucket, key), version_id)
        return await self._head(self._where("HEAD", bucket, key), place)

    async def part(
        self, bucket: str, key: str, number: int, *, version: str = "", version_id: str = ""
    ) -> ObjectPart:
        where = self._where("HEAD of a part", bucket, key)
        place = with_version(self._names.existing(bucket, key), version_id)
        parameters = {**place, "PartNumber": number}
        answer = await self._sender.call(where, "head_object", parameters)
        found = object_part(answer)
        if found is None:
            raise UnsupportedError(
                f"The upstream of backend {self.name} does not tell where the parts of an object lie."
            )
        if version and object_info(key, answer).version != version:
            raise VersionChangedError(bucket=bucket, key=key)
        return found

    def read(
        self,
        bucket: str,
        key: str,
        range: RangeSpec | None = None,  # noqa: A002
        *,
        version: str = "",
        version_id: str = "",
        conditions: Conditions = NO_CONDITIONS,
    ) -> AbstractAsyncContextManager[ObjectStream]:
        place = with_version(self._names.existing(bucket, key), version_id)
        where = self._where("GET", bucket, key)
        return self._read(Wanted(where, place, range, version, conditions))

    @contextlib.asynccontextmanager
    async def _read(self, wanted: Wanted) -> AsyncIterator[ObjectStream]:
        async with self._reader.read(wanted) as stream:
            yield stream

    # --- writing ---------------------------------------------------------------------------------------------------

    async def put(
        self,
        bucket: str,
        key: str,
        body: Body,
        options: PutOptions,
        conditions: Conditions = NO_CONDITIONS,
    ) -> ObjectInfo:
        place = self._names.written(bucket, key)
        where = self._where("PUT", bucket, key)
        headers = await self._abilities.conditions(conditions, "conditional_put", bucket, "PUT")
        try:
            made = await self._writer.put(where, place, body, options, headers)
        except PreconditionFailedError as error:
            raise await self._why(error, where, place, conditions) from None
        return await self._published(where, place, made)

    async def delete(
        self,
        bucket: str,
        key: str,
        conditions: Conditions = NO_CONDITIONS,
        *,
        version_id: str = "",
    ) -> Deleted:
        place = with_version(self._names.written(bucket, key), version_id)
        parameters: dict[str, Any] = {**place, **bypass()}
        headers = await self._abilities.conditions(
            conditions, "conditional_delete", bucket, "DELETE"
        )
        add_headers(parameters, headers)
        where = self._where("DELETE", bucket, key)
        try:
            answer = await self._sender.call(
                where, "delete_object", parameters, idempotent=not headers
            )
        except (NoSuchVersionError, InvalidArgumentError):
            if headers or not version_id:
                raise
        except NoSuchKeyError as error:
            # Some services answer 404 for what is not there.
            missing = await self._buckets.missing_key(error)
            if headers or not isinstance(missing, NoSuchKeyError):
                raise missing from None
        else:
            marker = bool(answer.get("DeleteMarker"))
            return Deleted(version_id=answer.get("VersionId", version_id), delete_marker=marker)
        return Deleted(version_id=version_id)

    async def delete_many(self, bucket: str, keys: Sequence[str]) -> Sequence[DeleteOutcome]:
        return await self.delete_versions(bucket, [DeleteTarget(key=key) for key in keys])

    async def delete_versions(
        self, bucket: str, targets: Sequence[DeleteTarget]
    ) -> Sequence[DeleteOutcome]:
        # XML 1.0 cannot carry control characters: such keys go one by one, by URL.
        batch = [
            target
            for target in dict.fromkeys(targets)
            if (target.key + target.version_id).isprintable()
            and not target.key.startswith(RESERVED)
        ]
        batched = await delete_batch(self._sender, self._names, bucket, batch) if batch else []
        found = dict(zip(batch, batched, strict=True))
        return [
            found[target] if target in found else await self._outcome(bucket, target)
            for target in targets
        ]

    async def copy(
        self,
        source_bucket: str,
        source_key: str,
        bucket: str,
        key: str,
        *,
        source_version: str = "",
        source_version_id: str = "",
        options: PutOptions | None = None,
        conditions: Conditions = NO_CONDITIONS,
        owner: str = "",
        acl: bytes = b"",
    ) -> ObjectInfo:
        source = with_version(self._names.existing(source_bucket, source_key), source_version_id)
        place = self._names.written(bucket, key)
        headers = await self._abilities.conditions(conditions, "conditional_copy", bucket, "copies")
        origin = self._where("HEAD", source_bucket, source_key)
        # Also tells which of the two is missing, and whether one CopyObject is enough.
        info = await self._version(origin, source, source_version)
        where = self._where("copying", bucket, key)
        etag = info.etag if source_version else ""
        try:
            if info.size > PUT_SIZE_MAX:
                kept = options or PutOptions(
                    headers=info.headers,
                    metadata=info.metadata,
                    tags=await self._tags.get(origin, source) if info.tag_count else {},
                )
                made = await self._copier.large(where, source, info, place, kept, headers)
            else:
                made = await self._copier.simple(where, source, etag, place, options, headers)
        except PreconditionFailedError as error:
            if source_version and not headers:
                raise VersionChangedError(bucket=source_bucket, key=source_key) from None
            raise await self._why(error, where, place, conditions) from None
        return await self._published(where, place, Made("", made))

    # --- tags --------------------------------------------------------------------------------------------------------

    async def get_tags(self, bucket: str, key: str, *, version_id: str = "") -> dict[str, str]:
        place = with_version(self._names.existing(bucket, key), version_id)
        try:
            return await self._tags.get(self._where("reading tags", bucket, key), place)
        except (NoSuchKeyError, InvalidArgumentError) as error:
            raise version_error(error, place) from None

    async def put_tags(
        self, bucket: str, key: str, tags: dict[str, str], *, version_id: str = ""
    ) -> ObjectInfo:
        place = with_version(self._names.written(bucket, key), version_id)
        where = self._where("writing tags", bucket, key)
        # Some services tag what does not exist.
        await self._head(where, place)
        await self._tags.put(where, place, tags)
        return await self._head(where, place)

    # --- registers -------------------------------------------------------------------------------------------------------

    async def read_register(self, name: str) -> bytes | None:
        return await self._with_registers().read(name)

    async def compare_and_swap(self, name: str, expected: bytes | None, new: bytes) -> None:
        registers = self._with_registers()
        found = await self._abilities.known(registers.bucket)
        if found.writable and not found.conditional_put:
            raise UnsupportedError(
                f"The upstream of backend {self.name} does not honour conditions of PUT, so it can hold no registers."
            )
        await registers.compare_and_swap(name, expected, new, quoted=found.quoted_etags)

    def _with_registers(self) -> Registers:
        if self._registers is None:
            raise UnsupportedError(
                f"The backend {self.name} serves a whole account: say in register_bucket where registers are to be kept."
            )
        return self._registers
