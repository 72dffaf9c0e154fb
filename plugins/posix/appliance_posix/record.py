"""What is kept beside an object's bytes: one packed record, and how it is recognised as still being about these bytes. Pure.

A record holds a fingerprint of the file it was written for. A file whose size, mtime, ctime or inode differ was changed by hand since:
its ETag, checksums and parts are no longer true and are dropped, and the ETag is made from what `stat` says; its headers, metadata and
tags stay. Files without a record are treated the same.
"""

from __future__ import annotations

import hashlib
import mimetypes
import os
from typing import Any

import msgspec

from appliance.model.objects import NULL_VERSION, ObjectInfo

FORMAT = b"\x01"
# Setting the xattr and giving the file its name touch ctime once more after the fingerprint was taken; this much later it may be.
CTIME_WINDOW_NS = 100_000_000
# The same where clocks of several hosts stamp files.
CTIME_WINDOW_SHARED_NS = 2_000_000_000


# In the fingerprint of a file that is about to get other names: that moves ctime, nobody knows when.
ANY_CTIME = -1


class Fingerprint(msgspec.Struct, frozen=True, array_like=True):
    """Which state of which file a record is about. `before_ns`: the exact ctime until the record was replaced, for a sidecar cannot be
    replaced in the same step in which its file's ctime moves.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    before_ns: int = 0

    @classmethod
    def of(cls, stat: os.stat_result) -> Fingerprint:
        return cls(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)

    def matches(self, stat: os.stat_result, window_ns: int) -> bool:
        return (
            self.inode == stat.st_ino
            and self.size == stat.st_size
            and self.mtime_ns == stat.st_mtime_ns
            and (
                self.ctime_ns == ANY_CTIME
                or abs(stat.st_ctime_ns - self.ctime_ns) <= window_ns
                or stat.st_ctime_ns == self.before_ns
            )
        )

    def matches_bytes(self, stat: os.stat_result) -> bool:
        """The same for a file that has only been renamed, linked or copied (`cp -a`) since."""
        return self.size == stat.st_size and self.mtime_ns == stat.st_mtime_ns


NO_FINGERPRINT = Fingerprint(-1, 0, 0, 0)


class Record(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    rename={
        "etag": "e",
        "fingerprint": "f",
        "headers": "h",
        "metadata": "m",
        "tags": "t",
        "checksums": "c",
        "checksum_type": "k",
        "part_sizes": "p",
        "part_checksums": "q",
        "spilled": "s",
        "key": "n",
        "owner": "o",
        "acl": "a",
        "version_id": "v",
        "order": "w",
    },
):
    """Everything about an object but its bytes. `spilled`: token of the sidecar file that has the rest. `key`: in sidecars.

    `version_id` and `order` (`versions`) are "" and 0 for what was written while its bucket had no versions.
    """

    etag: str
    fingerprint: Fingerprint = NO_FINGERPRINT
    headers: dict[str, str] = {}
    metadata: dict[str, str] = {}
    tags: dict[str, str] = {}
    checksums: dict[str, str] = {}
    checksum_type: str = "FULL_OBJECT"
    part_sizes: tuple[int, ...] = ()
    part_checksums: tuple[dict[str, str], ...] = ()
    spilled: str = ""
    key: bytes = b""
    owner: str = ""
    acl: bytes = b""
    version_id: str = ""
    order: int = 0


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Record)


def pack(record: Record) -> bytes:
    """The record as it is stored."""
    return FORMAT + _encoder.encode(_without_surrogates(record))


def unpack(raw: bytes) -> Record | None:
    """Inverse of `pack`; None if these bytes are no record (of a format known here)."""
    if raw[:1] != FORMAT:
        return None
    try:
        return _decoder.decode(raw[1:])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def changed(record: Record, **changes: Any) -> Record:
    """A copy with some fields replaced."""
    return msgspec.structs.replace(record, **changes)


def version_of(stat: os.stat_result) -> str:
    """The token of exactly this state of a file: any change of bytes, attributes or identity yields another."""
    return f"{stat.st_ino:x}-{stat.st_size:x}-{stat.st_mtime_ns:x}-{stat.st_ctime_ns:x}"


def synthetic_etag(stat: os.stat_result) -> str:
    """An ETag for bytes that nobody hashed: new whenever the file changes, and with a dash, so that no client takes it for an MD5."""
    digest = hashlib.md5(version_of(stat).encode(), usedforsecurity=False)
    return digest.hexdigest() + "-0"


def info_of(
    key: str,
    stat: os.stat_result,
    record: Record | None,
    window_ns: int = CTIME_WINDOW_NS,
    *,
    version_id: str = "",
    archived: bool = False,
) -> ObjectInfo:
    """What is known about a file that holds object `key`. `archived`: an old version of it, which has been linked and renamed since."""
    if record is None:
        return ObjectInfo(
            key=key,
            size=stat.st_size,
            etag=synthetic_etag(stat),
            version=version_of(stat),
            modified_ns=stat.st_mtime_ns,
            headers=guessed_headers(key),
            version_id=version_id,
        )
    fingerprint = record.fingerprint
    true = fingerprint.matches_bytes(stat) if archived else fingerprint.matches(stat, window_ns)
    return ObjectInfo(
        key=key,
        size=stat.st_size,
        etag=record.etag if true else synthetic_etag(stat),
        version=version_of(stat),
        modified_ns=stat.st_mtime_ns,
        headers=record.headers,
        metadata=record.metadata,
        checksums=record.checksums if true else {},
        checksum_type=record.checksum_type if true else "FULL_OBJECT",
        part_sizes=record.part_sizes if true else (),
        part_checksums=record.part_checksums if true else (),
        tag_count=len(record.tags),
        version_id=version_id,
        owner=record.owner,
        acl=record.acl,
    )


def version_id_of(stat: os.stat_result, record: Record | None) -> str:
    """The version id of a current file, in a bucket that has, or had, versions.

    A file keeps its id while it is the same file, or the same bytes (restored from a backup); what else lies there is the null version.
    """
    if record is None or not record.version_id:
        return NULL_VERSION
    fingerprint = record.fingerprint
    same = fingerprint.inode == stat.st_ino or fingerprint.matches_bytes(stat)
    return record.version_id if same else NULL_VERSION


def guessed_headers(key: str) -> dict[str, str]:
    """Headers of a file that nobody described: a content type by its extension, if it has a known one."""
    kind, encoding = mimetypes.guess_type(key.rpartition("/")[2], strict=True)
    if (
        encoding is not None
    ):  # x.tar.gz is stored compressed; say what the bytes are, not what is inside
        return {"content-type": f"application/{encoding}"} if encoding == "gzip" else {}
    return {"content-type": kind} if kind else {}


def _without_surrogates(record: Record) -> Record:
    """Header values come from the wire as text; a lone surrogate in one cannot be packed, so it is replaced."""

    def clean(values: dict[str, str]) -> dict[str, str]:
        return {name: value.encode("utf-8", "replace").decode() for name, value in values.items()}

    if all(_is_utf8(v) for v in (*record.headers.values(), *record.metadata.values())):
        return record
    return changed(record, headers=clean(record.headers), metadata=clean(record.metadata))


def _is_utf8(value: str) -> bool:
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
