"""The example backend with one bug each, of the kinds that storages and their authors are known for, and the checks that must find it."""

from __future__ import annotations

import dataclasses
import posixpath
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import trio

from appliance.model.errors import NoSuchKeyError
from appliance.model.names import key_bytes
from appliance.model.objects import NO_CONDITIONS, BucketInfo, ListPage, PutOptions
from appliance.model.ranges import ByteRange, RangeSpec
from appliance.plugin import BytesBody, Capabilities, ChecksummedBody
from appliance_example.backend import MemoryBackend
from appliance_example.listing import list_page
from appliance_example.store import StoredBucket, StoredObject
from tests.support.bugs import caught_by


def without(**capabilities: Any) -> Capabilities:
    return msgspec.structs.replace(MemoryBackend.capabilities, **capabilities)


@caught_by("forwarding.reads_what_is_there")
@caught_by("forwarding.writes_all_or_nothing")
class ForwardsNothingAndSaysSo(MemoryBackend):
    """Declares what it has not."""

    capabilities = without(forwarding=True)


@caught_by("failures.of_bodies_leave_nothing")
@caught_by("failures.by_cancellation_leave_nothing")
@caught_by("failures.of_bodies_leave_the_old_object")
class PublishesWhatItHas(MemoryBackend):
    async def put(self, bucket, key, body, options, conditions=NO_CONDITIONS):
        taken = b""
        try:
            async for chunk in body:
                taken += chunk
        finally:
            with trio.CancelScope(shield=True):
                info = await super().put(bucket, key, BytesBody(taken), options, conditions)
        return info


@caught_by("failures.of_bodies_leave_the_old_object")
class DeletesBeforeItWrites(MemoryBackend):
    async def put(self, bucket, key, body, options, conditions=NO_CONDITIONS):
        if not conditions:
            self._bucket(bucket).objects.pop(key, None)
        return await super().put(bucket, key, body, options, conditions)


@caught_by("failures.of_bodies_leave_nothing")
class LeavesTemporaryFiles(MemoryBackend):
    async def put(self, bucket, key, body, options, conditions=NO_CONDITIONS):
        objects = self._bucket(bucket).objects
        await super().put(bucket, ".tmp", BytesBody(b""), PutOptions())
        info = await super().put(bucket, key, body, options, conditions)
        objects.pop(".tmp", None)
        return info


@caught_by("objects.are_taken_chunk_by_chunk")
class KeepsChunks(MemoryBackend):
    async def _take(self, body, algorithms):
        body = ChecksummedBody(body, algorithms)
        chunks = [chunk async for chunk in body]
        return b"".join(chunks), body.digests()


@caught_by("objects.may_be_of_unknown_size")
class NeedsTheSize(MemoryBackend):
    async def put(self, bucket, key, body, options, conditions=NO_CONDITIONS):
        if body.size is None:
            raise TypeError("size")
        return await super().put(bucket, key, body, options, conditions)


@caught_by("conditions.are_checked_when_publishing")
class ChecksConditionsFirst(MemoryBackend):
    async def put(self, bucket, key, body, options, conditions=NO_CONDITIONS):
        current = self._bucket(bucket).objects.get(key)
        if current is None and conditions.if_match:
            raise NoSuchKeyError
        conditions.check_write(current.info if current else None)
        return await super().put(bucket, key, body, options)


@caught_by("concurrency.creators_have_one_winner")
@caught_by("concurrency.replacers_have_one_winner")
class ChecksThenPublishes(MemoryBackend):
    async def put(self, bucket, key, body, options, conditions=NO_CONDITIONS):
        data, _ = await self._take(body, ())
        current = self._bucket(bucket).objects.get(key)
        if current is None and conditions.if_match:
            raise NoSuchKeyError
        conditions.check_write(current.info if current else None)
        await trio.lowlevel.checkpoint()
        return await super().put(bucket, key, BytesBody(data), options)


