"""Where the endpoint looks up, and keeps, what accounts have set on buckets; for good in `appliance.journal.bucket_settings`.

Names of settings, each with the one module that reads and writes its value:

| name              | value                                         | in                                    |
|-------------------|-----------------------------------------------|---------------------------------------|
| owner             | canonical id of the account, ASCII            | `policy.access`                       |
| acl               | as `policy.access.acl` encodes it             | `policy.access`                       |
| policy            | the JSON document as it was put               | `policy.access`                       |
| ownership         | the one rule of the ownership controls, ASCII | `policy.access`                       |
| public-access     | as `policy.access` encodes it                 | `policy.access`                       |
| cors, tagging ... | the XML document as it was put                | the operation's module                |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from appliance.journal.bucket_settings import NO_SETTINGS, Settings


class BucketSettings(Protocol):
    """Settings of all buckets: read in microseconds, changed durably."""

    def of(self, bucket: str) -> Settings:
        """The current snapshot; the same object until something changes. No settings where there are none, or no bucket."""
        ...

    async def change(self, bucket: str, changes: Mapping[str, bytes | None]) -> None:
        """Set these and (None) delete those, all or nothing; durable when this returns. Raises JournalError, StorageFullError."""
        ...

    async def drop(self, bucket: str) -> None:
        """Forget all settings of a bucket that is gone."""
        ...


class MemoryBucketSettings:
    """The trivial one: forgets with the process."""

    def __init__(self) -> None:
        self._buckets: dict[str, Settings] = {}

    def of(self, bucket: str) -> Settings:
        return self._buckets.get(bucket, NO_SETTINGS)

    async def change(self, bucket: str, changes: Mapping[str, bytes | None]) -> None:
        merged = {**self.of(bucket).values, **changes}
        self._buckets[bucket] = Settings({k: v for k, v in merged.items() if v is not None})

    async def drop(self, bucket: str) -> None:
        self._buckets.pop(bucket, None)
