"""Settings of buckets (owner, policy, ACL, CORS, tags ...): few, small, read at every request, so all are in memory; the journal has them.

A bucket's settings are a snapshot that is replaced as a whole: two lookups that return the same object saw the same settings, so what is
compiled from one may be kept for as long as it is the current one. Values are bytes; what they mean is for those who set them. They change
here when the journal reports the event durable, also if whoever asked for the change has gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import msgspec

from appliance.journal.details import decode
from appliance.journal.journal import Journal
from appliance.model.events import Change, Event, Kind

T = TypeVar("T")


class Settings:
    """The settings of one bucket at one moment: by name, and as parsed by those who read them."""

    __slots__ = ("_parsed", "values")

    def __init__(self, values: Mapping[str, bytes] | None = None) -> None:
        self.values: Mapping[str, bytes] = values or {}
        self._parsed: dict[str, Any] = {}

    def get(self, name: str) -> bytes | None:
        return self.values.get(name)

    def parsed(self, name: str, parse: Callable[[bytes], T]) -> T | None:
        """`parse(value)`, once as long as the settings stay; None where it is not set. One name has one parser."""
        if name not in self._parsed:
            value = self.values.get(name)
            self._parsed[name] = None if value is None else parse(value)
        return cast("T | None", self._parsed[name])


NO_SETTINGS = Settings()


class JournalBucketSettings:
    """Settings of all buckets, kept in the journal. Reads answer from memory."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._buckets: dict[str, Settings] = {}
        found: dict[str, dict[str, bytes]] = {}
        for bucket, name, value in journal.bucket_settings():
            found.setdefault(bucket, {})[name] = value
        for bucket, values in found.items():
            self._buckets[bucket] = Settings(values)
        journal.subscribe(self._event)

    def of(self, bucket: str) -> Settings:
        """Of a bucket without settings, and of one that does not exist: none."""
        return self._buckets.get(bucket, NO_SETTINGS)

    async def change(self, bucket: str, changes: Mapping[str, bytes | None]) -> None:
        """Set these and (None) delete those, all or nothing: durable, and seen by `of`, when this returns. Raises as `Journal.append`."""
        await self._journal.append(
            *[
                Change(
                    kind=Kind.BUCKET,
                    bucket=bucket,
                    key=name,
                    detail={} if value is None else {"value": value},
                )
                for name, value in changes.items()
            ]
        )

    async def drop(self, bucket: str) -> None:
        """Forget all settings of a bucket that is gone."""
        if bucket in self._buckets:
            await self._journal.append(Change(kind=Kind.BUCKET, bucket=bucket, key=""))

    def statistics(self) -> dict[str, float]:
        return {
            "buckets": len(self._buckets),
            "settings": sum(len(found.values) for found in self._buckets.values()),
        }

    def _event(self, event: Event) -> None:
        if event.kind is not Kind.BUCKET:
            return
        value = decode(event).value
        values = dict(self.of(event.bucket).values)
        if value is not msgspec.UNSET:
            values[event.key] = value
        elif event.key:
            values.pop(event.key, None)
        else:
            values = {}
        if values:
            self._buckets[event.bucket] = Settings(values)
        else:
            self._buckets.pop(event.bucket, None)
