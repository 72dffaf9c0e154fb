"""Which of S3's abilities this upstream has: probed when the first of them is needed, which is in a write, and then known for good.

Buckets with versions are another thing: radosgw 16.2 ignores the conditions of writes there. So before the first conditional write into a
bucket it is asked whether it has versions, and in the first that has, the probe is made once more.

Starting the appliance and reading through it write nothing upstream. Until the probe (probe.py), `capabilities` are what S3 documents.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import trio

from appliance.model.errors import UnsupportedError
from appliance.model.objects import Conditions
from appliance.plugin import Capabilities
from appliance_s3.failures import Where
from appliance_s3.probe import Features, probe
from appliance_s3.requests import write_conditions
from appliance_s3.sending import Sender

# AWS keeps these for every object, and so does an upstream that keeps one of them.
KEPT_CHECKSUMS = frozenset({"crc32", "crc32c", "crc64nvme", "sha1", "sha256"})


# Buckets of which it is remembered whether they have versions.
_REMEMBERED_MAX = 10_000


class Abilities:
    """What is known of one upstream. `root`: the configured prefix; `changed` is told new capabilities."""

    def __init__(
        self, sender: Sender, root: str, registers: bool, changed: Callable[[Capabilities], None]
    ) -> None:
        self._sender = sender
        self._root = root
        self._registers = registers
        self._changed = changed
        self._probing = trio.Lock()
        self.features: Features | None = None
        self._with_versions: Features | None = None
        self._versioned: dict[str, bool] = {}
        changed(self._capabilities(Features.documented()))

    def _capabilities(self, found: Features) -> Capabilities:
        return Capabilities(
            conditional_put=found.conditional_put,
            conditional_delete=found.conditional_delete,
            server_side_copy=True,
            tagging=found.tagging,
            forwarding=True,
            versioning=True,
            compare_and_swap=found.conditional_put and self._registers,
            # Those of clients are kept, with exceptions (writing.py, uploads.py); none is computed here: no promise.
            checksums=frozenset(),
        )

    async def known(self, bucket: str) -> Features:
        """What the upstream can do, found out in `bucket` if need be. Not remembered where that bucket may not be written."""
        async with self._probing:
            if self.features is not None:
                return self.features
            host = self._sender.upstream.host
            found = await probe(self._sender, bucket, self._root, host.token_bytes(8).hex())
            if not found.writable:
                return found
            self.features = found
            self._changed(self._capabilities(found))
            if found.missing():
                name = self._sender.upstream.name
                host.logger.info(
                    "backend %s: the upstream lacks %s", name, ", ".join(found.missing())
                )
            return found

    def noted(self, bucket: str, *, versioned: bool) -> None:
        """The bucket has versions, or has not."""
        if len(self._versioned) >= _REMEMBERED_MAX:
            self._versioned.clear()
        self._versioned[bucket] = versioned

    async def _known_here(self, bucket: str) -> Features:
        """What the upstream can do in this bucket."""
        found = await self.known(bucket)
        if not found.writable or not await self._has_versions(bucket):
            return found
        async with self._probing:
            if self._with_versions is None:
                nonce = self._sender.upstream.host.token_bytes(8).hex()
                found = await probe(self._sender, bucket, self._root, nonce)
                if not found.writable:
                    return found
                self._with_versions = found
            return self._with_versions

    async def _has_versions(self, bucket: str) -> bool:
        if bucket not in self._versioned:
            where = Where(self._sender.upstream.name, "asking for versioning", bucket)
            answer: dict[str, Any] = {}
            with contextlib.suppress(UnsupportedError):
                answer = await self._sender.call(where, "get_bucket_versioning", {"Bucket": bucket})
            self.noted(bucket, versioned=bool(answer.get("Status")))
        return self._versioned[bucket]

    async def checksums(self, bucket: str) -> frozenset[str]:
        """Algorithms whose values the upstream keeps for an object."""
        return KEPT_CHECKSUMS if (await self.known(bucket)).checksums else frozenset()

    async def conditions(
        self, conditions: Conditions, feature: str, bucket: str, what: str
    ) -> dict[str, str]:
        """Headers of a conditional write, which is `what`. Raises UnsupportedError unless the upstream honours them."""
        if not write_conditions(conditions):
            return {}
        found = await self._known_here(bucket)
        name = self._sender.upstream.name
        if not found.writable:
            raise UnsupportedError(
                f"The upstream of backend {name} refuses writes into this bucket, so no condition of {what} can be honoured.",
                bucket=bucket,
            )
        if not getattr(found, feature):
            raise UnsupportedError(
                f"The upstream of backend {name} does not honour conditions of {what}, so the request was not made.",
                bucket=bucket,
            )
        return write_conditions(conditions, quoted=found.quoted_etags)
