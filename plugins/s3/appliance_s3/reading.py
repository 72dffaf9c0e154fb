"""Reading: one thread call where the answer is small, a stream with read-ahead where not, ranged GETs side by side for a large range.

    small      up to `WHOLE_BYTES`: request and body in one hop to a thread (a hop costs about 0.1 ms)
    stream     chunks of 1 MiB; while one is with the consumer, the next waits and the one after it is being read. Or drained, in one thread
    segments   ranges from `SEGMENTED_BYTES`: several GETs of `SEGMENT_BYTES` at a time, delivered in order, each If-Match the first's ETag

A body that breaks off is fetched again from where it broke, If-Match; whatever cannot be completed raises, so a stream never ends early.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import AsyncIterator
from typing import Any

from appliance.model.errors import (
    ApplianceError,
    BackendUnavailableError,
    InvalidArgumentError,
    InvalidRangeError,
    NoSuchKeyError,
    NotModifiedError,
    PreconditionFailedError,
    UnsupportedError,
    VersionChangedError,
)
from appliance.model.objects import NO_CONDITIONS, Conditions, ObjectInfo
from appliance.model.ranges import ByteRange, RangeSpec
from appliance.plugin import ObjectStream
from appliance_s3.answers import object_info
from appliance_s3.failures import Where
from appliance_s3.flowing import Stream, Whole, flowing
from appliance_s3.getting import Answer, get
from appliance_s3.requests import add_headers, range_header, read_conditions
from appliance_s3.supplies import SEGMENT_BYTES, Resumed, SideBySide
from appliance_s3.upstream import Upstream
from appliance_s3.versions import version_error

WHOLE_BYTES = 1 << 20
SEGMENTED_BYTES = 16 << 20


# What is certainly an ETag; a forged version must not become a header as it is.
_ETAG = re.compile(r"[0-9a-zA-Z-]+\Z")


class Wanted:
    """What is read: an object under its user's name (`where`) and its place upstream, perhaps a range, perhaps one version of it."""

    def __init__(
        self,
        where: Where,
        place: dict[str, str],
        asked: RangeSpec | None,
        version: str,
        conditions: Conditions,
    ) -> None:
        self.where = where
        self.place = place
        self.asked = asked
        self.version = version
        self.conditions = conditions

    def parameters(
        self, part: RangeSpec | ByteRange | None, conditions: Conditions
    ) -> dict[str, Any]:
        parameters: dict[str, Any] = dict(self.place)
        if part is not None:
            parameters["Range"] = range_header(part)
        add_headers(parameters, read_conditions(conditions))
        return parameters

    def first_conditions(self) -> Conditions:
        """Of the first request: the version, if one is wanted, makes any other condition ours to check."""
        if not self.version:
            return self.conditions
        etag = self.version.partition("/")[0]
        return Conditions(if_match=(etag,)) if _ETAG.match(etag) else NO_CONDITIONS

    def changed(self) -> VersionChangedError:
        return VersionChangedError(bucket=self.where.bucket, key=self.where.key)

    def check(self, info: ObjectInfo) -> None:
        """Raise unless this is the version, and fulfils the conditions."""
        if self.version and info.version != self.version:
            raise self.changed()
        self.conditions.check_read(info)


class Reader:
    """Opens streams on objects of one upstream."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    @contextlib.asynccontextmanager
    async def read(self, wanted: Wanted) -> AsyncIterator[ObjectStream]:
        """See `Backend.read`."""
        first = self._first_segment(wanted.asked)
        answer = await self._open(
            wanted, first or wanted.asked, SEGMENT_BYTES if first else WHOLE_BYTES
        )
        part = wanted.asked.resolve(answer.info.size) if wanted.asked else answer.range
        if answer.range.offset != part.offset or answer.range.length > part.length:
            answer.discard()
            raise BackendUnavailableError(
                f"The upstream of backend {self._upstream.name} answered with another range than asked for."
            )
        if answer.chunks is not None and answer.range.length == part.length:
            yield Stream(answer.info, part, Whole(answer.chunks))
            return
        again = functools.partial(self._again, wanted, answer.info)
        supply = (Resumed if answer.chunks is None else SideBySide)(
            self._upstream, wanted.where, part, again
        )
        async with flowing(answer, supply, part.offset) as flow:
            yield Stream(answer.info, part, flow)

    def _first_segment(self, asked: RangeSpec | None) -> RangeSpec | None:
        """The first of several ranged GETs, if it is certain that the range asked for is large."""
        if self._upstream.settings.read_parallelism == 1 or asked is None:
            return None
        if asked.first is None or asked.last is None:
            return None
        if asked.last - asked.first + 1 < SEGMENTED_BYTES:
            return None
        return RangeSpec(asked.first, asked.first + SEGMENT_BYTES - 1)

    async def _open(self, wanted: Wanted, part: RangeSpec | None, whole_bytes: int) -> Answer:
        """The first request; everything about the object is checked against what is wanted."""
        parameters = wanted.parameters(part, wanted.first_conditions())
        try:
            answer = await self._get(wanted, parameters, whole_bytes)
        except PreconditionFailedError:
            if wanted.version:
                raise wanted.changed() from None
            raise
        except (NoSuchKeyError, InvalidArgumentError, UnsupportedError) as error:
            raise version_error(error, wanted.place) from None
        except InvalidRangeError as error:
            if error.size == 0:
                error.size = (await self._head(wanted)).size
            raise
        except NotModifiedError as error:
            # radosgw 16.2 leaves out what a 304 must repeat.
            if not error.etag:
                info = await self._head(wanted)
                error.etag, error.modified_ns = info.etag, info.modified_ns
            raise
        try:
            wanted.check(answer.info)
        except ApplianceError:
            answer.discard()
            raise
        return answer

    async def _head(self, wanted: Wanted) -> ObjectInfo:
        """What an error has to tell about the object, where the answer did not."""
        head = functools.partial(self._upstream.operation("head_object"), **wanted.place)
        return object_info(wanted.where.key, await self._upstream.call(wanted.where, head))

    async def _get(self, wanted: Wanted, parameters: dict[str, Any], whole_bytes: int) -> Answer:
        get_object = self._upstream.operation("get_object")
        function = functools.partial(get, get_object, wanted.where.key, parameters, whole_bytes)
        answer = await self._upstream.call(wanted.where, function)
        if answer.chunks is not None:
            self._upstream.counts["read_bytes"] += answer.range.length
        return answer

    async def _again(
        self, wanted: Wanted, info: ObjectInfo, part: ByteRange, whole_bytes: int
    ) -> Answer:
        """Another range of the very version that `info` describes."""
        same = Conditions(if_match=(info.etag,)) if info.etag else NO_CONDITIONS
        try:
            answer = await self._get(wanted, wanted.parameters(part, same), whole_bytes)
        except (PreconditionFailedError, NoSuchKeyError, InvalidRangeError):
            raise wanted.changed() from None
        if answer.info.version != info.version or answer.range != part:
            answer.discard()
            raise wanted.changed()
        return answer
