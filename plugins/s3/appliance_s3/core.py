"""What all operations of the backend stand on: its parts, its life, and looking at an object."""

from __future__ import annotations

import contextlib
from contextlib import AbstractAsyncContextManager
from typing import Any

from appliance.model.errors import (
    ApplianceError,
    ConfigError,
    InvalidArgumentError,
    NoSuchBucketError,
    NoSuchKeyError,
    NoSuchVersionError,
    PreconditionFailedError,
    UnsupportedError,
    VersionChangedError,
)
from appliance.model.objects import (
    Conditions,
    ObjectInfo,
)
from appliance.plugin import (
    Backend,
    Capabilities,
    ForwardAnswer,
    ForwardRequest,
    Host,
)
from appliance_s3.abilities import Abilities
from appliance_s3.answers import Made, object_info
from appliance_s3.buckets import Buckets
from appliance_s3.copying import Copier
from appliance_s3.failures import Where
from appliance_s3.forwarding import Forwarder
from appliance_s3.names import Names
from appliance_s3.reading import Reader
from appliance_s3.registers import Registers
from appliance_s3.sending import Sender
from appliance_s3.settings import Settings
from appliance_s3.tags import Tags
from appliance_s3.uploads import Uploads
from appliance_s3.upstream import Upstream
from appliance_s3.versions import Versions, version_error, with_version
from appliance_s3.writing import Writer


class S3Core(Backend):
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
        self._uploads = Uploads(sender, self._abilities)
        self._writer = Writer(sender, self._abilities)
        self._copier = Copier(sender)
        self._forwarder = Forwarder(sender, self._names)
        self._tags = Tags(sender, self._abilities)
        self._versions = Versions(sender)

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

    # --- looking ---------------------------------------------------------------------------------------------------

    async def _head(self, where: Where, place: dict[str, str]) -> ObjectInfo:
        parameters: dict[str, Any] = dict(place)
        if self.settings.checksums == "when_supported":
            parameters["ChecksumMode"] = "ENABLED"
        try:
            answer = await self._sender.call(where, "head_object", parameters)
        except (NoSuchKeyError, InvalidArgumentError, UnsupportedError) as error:
            known = version_error(error, place)
            if isinstance(known, NoSuchKeyError):
                known = await self._buckets.missing_key(known)
            raise known from None
        self._buckets.seen(place["Bucket"])
        return object_info(where.key, answer)

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

    async def _published(self, where: Where, place: dict[str, str], made: Made) -> ObjectInfo:
        """What was just written: only HEAD tells its time, and with it its version.

        If somebody else has overwritten or deleted it meanwhile, it gets a version that no object will ever have.
        """
        etag, version_id = made
        info = None
        # moto tells version ids that it does not know afterwards, in buckets without versions.
        for asked in dict.fromkeys((version_id, "")):
            # InvalidArgumentError: an upload that was begun with a client's own key, without which nobody is told anything.
            with contextlib.suppress(NoSuchKeyError, NoSuchVersionError, InvalidArgumentError):
                info = await self._head(where, with_version(place, asked))
                break
        if info is not None and (not etag or info.etag == etag):
            return info
        size = 0 if info is None else info.size
        return ObjectInfo(
            key=where.key,
            size=size,
            etag=etag,
            version=f"{etag}/overwritten",
            modified_ns=self._host.now_ns(),
            version_id=version_id,
        )

    async def _version(self, where: Where, place: dict[str, str], version: str) -> ObjectInfo:
        """What is there now. Raises VersionChangedError if that is not `version`."""
        info = await self._head(where, place)
        if version and info.version != version:
            raise VersionChangedError(bucket=where.bucket, key=where.key)
        return info
