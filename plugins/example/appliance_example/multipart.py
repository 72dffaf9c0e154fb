"""The rules of multipart uploads. Pure: what a client asks for and what is stored in, a decision out."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.model import checksums
from appliance.model.errors import (
    EntityTooSmallError,
    InvalidArgumentError,
    InvalidPartError,
    InvalidPartOrderError,
)
from appliance.model.objects import (
    PART_NUMBER_MAX,
    PART_SIZE_MIN,
    CompletedPart,
    ObjectInfo,
    PartInfo,
    PutOptions,
)
from appliance_example.store import StoredPart, StoredUpload


def check_options(options: PutOptions) -> None:
    """Raise InvalidArgumentError for a checksum of the whole object that does not follow from those of its parts (SHA-1, SHA-256)."""
    whole = options.checksum_type == "FULL_OBJECT"
    if whole and not checksums.FULL_OBJECT_ALGORITHMS.issuperset(options.checksums):
        raise InvalidArgumentError("SHA checksums of a multipart upload are COMPOSITE.")


def check_part_number(number: int) -> None:
    if not 1 <= number <= PART_NUMBER_MAX:
        raise InvalidArgumentError(f"Part numbers are 1 to {PART_NUMBER_MAX}, not {number}.")


def chosen_parts(upload: StoredUpload, parts: Sequence[CompletedPart]) -> list[StoredPart]:
    """The stored parts that the client names. Raises the error for the first rule it breaks; nothing has changed yet then."""
    numbers = [part.number for part in parts]
    if numbers != sorted(set(numbers)):
        raise InvalidPartOrderError(key=upload.info.key)
    if not parts:
        raise InvalidPartError("An upload is completed from one part or more.", key=upload.info.key)
    chosen = []
    for part in parts:
        stored = upload.parts.get(part.number)
        if (
            stored is None
            or stored.info.etag != part.etag
            or not part.checksums.items() <= stored.info.checksums.items()
        ):
            raise InvalidPartError(key=upload.info.key)
        chosen.append(stored)
    if any(len(part.data) < PART_SIZE_MIN for part in chosen[:-1]):
        raise EntityTooSmallError(key=upload.info.key)
    return chosen


def assembled(upload: StoredUpload, parts: Sequence[PartInfo]) -> ObjectInfo:
    """What the object made of these parts will be: its ETag and checksums follow from those of the parts."""
    options = upload.options
    full = upload.info.checksum_type == "FULL_OBJECT"
    return ObjectInfo(
        key=upload.info.key,
        size=sum(part.size for part in parts),
        etag=checksums.multipart_etag(part.etag for part in parts),
        version="",
        modified_ns=0,
        headers=options.headers,
        metadata=options.metadata,
        checksums={
            name: checksums.full_object(name, ((p.checksums[name], p.size) for p in parts))
            if full
            else checksums.composite(name, (p.checksums[name] for p in parts))
            for name in options.checksums
        },
        checksum_type=upload.info.checksum_type,
        part_sizes=tuple(part.size for part in parts),
        part_checksums=tuple(part.checksums for part in parts) if options.checksums else (),
    )
