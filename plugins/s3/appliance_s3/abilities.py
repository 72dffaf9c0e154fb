"""Which of S3's abilities this upstream has: probed when the first of them is needed, which is in a write, and then known for good.

Starting the appliance and reading through it write nothing upstream. Until the probe (probe.py), `capabilities` are what S3 documents.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from appliance.model.errors import UnsupportedError
from appliance.model.objects import Conditions
from appliance.plugin import Capabilities
from appliance_s3.probe import Features, probe
from appliance_s3.requests import write_conditions
from appliance_s3.sending import Sender

# AWS keeps these for every object, and so does an upstream that keeps one of them.
KEPT_CHECKSUMS = frozenset({"crc32", "crc32c", "crc64nvme", "sha1", "sha256"})


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
            # Objects put in one piece keep theirs; streamed ones, and uploads, could not.
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

    async def checksums(self, bucket: str) -> frozenset[str]:
        """Algorithms whose values the upstream keeps for an object that was sent in one piece."""
        return KEPT_CHECKSUMS if (await self.known(bucket)).checksums else frozenset()

    async def conditions(
        self, conditions: Conditions, feature: str, bucket: str, what: str
    ) -> dict[str, str]:
        """Headers of a conditional write, which is `what`. Raises UnsupportedError unless the upstream honours them."""
        if not write_conditions(conditions):
            return {}
        found = await self.known(bucket)
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
