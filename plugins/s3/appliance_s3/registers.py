"""Registers: small objects `.appliance/s3/registers/<name>`, changed by conditional PUT.

A register's value is compared by content and swapped by ETag, and equal ETags are equal contents here (values are up to 64 KiB and uploaded
in one piece), so the swap is a compare-and-swap of values. Nothing is repeated whose outcome is unknown: the caller reads again.
"""

from __future__ import annotations

import hashlib
from typing import Any

from appliance.model.errors import (
    BackendUnavailableError,
    ConflictError,
    InvalidArgumentError,
    NoSuchKeyError,
    PreconditionFailedError,
    RegisterConflictError,
)
from appliance.model.objects import Conditions
from appliance_s3.answers import unquote_etag
from appliance_s3.failures import Where
from appliance_s3.names import RESERVED
from appliance_s3.requests import add_headers, content_md5, write_conditions
from appliance_s3.sending import Sender

VALUE_BYTES_MAX = 64 << 10


class Registers:
    """The registers in `bucket`, below `root`."""

    def __init__(self, sender: Sender, bucket: str, root: str) -> None:
        self._sender = sender
        self.bucket = bucket
        self._root = root

    def _place(self, name: str) -> dict[str, Any]:
        return {"Bucket": self.bucket, "Key": f"{self._root}{RESERVED}registers/{name}"}

    def _where(self, action: str, name: str) -> Where:
        return Where(self._sender.upstream.name, f"{action} register {name}")

    async def read(self, name: str) -> bytes | None:
        return (await self._read(name))[0]

    async def _read(self, name: str) -> tuple[bytes | None, str]:
        """Value and ETag."""
        place = self._place(name)
        client = self._sender.upstream.client

        def get() -> tuple[bytes | None, str]:
            answer = client.get_object(**place)
            return answer["Body"].read(), unquote_etag(answer["ETag"])

        try:
            return await self._sender.upstream.call(self._where("reading", name), get)
        except NoSuchKeyError:
            return None, ""

    async def compare_and_swap(
        self, name: str, expected: bytes | None, new: bytes, *, quoted: bool
    ) -> None:
        if len(new) > VALUE_BYTES_MAX:
            raise InvalidArgumentError(f"A register holds at most {VALUE_BYTES_MAX:,} bytes.")
        actual, etag = await self._read(name)
        if actual != expected:
            raise RegisterConflictError(actual=actual)
        condition = Conditions(if_none_match=("*",))
        if actual is not None:
            condition = Conditions(if_match=(etag,))
        md5 = hashlib.md5(new, usedforsecurity=False).hexdigest()
        parameters = {**self._place(name), "Body": new, "ContentMD5": content_md5(md5)}
        add_headers(parameters, write_conditions(condition, quoted=quoted))
        try:
            await self._sender.call(
                self._where("writing", name), "put_object", parameters, idempotent=False
            )
        except (PreconditionFailedError, ConflictError, NoSuchKeyError):
            raise RegisterConflictError(actual=await self.read(name)) from None
        except BackendUnavailableError:
            # radosgw 16.2 answers 500 to some who lose a race. A third value says that others have moved on, whatever became of ours.
            found = await self.read(name)
            if found in (expected, new):
                raise
            raise RegisterConflictError(actual=found) from None
