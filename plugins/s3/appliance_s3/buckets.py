"""Buckets: the one of the configuration, or all of the account; and what a bare 404 means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import trio

from appliance.model.errors import (
    AccessDeniedError,
    ApplianceError,
    BucketExistsError,
    NoSuchBucketError,
    NoSuchKeyError,
)
from appliance.model.names import check_new_bucket_name
from appliance.model.objects import BucketInfo
from appliance_s3.answers import time_ns
from appliance_s3.failures import Where
from appliance_s3.sending import Sender
from appliance_s3.settings import Settings

# How long a bucket that was seen is believed to be there when HEAD says only "404", in seconds.
BUCKET_SEEN_S = 30.0


class Buckets:
    """Buckets of one upstream, those that the configuration leaves out excepted."""

    def __init__(self, sender: Sender, settings: Settings) -> None:
        self._sender = sender
        self._name = sender.upstream.name
        self._settings = settings
        self._seen: dict[str, float] = {}
        self._creating = trio.Lock()

    def _now_s(self) -> float:
        return self._sender.upstream.host.boot_s()

    def seen(self, bucket: str) -> None:
        """An answer said that it is there."""
        self._seen[bucket] = self._now_s()

    async def must_exist(self, bucket: str) -> None:
        where = Where(self._name, "looking for the bucket", bucket)
        try:
            await self._sender.call(where, "head_bucket", {"Bucket": bucket})
        except NoSuchKeyError:  # HEAD's answer is a bare 404
            self._seen.pop(bucket, None)
            raise NoSuchBucketError(bucket=bucket) from None
        self.seen(bucket)

    async def missing_key(self, error: NoSuchKeyError) -> ApplianceError:
        """What a bare 404 means: no such key, or not even such a bucket."""
        seen_s = self._seen.get(error.bucket)
        if seen_s is None or self._now_s() - seen_s > BUCKET_SEEN_S:
            try:
                await self.must_exist(error.bucket)
            except ApplianceError as missing:
                return missing
        return error

    async def list_all(self) -> Sequence[BucketInfo]:
        """Of the account, by name."""
        where = Where(self._name, "listing the buckets")
        answer = await self._sender.call(where, "list_buckets", {})
        found = [
            BucketInfo(name=item["Name"], created_ns=time_ns(item.get("CreationDate")))
            for item in answer.get("Buckets", ())
        ]
        return sorted(found, key=lambda info: info.name)

    async def create(self, bucket: str) -> None:
        only = self._settings.bucket
        if only and bucket == only:
            raise BucketExistsError(bucket=bucket)
        if only:
            raise AccessDeniedError(
                f"The backend {self._name} serves the bucket {only} only.", bucket=bucket
            )
        check_new_bucket_name(bucket)
        where = Where(self._name, "creating a bucket", bucket)
        parameters: dict[str, Any] = {"Bucket": bucket}
        if self._settings.endpoint_url is None and self._settings.region != "us-east-1":
            region = {"LocationConstraint": self._settings.region}
            parameters["CreateBucketConfiguration"] = region
        # Several services, AWS in us-east-1 among them, answer 200 for one's own bucket that exists: look first, one at a time.
        async with self._creating:
            try:
                await self.must_exist(bucket)
            except NoSuchBucketError:
                await self._sender.call(where, "create_bucket", parameters, idempotent=False)
                return
        raise BucketExistsError(bucket=bucket)

    async def delete(self, bucket: str) -> None:
        if self._settings.bucket:
            raise AccessDeniedError(
                f"The backend {self._name} serves this one bucket; it is not deleted.",
                bucket=bucket,
            )
        where = Where(self._name, "deleting a bucket", bucket)
        await self._sender.call(where, "delete_bucket", {"Bucket": bucket}, idempotent=False)
        self._seen.pop(bucket, None)
