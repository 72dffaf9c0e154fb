"""What the memory backend keeps: plain values in dictionaries. Several backends may share one `Store`, as nodes share a real storage."""

from __future__ import annotations

import msgspec

from appliance.model.objects import BucketInfo, ObjectInfo, PartInfo, PutOptions, UploadInfo


class StoredObject(msgspec.Struct, frozen=True):
    """One version: never changed, only replaced, so a reader keeps what it has."""

    info: ObjectInfo
    data: bytes
    tags: dict[str, str]


class StoredPart(msgspec.Struct, frozen=True):
    """A part of an upload."""

    info: PartInfo
    data: bytes


class StoredUpload(msgspec.Struct):
    """A multipart upload in progress."""

    info: UploadInfo
    options: PutOptions
    parts: dict[int, StoredPart] = {}


class StoredBucket(msgspec.Struct):
    """A bucket: objects by key, uploads by id."""

    info: BucketInfo
    objects: dict[str, StoredObject] = {}
    uploads: dict[str, StoredUpload] = {}

    def used_bytes(self) -> int:
        """Bytes of objects and parts. Counted anew each time: this store is for small things."""
        parts = (part for upload in self.uploads.values() for part in upload.parts.values())
        return sum(len(item.data) for items in (self.objects.values(), parts) for item in items)


class Store(msgspec.Struct):
    """Everything there is."""

    buckets: dict[str, StoredBucket] = {}
    registers: dict[str, bytes] = {}
    changes: int = 0  # counts versions and uploads: no two ever get the same number
