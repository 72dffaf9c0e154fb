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
    ApplianceError,
    ConfigError,
    EntityTooLargeError,
    InvalidArgumentError,
    NoSuchBucketError,
    NoSuchKeyError,
    PreconditionFailedError,
    UnsupportedError,
    VersionChangedError,
)
from appliance.model.objects import (
    NO_CONDITIONS,
    PUT_SIZE_MAX,
    BucketInfo,
    CompletedPart,
    Conditions,
    DeleteOutcome,
    ListPage,
    ListRequest,
    ObjectInfo,
    ObjectPart,
    PartInfo,
    PartPage,
    PutOptions,
    UploadInfo,
    UploadPage,
)
from appliance.model.ranges import ByteRange, RangeSpec
from appliance.plugin import (
    Backend,
    Body,
    Capabilities,
    ForwardAnswer,
    ForwardRequest,
    Host,
    ObjectStream,
)
from appliance_s3.abilities import Abilities
from appliance_s3.answers import list_page, object_info, object_part
from appliance_s3.buckets import Buckets
from appliance_s3.copying import Copier
from appliance_s3.deleting import delete_batch
from appliance_s3.failures import Where
from appliance_s3.forwarding import Forwarder
from appliance_s3.names import RESERVED, Names
from appliance_s3.reading import Reader, Wanted
from appliance_s3.registers import Registers
from appliance_s3.requests import add_headers, listing
from appliance_s3.sending import Sender
from appliance_s3.settings import Settings
from appliance_s3.tags import Tags
from appliance_s3.uploads import Uploads, target
from appliance_s3.upstream import Upstream
from appliance_s3.writing import Writer


