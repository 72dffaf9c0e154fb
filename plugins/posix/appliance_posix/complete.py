"""CompleteMultipartUpload: which parts, whether they are what the client says, and what the object they make is called.

The parts are copied into a staged file (sharing blocks where the filesystem can) and stay as they are until it is published; then, under
the same lock, the upload ends. So a crash leaves the upload, or the object, or for an instant both: never neither. Moving the first part
and appending to it would save one part's copy on filesystems without reflinks, but a crash would leave an upload that nobody can complete.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from appliance.model.checksums import composite, full_object, multipart_etag
from appliance.model.errors import (
    EntityTooSmallError,
    InvalidPartError,
    InvalidPartOrderError,
)
from appliance.model.objects import PART_SIZE_MIN, CompletedPart
from appliance_posix.bucket import Bucket
from appliance_posix.record import Record
from appliance_posix.uploads import Manifest, Part, Upload, permitted


def plan(
    bucket: Bucket, key: str, upload_id: str, wanted: Sequence[CompletedPart]
) -> tuple[Manifest, list[Part]]:
    """The parts to join, checked. Raises InvalidPartError, InvalidPartOrderError, EntityTooSmallError, NoSuchUploadError."""
    with permitted(bucket, upload_id, key) as upload:
        if not wanted:
            raise InvalidPartError("At least one part is needed.", bucket=bucket.name, key=key)
        numbers = [part.number for part in wanted]
        if any(after <= before for before, after in itertools.pairwise(numbers)):
            raise InvalidPartOrderError(bucket=bucket.name, key=key)
        parts = []
        for asked in wanted:
            part = upload.part(asked.number) if 0 < asked.number <= 99999 else None
            if part is None or not _agrees(asked, part):
                raise InvalidPartError(
                    f"Part {asked.number} could not be found, or is not the one described.",
                    bucket=bucket.name,
                    key=key,
                )
            parts.append(part)
        if any(part.size < PART_SIZE_MIN for part in parts[:-1]):
            raise EntityTooSmallError(bucket=bucket.name, key=key)
        return upload.manifest, parts


def _agrees(asked: CompletedPart, part: Part) -> bool:
    return asked.etag.strip('"') == part.etag and all(
        part.checksums.get(algorithm, value) == value
        for algorithm, value in asked.checksums.items()
    )


def record_of(manifest: Manifest, parts: Sequence[Part]) -> Record:
    """The record of the object that the parts make."""
    options = manifest.options
    checksums = {}
    for algorithm in options.checksums:
        values = [(part.checksums.get(algorithm, ""), part.size) for part in parts]
        if not all(value for value, _ in values):
            continue
        if options.checksum_type == "FULL_OBJECT":
            checksums[algorithm] = full_object(algorithm, values)
        else:
            checksums[algorithm] = composite(algorithm, [value for value, _ in values])
    return Record(
        etag=multipart_etag(part.etag for part in parts),
        headers=options.headers,
        metadata=options.metadata,
        tags=options.tags,
        owner=options.owner,
        acl=options.acl,
        checksums=checksums,
        checksum_type=options.checksum_type if checksums else "FULL_OBJECT",
        part_sizes=tuple(part.size for part in parts),
        part_checksums=tuple(part.checksums for part in parts)
        if any(part.checksums for part in parts)
        else (),
    )


def open_part(bucket: Bucket, key: str, upload_id: str, part: Part) -> int:
    """A part's bytes. Raises NoSuchUploadError, or InvalidPartError if the part was replaced since the plan."""
    with Upload(bucket, upload_id, key) as upload:
        try:
            return upload.open_data(part)
        except FileNotFoundError:
            raise InvalidPartError(
                "A part was replaced while the upload was being completed.",
                bucket=bucket.name,
                key=key,
            ) from None


def check_upload(bucket: Bucket, key: str, upload_id: str) -> None:
    """Raise NoSuchUploadError unless the upload is still there; its lock is held."""
    with Upload(bucket, upload_id, key):
        pass
