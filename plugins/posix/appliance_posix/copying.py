"""What a copy keeps of its source."""

from __future__ import annotations

from appliance.model.objects import PutOptions
from appliance_posix.objects import Found
from appliance_posix.record import NO_FINGERPRINT, Record, changed


def copied_record(source: Found, options: PutOptions | None) -> tuple[Record, tuple[str, ...]]:
    """The record of the copy, and the checksum algorithms that have to be computed for it.

    The bytes are the same, so what is known about them stays: the ETag (for a file that nobody hashed, the synthetic one of the moment),
    checksums, parts. `options` replace what the writer says.
    """
    info = source.info
    tags = source.record.tags if source.record else {}
    record = Record(
        etag=info.etag,
        fingerprint=NO_FINGERPRINT,
        headers=info.headers,
        metadata=info.metadata,
        tags=tags,
        checksums=info.checksums,
        checksum_type=info.checksum_type,
        part_sizes=info.part_sizes,
        part_checksums=info.part_checksums,
    )
    if options is None:
        return record, ()
    record = changed(record, headers=options.headers, metadata=options.metadata, tags=options.tags)
    known = set(info.checksums) if info.checksum_type == "FULL_OBJECT" else set()
    if known.issuperset(options.checksums):
        return record, ()
    return changed(
        record, checksum_type="FULL_OBJECT", part_sizes=(), part_checksums=()
    ), options.checksums