@caught_by("conditions.of_puts_are_honoured")
@caught_by("concurrency.creators_have_one_winner")
class IgnoresConditionsSilently(MemoryBackend):
    capabilities = without(conditional_put=False)


@caught_by("conditions.of_deletes_are_honoured")
class IgnoresDeleteConditions(MemoryBackend):
    async def delete(self, bucket, key, conditions=NO_CONDITIONS):
        await super().delete(bucket, key)


@caught_by("tags.come_and_go")
class HasTagsUndeclared(MemoryBackend):
    capabilities = without(tagging=False)


@caught_by("registers.change_by_compare_and_swap")
class HasRegistersUndeclared(MemoryBackend):
    capabilities = without(compare_and_swap=False)


@caught_by("versions.change_with_the_metadata")
class VersionIsTheEtag(MemoryBackend):
    def _publish(self, bucket, info, data, tags, conditions):
        super()._publish(bucket, info, data, tags, conditions)
        objects = self._bucket(bucket).objects
        stored = objects[info.key]
        objects[info.key] = StoredObject(
            msgspec.structs.replace(stored.info, version=info.etag), data, tags
        )
        return objects[info.key].info


@caught_by("versions.change_with_the_bytes")
class VersionIsTheSecond(MemoryBackend):
    def _next_version(self):
        return str(self._host.now_ns() // 10**9)


@caught_by("versions.can_be_asked_for_in_a_read")
class ReadsAnyVersion(MemoryBackend):
    def _object(self, bucket, key, version=""):
        return super()._object(bucket, key)


@caught_by("versions.change_with_the_bytes")
@caught_by("versions.of_deleted_objects_are_gone")
class ConfirmsAnyVersion(MemoryBackend):
    def validate_nowait(self, bucket, key, version):
        return True


class Relisted(MemoryBackend):
    """Lists in an order of its own."""

    def order(self, key: str) -> Any:
        return key_bytes(key)

    async def list_objects(self, bucket, request):
        objects = self._bucket(bucket).objects
        return list_page((objects[key].info for key in sorted(objects, key=self.order)), request)


@caught_by("listing.matches_a_sorted_model")
@caught_by("names.unicode_ones_round_trip")
class ListsByUtf16(Relisted):
    def order(self, key):
        return key.encode("utf-16-be", "surrogatepass")


@caught_by("listing.matches_a_sorted_model")
class ListsByDirectory(Relisted):
    def order(self, key):
        return [part.encode("utf-8", "surrogateescape") for part in key.split("/")]


@caught_by("listing.matches_a_sorted_model")
class StartsAtTheMarker(MemoryBackend):
    async def list_objects(self, bucket, request):
        if request.start_after in self._bucket(bucket).objects and not request.continuation:
            before = request.start_after[:-1]
            request = msgspec.structs.replace(request, start_after=before)
        return await super().list_objects(bucket, request)


@caught_by("listing.ends_exactly_at_its_limit")
class AlwaysGoesOn(MemoryBackend):
    async def list_objects(self, bucket, request):
        page = await super().list_objects(bucket, request)
        if len(page.objects) + len(page.common_prefixes) == request.limit > 0:
            return msgspec.structs.replace(page, continuation=key_bytes(page.last).hex())
        return page


@caught_by("listing.goes_on_while_keys_change")
class PagesByNumber(MemoryBackend):
    async def list_objects(self, bucket, request):
        whole = msgspec.structs.replace(request, continuation="", limit=10**9)
        if request.continuation:
            whole = msgspec.structs.replace(whole, start_after="")
        page = await super().list_objects(bucket, whole)
        found = sorted([*page.objects, *page.common_prefixes], key=_entry)
        begin = int(request.continuation or "0")
        end = begin + request.limit
        part = found[begin:end]
        return ListPage(
            objects=tuple(one for one in part if not isinstance(one, str)),
            common_prefixes=tuple(one for one in part if isinstance(one, str)),
            continuation=str(end) if end < len(found) and request.limit else "",
            last=_entry(part[-1]).decode("utf-8", "surrogateescape") if part else "",
        )


def _entry(one: Any) -> bytes:
    return key_bytes(one if isinstance(one, str) else one.key)


@caught_by("listing.takes_any_delimiter")
class KnowsOnlySlash(MemoryBackend):
    async def list_objects(self, bucket, request):
        if request.delimiter:
            request = msgspec.structs.replace(request, delimiter="/")
        return await super().list_objects(bucket, request)


@caught_by("listing.sees_every_change_at_once")
class KeepsEmptyPrefixes(MemoryBackend):
    def __init__(self, config):
        super().__init__(config)
        self.prefixes = set()

    async def list_objects(self, bucket, request):
        page = await super().list_objects(bucket, request)
        if request.delimiter == "/" and not request.continuation:
            self.prefixes |= set(page.common_prefixes)
            return msgspec.structs.replace(page, common_prefixes=tuple(sorted(self.prefixes)))
        return page


@caught_by("ranges.of_small_objects_match_slices")
class ExcludesTheLastByte(MemoryBackend):
    def read(self, bucket, key, spec=None, **rest):
        if spec is not None and spec.first is not None and spec.last:
            spec = RangeSpec(spec.first, max(spec.first, spec.last - 1))
        return super().read(bucket, key, spec, **rest)


@caught_by("objects.come_back_as_they_were_put")
class EndsShort(MemoryBackend):
    @asynccontextmanager
    async def read(self, *args, **rest):
        async with super().read(*args, **rest) as stream:
            told = stream.range
            stream.range = ByteRange(told.offset, max(0, told.length - 1))
            stream_end = Ended(stream, told)
            yield stream_end


@dataclasses.dataclass
class Ended:
    inner: Any
    range: ByteRange

    @property
    def info(self):
        return self.inner.info

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self.inner


@caught_by("concurrency.readers_see_one_version")
class ReadsWhatIsThere(MemoryBackend):
    @asynccontextmanager
    async def read(self, bucket, key, spec=None, **rest):
        async with super().read(bucket, key, spec, **rest) as stream:
            yield Live(self, bucket, key, stream)


class Live:
    def __init__(self, backend, bucket, key, stream) -> None:
        self.info, self.range = stream.info, stream.range
        self._find = lambda: backend._object(bucket, key).data
        self._offset = self.range.offset

    def __aiter__(self):
        return self

    async def __anext__(self):
        await trio.lowlevel.checkpoint()
        end = min(self._offset + (1 << 20), self.range.end)
        data = self._find()[self._offset : end]
        self._offset = end
        if not data:
            raise StopAsyncIteration
        return data


@caught_by("objects.are_gone_once_deleted")
class DeletesOnlyWhatIsThere(MemoryBackend):
    async def delete(self, bucket, key, conditions=NO_CONDITIONS):
        self._object(bucket, key)
        await super().delete(bucket, key, conditions)


@caught_by("objects.forget_what_they_replaced")
class MergesMetadata(MemoryBackend):
    async def put(self, bucket, key, body, options, conditions=NO_CONDITIONS):
        current = self._bucket(bucket).objects.get(key)
        if current:
            merged = current.info.metadata | options.metadata
            options = msgspec.structs.replace(options, metadata=merged)
        return await super().put(bucket, key, body, options, conditions)


@caught_by("objects.keep_their_checksums")
class KeepsOnlyGivenChecksums(MemoryBackend):
    async def put(self, bucket, key, body, options, conditions=NO_CONDITIONS):
        known = tuple(name for name in options.checksums if name in body.known)
        options = msgspec.structs.replace(options, checksums=known)
        return await super().put(bucket, key, body, options, conditions)


@caught_by("buckets.that_hold_objects_are_kept")
class DeletesFullBuckets(MemoryBackend):
    async def delete_bucket(self, bucket):
        self._bucket(bucket).objects.clear()
        await super().delete_bucket(bucket)


@caught_by("buckets.are_created_once_by_many")
class CreatesTwice(MemoryBackend):
    async def create_bucket(self, bucket):
        if bucket not in self.store.buckets:
            await trio.lowlevel.checkpoint()
            self.store.buckets[bucket] = StoredBucket(info=BucketInfo(name=bucket))
            return
        await super().create_bucket(bucket)


@caught_by("uploads.belong_to_their_key")
class TrustsUploadIds(MemoryBackend):
    def _upload(self, bucket, key, upload_id):
        uploads = self._bucket(bucket).uploads
        return super()._upload(
            bucket, uploads[upload_id].info.key if upload_id in uploads else key, upload_id
        )


@caught_by("uploads.with_forged_ids_do_not_exist")
class FindsUploadsByPath(MemoryBackend):
    def _upload(self, bucket, key, upload_id):
        return super()._upload(bucket, key, posixpath.normpath(upload_id))


@caught_by("uploads.after_a_key_marker")
@caught_by("uploads.are_listed_by_key_and_time")
class ForgetsUploadMarkers(MemoryBackend):
    async def list_uploads(self, bucket, **rest):
        rest.pop("key_marker", None)
        page = await super().list_uploads(bucket, **rest)
        return msgspec.structs.replace(page, truncated=False)


@caught_by("multipart.are_refused_when_wrong")
class SpendsUploadsOnFailure(MemoryBackend):
    async def complete_upload(self, bucket, key, upload_id, parts, conditions=NO_CONDITIONS):
        upload = self._upload(bucket, key, upload_id)
        try:
            return await super().complete_upload(bucket, key, upload_id, parts, conditions)
        except Exception:
            upload.parts.clear()
            raise


@caught_by("multipart.are_refused_when_wrong")
class TakesPartsUnseen(MemoryBackend):
    async def complete_upload(self, bucket, key, upload_id, parts, conditions=NO_CONDITIONS):
        stored = self._upload(bucket, key, upload_id).parts
        parts = [
            msgspec.structs.replace(part, etag=stored[part.number].info.etag)
            for part in parts
            if part.number in stored
        ]
        return await super().complete_upload(bucket, key, upload_id, parts, conditions)


@caught_by("multipart.stay_invisible_until_complete")
class ShowsUploads(MemoryBackend):
    async def create_upload(self, bucket, key, options):
        await self.put(bucket, key, BytesBody(b""), options)
        return await super().create_upload(bucket, key, options)


@caught_by("multipart.of_one_key_do_not_mix")
class OneUploadAKey(MemoryBackend):
    async def create_upload(self, bucket, key, options):
        uploads = self._bucket(bucket).uploads
        for other in [one for one in uploads.values() if one.info.key == key]:
            return other.info
        return await super().create_upload(bucket, key, options)


@caught_by("copies.take_everything_along")
class CopiesOnlyBytes(MemoryBackend):
    async def copy(self, *names, options=None, **rest):
        return await super().copy(*names, options=options or PutOptions(), **rest)


@caught_by("copies.replace_what_options_say")
class CopiesMetadataAlways(MemoryBackend):
    async def copy(self, *names, options=None, **rest):
        return await super().copy(*names, options=None, **rest)


@caught_by("registers.swap_once_among_many")
@caught_by("registers.count_without_loss")
class ComparesThenSwaps(MemoryBackend):
    async def compare_and_swap(self, name, expected, new):
        await super().compare_and_swap(name, expected, expected or b"")
        if expected is None:
            del self.store.registers[name]
        await trio.lowlevel.checkpoint()
        self.store.registers[name] = new


@caught_by("life.opens_local_files_if_it_says_so")
class HasNoLocalFiles(MemoryBackend):
    capabilities = without(local_files=True)


@caught_by("life.statistics_are_numbers")
class CountsInWords(MemoryBackend):
    def statistics(self):
        return {**super().statistics(), "objects": "many"}
