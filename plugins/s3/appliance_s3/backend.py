"""`S3Backend`: buckets of an S3 service as the appliance's backend.

A thin layer of methods: names are translated (names.py), parameters made (requests.py), the call goes to the upstream
(upstream.py), and its answer becomes a value (answers.py). Reading and writing bytes have modules of their own, and so have uploads,
registers, and the probe of what
this upstream can do.

What S3 itself lacks: an object of unknown size beyond 8 MiB has a multipart ETag, `ObjectInfo.part_sizes` is empty, and Last-Modified
counts whole seconds.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import trio

from appliance.model.errors import (
    AccessDeniedError,
    ApplianceError,
    BackendDeniedError,
    BucketExistsError,
    ConfigError,
    EntityTooLargeError,
    InvalidArgumentError,
    NoSuchBucketError,
    NoSuchKeyError,
    NoSuchTagSetError,
    PreconditionFailedError,
    UnsupportedError,
    VersionChangedError,
)
from appliance.model.names import check_new_bucket_name
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
    PartInfo,
    PartPage,
    PutOptions,
    UploadInfo,
    UploadPage,
)
from appliance.model.ranges import ByteRange, RangeSpec
from appliance.plugin import Backend, Body, Capabilities, Host, ObjectStream
from appliance_s3.answers import list_page, object_info, time_ns
from appliance_s3.copying import Copier
from appliance_s3.failures import Where, named
from appliance_s3.names import RESERVED, Names
from appliance_s3.probe import Features, probe
from appliance_s3.reading import Reader, Wanted
from appliance_s3.registers import Registers
from appliance_s3.requests import add_headers, tag_set, write_conditions
from appliance_s3.sending import Sender
from appliance_s3.settings import Settings
from appliance_s3.uploads import Uploads, target
from appliance_s3.upstream import Upstream
from appliance_s3.writing import Writer

# AWS keeps these for every object, and so does an upstream that keeps one of them.
KEPT_CHECKSUMS = frozenset({"crc32", "crc32c", "crc64nvme", "sha1", "sha256"})
# How long a bucket that was seen is believed to be there when HEAD says only "404", in seconds.
BUCKET_SEEN_S = 30.0


class S3Backend(Backend):
    """See the module. `capabilities` are known once it has started."""

    def __init__(self, name: str, settings: Settings, host: Host) -> None:
        self.name = name
        self.settings = settings
        self._host = host
        self._names = Names(settings)
        self._upstream = Upstream(name, settings, host)
        sender = Sender(self._upstream)
        self._sender = sender
        self._reader = Reader(self._upstream)
        self._uploads = Uploads(sender)
        self._writer = Writer(sender, lambda: self._uploads.kept)
        self._copier = Copier(sender)
        register_bucket = settings.register_bucket or settings.bucket
        self._registers = (
            Registers(sender, register_bucket, settings.prefix) if register_bucket else None
        )
        self._features: Features | None = None
        self._seen: dict[str, float] = {}
        self._creating = trio.Lock()
        self.capabilities = Capabilities(server_side_copy=True)

    # --- life --------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        try:
            await self._upstream.start()
        except Exception as error:
            raise ConfigError(
                f"Backend {self.name}: boto3 refuses the settings: {error}"
            ) from error
        buckets = await self._first_look()
        wanted = self.settings.register_bucket or self.settings.bucket
        if wanted and wanted not in buckets:
            await self._head_wanted(wanted)
        if wanted or buckets:
            await self._probe(wanted or buckets[0])

    async def _first_look(self) -> list[str]:
        """Names of the buckets there are, as far as one may know."""
        try:
            return [info.name for info in await self.list_buckets()]
        except BackendDeniedError:
            if not self.settings.bucket:
                raise
            return []
        except NoSuchBucketError:
            raise ConfigError(
                f"Backend {self.name}: the bucket {self.settings.bucket} does not exist upstream."
            ) from None

    async def _head_wanted(self, bucket: str) -> None:
        try:
            await self._sender.call(self._where("start"), "head_bucket", {"Bucket": bucket})
        except (NoSuchBucketError, NoSuchKeyError):
            raise ConfigError(
                f"Backend {self.name}: the bucket {bucket} does not exist upstream."
            ) from None

    async def _probe(self, bucket: str) -> Features:
        nonce = self._host.token_bytes(8).hex()
        found = await probe(self._sender, bucket, self.settings.prefix, nonce)
        self._features = found
        self._uploads.kept = KEPT_CHECKSUMS if found.checksums else frozenset()
        self.capabilities = Capabilities(
            conditional_put=found.conditional_put,
            conditional_delete=found.conditional_delete,
            server_side_copy=True,
            tagging=found.tagging,
            compare_and_swap=found.conditional_put and self._registers is not None,
            checksums=self._uploads.kept,
        )
        if found.missing():
            self._host.logger.info(
                "backend %s: the upstream lacks %s", self.name, ", ".join(found.missing())
            )
        return found

    async def _conditions(
        self, conditions: Conditions, feature: str, bucket: str, what: str
    ) -> dict[str, str]:
        """Headers of a conditional write. Raises UnsupportedError unless the upstream honours them; found out in `bucket` if there was
        none to try at start.
        """
        if not write_conditions(conditions):
            return {}
        found = self._features or await self._probe(bucket)
        if not getattr(found, feature):
            raise UnsupportedError(
                f"The upstream of backend {self.name} does not honour conditions of {what}.",
                bucket=bucket,
            )
        return write_conditions(conditions, quoted=found.quoted_etags)

    async def stop(self) -> None:
        await self._upstream.stop()

    def statistics(self) -> dict[str, float]:
        return self._upstream.statistics()

    def _where(self, action: str, bucket: str = "", key: str = "") -> Where:
        return Where(self.name, action, bucket, key)

    # --- buckets ---------------------------------------------------------------------------------------------------

    async def list_buckets(self) -> Sequence[BucketInfo]:
        if self.settings.bucket:
            return [await self.head_bucket(self.settings.bucket)]
        answer = await self._sender.call(self._where("listing the buckets"), "list_buckets", {})
        found = [
            BucketInfo(name=item["Name"], created_ns=time_ns(item.get("CreationDate")))
            for item in answer.get("Buckets", ())
        ]
        return sorted(found, key=lambda info: info.name)

    async def head_bucket(self, bucket: str) -> BucketInfo:
        await self._must_exist(self._names.bucket(bucket))
        return BucketInfo(name=bucket)

    async def _must_exist(self, bucket: str) -> None:
        where = self._where("looking for the bucket", bucket)
        try:
            await self._sender.call(where, "head_bucket", {"Bucket": bucket})
        except NoSuchKeyError:  # HEAD's answer is a bare 404
            self._seen.pop(bucket, None)
            raise NoSuchBucketError(bucket=bucket) from None
        self._seen[bucket] = self._host.boot_s()

    async def _missing_key(self, error: NoSuchKeyError) -> ApplianceError:
        """What a bare 404 means: no such key, or not even such a bucket."""
        seen_s = self._seen.get(error.bucket)
        if seen_s is None or self._host.boot_s() - seen_s > BUCKET_SEEN_S:
            try:
                await self._must_exist(error.bucket)
            except ApplianceError as missing:
                return missing
        return error

    async def create_bucket(self, bucket: str) -> None:
        if self.settings.bucket:
            if bucket == self.settings.bucket:
                raise BucketExistsError(bucket=bucket)
            raise AccessDeniedError(
                f"The backend {self.name} serves the bucket {self.settings.bucket} only.",
                bucket=bucket,
            )
        check_new_bucket_name(bucket)
        where = self._where("creating a bucket", bucket)
        parameters: dict[str, Any] = {"Bucket": bucket}
        if self.settings.endpoint_url is None and self.settings.region != "us-east-1":
            region = {"LocationConstraint": self.settings.region}
            parameters["CreateBucketConfiguration"] = region
        # Several services, AWS in us-east-1 among them, answer 200 for one's own bucket that exists: look first, one at a time.
        async with self._creating:
            try:
                await self._must_exist(bucket)
            except NoSuchBucketError:
                await self._sender.call(where, "create_bucket", parameters, idempotent=False)
                return
        raise BucketExistsError(bucket=bucket)

    async def delete_bucket(self, bucket: str) -> None:
        self._names.bucket(bucket)
        if self.settings.bucket:
            raise AccessDeniedError(
                f"The backend {self.name} serves this one bucket; it is not deleted.", bucket=bucket
            )
        where = self._where("deleting a bucket", bucket)
        await self._sender.call(where, "delete_bucket", {"Bucket": bucket}, idempotent=False)
        self._seen.pop(bucket, None)

    # --- reading ---------------------------------------------------------------------------------------------------

    async def list_objects(self, bucket: str, request: ListRequest) -> ListPage:
        root = self._names.root
        self._names.bucket(bucket)
        if request.limit == 0:
            await self._must_exist(bucket)
            return ListPage()
        parameters: dict[str, Any] = {"Bucket": bucket, "MaxKeys": request.limit}
        parameters |= _listing(request, root)
        where = self._where("listing objects", bucket)
        answer = await self._sender.call(where, "list_objects_v2", parameters)
        self._seen[bucket] = self._host.boot_s()
        return list_page(answer, root, RESERVED)

    async def head(self, bucket: str, key: str) -> ObjectInfo:
        place = self._names.existing(bucket, key)
        return await self._head(self._where("HEAD", bucket, key), place)

    async def _head(self, where: Where, place: dict[str, str]) -> ObjectInfo:
        parameters: dict[str, Any] = dict(place)
        if self._uploads.kept:
            parameters["ChecksumMode"] = "ENABLED"
        try:
            answer = await self._sender.call(where, "head_object", parameters)
        except NoSuchKeyError as error:
            raise await self._missing_key(error) from None
        self._seen[place["Bucket"]] = self._host.boot_s()
        return object_info(where.key, answer)

    def read(
        self,
        bucket: str,
        key: str,
        range: RangeSpec | None = None,  # noqa: A002
        *,
        version: str = "",
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
        headers = await self._conditions(conditions, "conditional_put", bucket, "PUT")
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
        except NoSuchKeyError:
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

    async def delete(self, bucket: str, key: str, conditions: Conditions = NO_CONDITIONS) -> None:
        parameters: dict[str, Any] = dict(self._names.written(bucket, key))
        headers = await self._conditions(conditions, "conditional_delete", bucket, "DELETE")
        add_headers(parameters, headers)
        where = self._where("DELETE", bucket, key)
        try:
            await self._sender.call(where, "delete_object", parameters, idempotent=not headers)
        except NoSuchKeyError as error:
            # Some services answer 404 for what is not there.
            missing = await self._missing_key(error)
            if headers or not isinstance(missing, NoSuchKeyError):
                raise missing from None

    async def delete_many(self, bucket: str, keys: Sequence[str]) -> Sequence[DeleteOutcome]:
        # XML 1.0 cannot carry control characters: such keys go one by one, by URL.
        batch = [key for key in keys if key.isprintable() and not key.startswith(RESERVED)]
        failed = await self._delete_batch(bucket, batch) if batch else {}
        batched = set(batch)
        outcomes = []
        for key in keys:
            if key in batched:
                outcomes.append(DeleteOutcome(key=key, error=failed.get(key)))
            else:
                outcomes += await super().delete_many(bucket, [key])
        return outcomes

    async def _delete_batch(self, bucket: str, keys: Sequence[str]) -> dict[str, ApplianceError]:
        """One DeleteObjects; errors by key."""
        failed: dict[str, ApplianceError] = {}
        full = {}
        for key in keys:
            try:
                full[self._names.written(bucket, key)["Key"]] = key
            except ApplianceError as error:
                failed[key] = error
        delete = {"Objects": [{"Key": key} for key in full], "Quiet": True}
        where = self._where("DeleteObjects", bucket)
        answer = await self._sender.call(
            where, "delete_objects", {"Bucket": bucket, "Delete": delete}
        )
        for item in answer.get("Errors", ()):
            key = full.get(item.get("Key", ""), "")
            one = self._where("DELETE", bucket, key)
            failed[key] = named(str(item.get("Code", "")), str(item.get("Message", "")), one)
        return failed

    async def copy(
        self,
        source_bucket: str,
        source_key: str,
        bucket: str,
        key: str,
        *,
        source_version: str = "",
        options: PutOptions | None = None,
        conditions: Conditions = NO_CONDITIONS,
    ) -> ObjectInfo:
        source = self._names.existing(source_bucket, source_key)
        place = self._names.written(bucket, key)
        headers = await self._conditions(conditions, "conditional_copy", bucket, "copies")
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
                    tags=await self._tags(origin, source) if info.tag_count else {},
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

    def _must_tag(self, bucket: str, key: str) -> None:
        if self._features is not None and not self.capabilities.tagging:
            raise UnsupportedError(
                f"The upstream of backend {self.name} has no object tags.", bucket=bucket, key=key
            )

    async def get_tags(self, bucket: str, key: str) -> dict[str, str]:
        place = self._names.existing(bucket, key)
        self._must_tag(bucket, key)
        return await self._tags(self._where("reading tags", bucket, key), place)

    async def _tags(self, where: Where, place: dict[str, str]) -> dict[str, str]:
        try:
            answer = await self._sender.call(where, "get_object_tagging", place)
        except NoSuchTagSetError:
            return {}
        return {tag["Key"]: tag["Value"] for tag in answer.get("TagSet", ())}

    async def put_tags(self, bucket: str, key: str, tags: dict[str, str]) -> ObjectInfo:
        place = self._names.written(bucket, key)
        self._must_tag(bucket, key)
        where = self._where("writing tags", bucket, key)
        # Some services tag what does not exist.
        await self._head(where, place)
        if tags:
            await self._sender.call(
                where, "put_object_tagging", {**place, "Tagging": tag_set(tags)}
            )
        else:
            await self._sender.call(where, "delete_object_tagging", dict(place))
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
        headers = await self._conditions(
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
        some = Conditions(if_none_match=("*",))
        await self._conditions(some, "conditional_put", registers.bucket, "PUT")
        quoted = self._features is not None and self._features.quoted_etags
        await registers.compare_and_swap(name, expected, new, quoted=quoted)

    def _with_registers(self) -> Registers:
        if self._registers is None:
            raise UnsupportedError(
                f"The backend {self.name} serves a whole account: say in register_bucket where registers are to be kept."
            )
        return self._registers


def _listing(request: ListRequest, root: str) -> dict[str, Any]:
    """Parameters of a page. Raises InvalidArgumentError for a token that is not ours."""
    parameters: dict[str, Any] = {}
    if root or request.prefix:
        parameters["Prefix"] = root + request.prefix
    if request.delimiter:
        parameters["Delimiter"] = request.delimiter
    kind, token = request.continuation[:1], request.continuation[1:]
    if kind == "t":
        parameters["ContinuationToken"] = token
    elif kind == "s":
        parameters["StartAfter"] = token
    elif kind:
        raise InvalidArgumentError("The continuation token provided is incorrect.")
    elif request.start_after:
        parameters["StartAfter"] = root + request.start_after
    return parameters