class S3Backend(Backend):
    """See the module. `capabilities` are what S3 documents until the first write that needs to know (abilities.py)."""

    def __init__(self, name: str, settings: Settings, host: Host) -> None:
        self.name = name
        self.settings = settings
        self._host = host
        self._names = Names(settings)
        self._upstream = Upstream(name, settings, host)
        sender = Sender(self._upstream)
        self._sender = sender
        register_bucket = settings.register_bucket or settings.bucket
        self._registers = (
            Registers(sender, register_bucket, settings.prefix) if register_bucket else None
        )
        self._abilities = Abilities(
            sender, settings.prefix, self._registers is not None, self._can_do
        )
        self._buckets = Buckets(sender, settings)
        self._reader = Reader(self._upstream)
        self._uploads = Uploads(sender)
        self._writer = Writer(sender, self._abilities)
        self._copier = Copier(sender)
        self._forwarder = Forwarder(sender, self._names)
        self._tags = Tags(sender, self._abilities)

    def _can_do(self, capabilities: Capabilities) -> None:
        self.capabilities = capabilities

    # --- life --------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        try:
            await self._upstream.start()
        except Exception as error:
            raise ConfigError(
                f"Backend {self.name}: boto3 refuses the settings: {error}"
            ) from error
        await self._look(self.settings.bucket)
        if self.settings.register_bucket:
            await self._look(self.settings.register_bucket)

    async def _look(self, bucket: str) -> None:
        """Raise unless the upstream answers, and has `bucket` ("": any)."""
        if not bucket:
            await self._buckets.list_all()
            return
        try:
            await self._buckets.must_exist(bucket)
        except NoSuchBucketError:
            raise ConfigError(
                f"Backend {self.name}: the bucket {bucket} does not exist upstream."
            ) from None

    async def stop(self) -> None:
        self._forwarder.close()
        await self._upstream.stop()

    def statistics(self) -> dict[str, float]:
        return self._upstream.statistics()

    def _where(self, action: str, bucket: str = "", key: str = "") -> Where:
        return Where(self.name, action, bucket, key)

    def forward(self, request: ForwardRequest) -> AbstractAsyncContextManager[ForwardAnswer]:
        return self._forwarder.forward(request)

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

    async def head(self, bucket: str, key: str, *, version_id: str = "") -> ObjectInfo:
        place = self._names.existing(bucket, key)
        return await self._head(self._where("HEAD", bucket, key), place)

    async def _head(self, where: Where, place: dict[str, str]) -> ObjectInfo:
        parameters: dict[str, Any] = dict(place)
        if self.settings.checksums == "when_supported":
            parameters["ChecksumMode"] = "ENABLED"
        try:
            answer = await self._sender.call(where, "head_object", parameters)
        except NoSuchKeyError as error:
            raise await self._buckets.missing_key(error) from None
        self._buckets.seen(place["Bucket"])
        return object_info(where.key, answer)

    async def part(
        self, bucket: str, key: str, number: int, *, version: str = "", version_id: str = ""
    ) -> ObjectPart:
        where = self._where("HEAD of a part", bucket, key)
        parameters = {**self._names.existing(bucket, key), "PartNumber": number}
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
        return self._read(bucket, key, range, version, conditions)

    @contextlib.asynccontextmanager
    async def _read(
        self, bucket: str, key: str, asked: RangeSpec | None, version: str, conditions: Conditions
    ) -> AsyncIterator[ObjectStream]:
        place = self._names.existing(bucket, key)
        where = self._where("GET", bucket, key)
        async with self._reader.read(Wanted(where, place, asked, version, conditions)) as stream:
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
            etag = await self._writer.put(where, place, body, options, headers)
        except PreconditionFailedError as error:
            raise await self._why(error, where, place, conditions) from None
        return await self._published(where, place, etag)

    async def _why(
        self,
        error: PreconditionFailedError,
        where: Where,
        place: dict[str, str],
        conditions: Conditions,
    ) -> ApplianceError:
        """The error of a failed condition: `If-Match` on nothing is no such key, whatever the upstream calls it."""
        if conditions.if_match:
            try:
                await self._head(where, place)
            except ApplianceError as missing:
                return missing
        return error

    async def _published(self, where: Where, place: dict[str, str], etag: str) -> ObjectInfo:
        """What was just written: only HEAD tells its time, and with it its version.

        If somebody else has overwritten or deleted it meanwhile, it gets a version that no object will ever have.
        """
        try:
            info = await self._head(where, place)
        except (NoSuchKeyError, InvalidArgumentError):
            # The latter: an upload that was begun with a client's own key, without which nobody is told anything.
            info = None
        if info is not None and (not etag or info.etag == etag):
            return info
        size = 0 if info is None else info.size
        return ObjectInfo(
            key=where.key,
            size=size,
            etag=etag,
            version=f"{etag}/overwritten",
            modified_ns=self._host.now_ns(),
        )

    async def delete(
        self,
        bucket: str,
        key: str,
        conditions: Conditions = NO_CONDITIONS,
        *,
        version_id: str = "",
    ) -> None:
        parameters: dict[str, Any] = dict(self._names.written(bucket, key))
        headers = await self._abilities.conditions(
            conditions, "conditional_delete", bucket, "DELETE"
        )
        add_headers(parameters, headers)
        where = self._where("DELETE", bucket, key)
        try:
            await self._sender.call(where, "delete_object", parameters, idempotent=not headers)
        except NoSuchKeyError as error:
            # Some services answer 404 for what is not there.
            missing = await self._buckets.missing_key(error)
            if headers or not isinstance(missing, NoSuchKeyError):
                raise missing from None

    async def delete_many(self, bucket: str, keys: Sequence[str]) -> Sequence[DeleteOutcome]:
        # XML 1.0 cannot carry control characters: such keys go one by one, by URL.
        batch = [key for key in keys if key.isprintable() and not key.startswith(RESERVED)]
        failed = await delete_batch(self._sender, self._names, bucket, batch) if batch else {}
        batched = set(batch)
        outcomes = []
        for key in keys:
            if key in batched:
                outcomes.append(DeleteOutcome(key=key, error=failed.get(key)))
            else:
                outcomes += await super().delete_many(bucket, [key])
        return outcomes

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
        source = self._names.existing(source_bucket, source_key)
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
                await self._copier.large(where, source, info, place, kept, headers)
            else:
                await self._copier.simple(where, source, etag, place, options, headers)
        except PreconditionFailedError as error:
            if source_version and not headers:
                raise VersionChangedError(bucket=source_bucket, key=source_key) from None
            raise await self._why(error, where, place, conditions) from None
        return await self._published(where, place, "")

    async def _version(self, where: Where, place: dict[str, str], version: str) -> ObjectInfo:
        """What is there now. Raises VersionChangedError if that is not `version`."""
        info = await self._head(where, place)
        if version and info.version != version:
            raise VersionChangedError(bucket=where.bucket, key=where.key)
        return info

    # --- tags --------------------------------------------------------------------------------------------------------

    async def get_tags(self, bucket: str, key: str, *, version_id: str = "") -> dict[str, str]:
        place = self._names.existing(bucket, key)
        return await self._tags.get(self._where("reading tags", bucket, key), place)

    async def put_tags(
        self, bucket: str, key: str, tags: dict[str, str], *, version_id: str = ""
    ) -> ObjectInfo:
        place = self._names.written(bucket, key)
        where = self._where("writing tags", bucket, key)
        # Some services tag what does not exist.
        await self._head(where, place)
        await self._tags.put(where, place, tags)
        return await self._head(where, place)

    # --- multipart uploads ---------------------------------------------------------------------------------------------

    async def create_upload(self, bucket: str, key: str, options: PutOptions) -> UploadInfo:
        place = self._names.written(bucket, key)
        where = self._where("creating an upload", bucket, key)
        return await self._uploads.create(where, place, options, self._host.now_ns())

    async def put_part(
        self, bucket: str, key: str, upload_id: str, number: int, body: Body
    ) -> PartInfo:
        place = target(self._names.written(bucket, key), upload_id)
        where = self._where("uploading a part", bucket, key)
        return await self._uploads.put_part(where, place, number, body, self._host.now_ns())

    async def copy_part(
        self,
        source_bucket: str,
        source_key: str,
        bucket: str,
        key: str,
        upload_id: str,
        number: int,
        *,
        range: ByteRange | None = None,  # noqa: A002
        source_version: str = "",
        source_version_id: str = "",
    ) -> PartInfo:
        source = self._names.existing(source_bucket, source_key)
        place = target(self._names.written(bucket, key), upload_id)
        origin = self._where("HEAD", source_bucket, source_key)
        info = await self._version(origin, source, source_version)
        if range is not None and range.end > info.size:
            raise InvalidArgumentError(
                f"The range {range.offset}-{range.end - 1} is not within the source of {info.size} bytes."
            )
        size = info.size if range is None else range.length
        if size > PUT_SIZE_MAX:
            raise EntityTooLargeError(bucket=bucket, key=key)
        where = self._where("copying a part", bucket, key)
        etag = info.etag if source_version else ""
        try:
            return await self._uploads.copy_part(where, place, number, source, range, etag, size)
        except PreconditionFailedError:
            raise VersionChangedError(bucket=source_bucket, key=source_key) from None

    async def list_parts(
        self, bucket: str, key: str, upload_id: str, *, after: int = 0, limit: int = 1000
    ) -> PartPage:
        place = target(self._names.written(bucket, key), upload_id)
        where = self._where("listing parts", bucket, key)
        return await self._uploads.list_parts(where, place, after, limit)

    async def list_uploads(
        self,
        bucket: str,
        *,
        prefix: str = "",
        delimiter: str = "",
        key_marker: str = "",
        upload_id_marker: str = "",
        limit: int = 1000,
    ) -> UploadPage:
        root = self._names.root
        self._names.bucket(bucket)
        options: dict[str, Any] = {"Prefix": root + prefix, "MaxUploads": limit}
        if delimiter:
            options["Delimiter"] = delimiter
        if key_marker:
            options["KeyMarker"] = root + key_marker
            if upload_id_marker:
                options["UploadIdMarker"] = upload_id_marker
        where = self._where("listing uploads", bucket)
        return await self._uploads.list(where, bucket, root, RESERVED, options)

    async def complete_upload(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        parts: Sequence[CompletedPart],
        conditions: Conditions = NO_CONDITIONS,
    ) -> ObjectInfo:
        place = self._names.written(bucket, key)
        where = self._where("completing an upload", bucket, key)
        headers = await self._abilities.conditions(
            conditions, "conditional_complete", bucket, "CompleteMultipartUpload"
        )
        try:
            etag = await self._uploads.complete(where, target(place, upload_id), parts, headers)
        except PreconditionFailedError as error:
            raise await self._why(error, where, place, conditions) from None
        return await self._published(where, place, etag)

    async def abort_upload(self, bucket: str, key: str, upload_id: str) -> None:
        place = target(self._names.written(bucket, key), upload_id)
        await self._uploads.abort(self._where("aborting an upload", bucket, key), place)

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
