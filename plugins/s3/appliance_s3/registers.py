"""Registers: small objects `.appliance/s3/registers/<name>`, changed by conditional PUT.

A register's value is compared by content and swapped by ETag, and equal ETags are equal contents here (values are up to 64 KiB and uploaded
in one piece), so the swap is a compare-and-swap of values.

What if the outcome of a PUT is unknown: its answer was lost, or is a 5xx (radosgw 16.2 has one for some who lose a race)? Every swap has an
id, and the register's metadata name the last `IDS_MAX` swaps, newest first. Reading it again tells:

    our id is there                    the swap was made, whoever has changed the register since
    it is the register as before       not made so far: the same PUT again cannot do harm, as only one of the two finds its condition true
    ids go on from before, without us  others came first, so the swap was not made and will not be: a conflict
    none of these                      unknown, and reported as that: BackendUnavailableError
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import trio

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
from appliance_s3.upstream import backoff_s

VALUE_BYTES_MAX = 64 << 10
# S3 takes 2 KB of metadata; an id has 16 characters.
IDS_MAX = 64
_IDS = "swaps"


class State(msgspec.Struct, frozen=True):
    """A register as it was read: `value` None if it is not set; `ids` of the swaps that led to it, newest first."""

    value: bytes | None = None
    etag: str = ""
    ids: tuple[str, ...] = ()

    def goes_on_from(self, before: State) -> bool:
        """Whether `ids` tell all that happened since `before`."""
        if not before.ids:
            # A register is never removed by us, so the first of all swaps is there, or so many came that it is forgotten.
            return before.value is None and 0 < len(self.ids) < IDS_MAX
        return before.ids[0] in self.ids


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
        return (await self._read(name)).value

    async def _read(self, name: str) -> State:
        place = self._place(name)
        client = self._sender.upstream.client

        def get() -> State:
            answer = client.get_object(**place)
            ids = answer.get("Metadata", {}).get(_IDS, "")
            return State(
                value=answer["Body"].read(),
                etag=unquote_etag(answer["ETag"]),
                ids=tuple(ids.split(",")) if ids else (),
            )

        try:
            return await self._sender.upstream.call(self._where("reading", name), get)
        except NoSuchKeyError:
            return State()

    async def compare_and_swap(
        self, name: str, expected: bytes | None, new: bytes, *, quoted: bool
    ) -> None:
        """Raises RegisterConflictError; BackendUnavailableError if it cannot be told whether the swap was made."""
        if len(new) > VALUE_BYTES_MAX:
            raise InvalidArgumentError(f"A register holds at most {VALUE_BYTES_MAX:,} bytes.")
        before = await self._read(name)
        if before.value != expected:
            raise RegisterConflictError(actual=before.value)
        upstream = self._sender.upstream
        swap = upstream.host.token_bytes(8).hex()
        parameters = self._swap(name, before, new, swap, quoted=quoted)
        for attempt in range(1, upstream.settings.max_attempts + 1):
            if await self._put(name, parameters, first=attempt == 1):
                return
            now = await self._settled(name, before, swap)
            if now is None:
                return
            if now != before:
                raise RegisterConflictError(actual=now.value)
            await trio.sleep(backoff_s(attempt, upstream.host.random()))
        raise self._unknown(name)

    def _swap(
        self, name: str, before: State, new: bytes, swap: str, *, quoted: bool
    ) -> dict[str, Any]:
        """Parameters of the PUT."""
        condition = Conditions(if_none_match=("*",))
        if before.value is not None:
            condition = Conditions(if_match=(before.etag,))
        md5 = hashlib.md5(new, usedforsecurity=False).hexdigest()
        parameters = {
            **self._place(name),
            "Body": new,
            "ContentMD5": content_md5(md5),
            "Metadata": {_IDS: ",".join((swap, *before.ids)[:IDS_MAX])},
        }
        add_headers(parameters, write_conditions(condition, quoted=quoted))
        return parameters

    async def _put(self, name: str, parameters: dict[str, Any], *, first: bool) -> bool:
        """Whether the PUT is known to have been done. Raises RegisterConflictError if it is known that it never will be."""
        where = self._where("writing", name)
        try:
            await self._sender.call(where, "put_object", parameters, idempotent=False)
        except (PreconditionFailedError, ConflictError, NoSuchKeyError):
            if first:
                raise RegisterConflictError(actual=await self.read(name)) from None
            return False
        except BackendUnavailableError:
            return False
        return True

    async def _settled(self, name: str, before: State, swap: str) -> State | None:
        """None if the swap was made, else the register without it. Raises BackendUnavailableError if neither is certain."""
        try:
            now = await self._read(name)
        except BackendUnavailableError:
            raise self._unknown(name) from None
        if swap in now.ids:
            return None
        if now == before or now.goes_on_from(before):
            return now
        raise self._unknown(name)

    def _unknown(self, name: str) -> BackendUnavailableError:
        return BackendUnavailableError(
            f"The backend {self._sender.upstream.name} does not know whether register {name} was changed: unknown outcome. Read it again."
        )
