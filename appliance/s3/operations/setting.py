"""Setting something on a bucket that exists, and goes on to exist until it is set: what is set on a bucket goes with it."""

from __future__ import annotations

from collections.abc import Mapping

from appliance.s3.operations.call import Call


async def set_on_bucket(call: Call, changes: Mapping[str, bytes | None]) -> None:
    """Durable when this returns; None takes a setting away. Raises NoSuchBucketError, JournalError, StorageFullError."""
    async with call.context.gate.naming(call.bucket):
        await call.cache.head_bucket(call.bucket)
        await call.context.bucket_settings.change(call.bucket, changes)
