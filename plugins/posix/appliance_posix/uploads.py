"""Multipart uploads on disk, so that any process on the same storage can go on with any of them.

    <bucket>/.appliance/uploads/<id>/manifest      key, options
    <bucket>/.appliance/uploads/<id>/00007         what is known about part 7, and which file has its bytes
    <bucket>/.appliance/uploads/<id>/data.<token>  the bytes of a part

Manifests and part files appear by rename, whole or not at all, after the bytes they speak of are on disk; data files are never changed.
An upload ends (completed, aborted, reaped) by renaming its directory to `gone.<id>`: one step, after which nobody finds it.
An id is the time of initiation in ns and 128 random bits, in hex: ordered by time, and unguessable.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from typing import TypeVar

import msgspec

from appliance.model.errors import NoSuchUploadError
from appliance.model.names import key_bytes, key_text
from appliance.model.objects import PartInfo, PartPage, PutOptions, UploadInfo
from appliance.plugin import Digests
from appliance_posix.beneath import DIRECTORY, PRIVATE_MODE
from appliance_posix.bucket import Bucket
from appliance_posix.buckets import discard_tree
from appliance_posix.metadata import write_file
from appliance_posix.permission import check_change
from appliance_posix.private import open_file
from appliance_posix.staging import Staged

_T = TypeVar("_T")
UPLOADS = b"uploads"
GONE = b"gone."
_MANIFEST = b"manifest"
_ID = re.compile(r"[0-9a-f]{48}\Z")
_PART_NAME = re.compile(r"\d{5}\Z")
_DATA = re.compile(rb"data\.[0-9a-f]{32}\Z")
_FILE_MAX = 1 << 20


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What was said when the upload began. `key` as its bytes."""

    key: bytes
    options: PutOptions
    initiated_ns: int


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part: what is known, and the name of its data file in the upload's directory."""

    size: int
    etag: str
    modified_ns: int
    data: bytes
    checksums: dict[str, str] = {}

    def info(self, number: int) -> PartInfo:
        return PartInfo(
            number=number,
            size=self.size,
            etag=self.etag,
            modified_ns=self.modified_ns,
            checksums=self.checksums,
        )


class Upload:
    """An upload's directory, open. A context manager."""

    def __init__(self, bucket: Bucket, upload_id: str, key: str | None) -> None:
        """Raises NoSuchUploadError; `key` None takes whatever key it has."""
        self.id = upload_id
        if not _ID.match(upload_id):
            raise NoSuchUploadError(bucket=bucket.name, key=key or "")
        name = UPLOADS + b"/" + upload_id.encode()
        try:
            self.fd = bucket.open(b".appliance/" + name, DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            raise NoSuchUploadError(bucket=bucket.name, key=key or "") from None
        try:
            manifest = self._read(_MANIFEST, Manifest)
        except BaseException:
            os.close(self.fd)
            raise
        if manifest is None or (key is not None and manifest.key != key_bytes(key)):
            os.close(self.fd)
            raise NoSuchUploadError(bucket=bucket.name, key=key or "")
        self.manifest = manifest

    def __enter__(self) -> Upload:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    @property
    def info(self) -> UploadInfo:
        options = self.manifest.options
        return UploadInfo(
            key=key_text(self.manifest.key),
            upload_id=self.id,
            initiated_ns=self.manifest.initiated_ns,
            checksums=options.checksums,
            checksum_type=options.checksum_type,
            storage_class=options.headers.get("x-amz-storage-class", ""),
            owner=options.owner,
        )

    def part(self, number: int) -> Part | None:
        """What is known about a part; None if it has not been stored, or if its record names no data file of this directory."""
        part = self._read(_part_name(number), Part)
        return part if part is not None and _DATA.match(part.data) else None

    def numbers(self) -> list[int]:
        """Numbers of the parts that are there, ascending."""
        # A descriptor of its own: scans share the position of the one they are given.
        fd = os.open(b".", DIRECTORY, dir_fd=self.fd)
        try:
            return sorted(int(name) for name in os.listdir(fd) if _PART_NAME.match(name))
        finally:
            os.close(fd)

    def open_data(self, part: Part) -> int:
        """The bytes of a part; FileNotFoundError if it was replaced meanwhile."""
        return open_file(self.fd, part.data)

    def _read(self, name: bytes, kind: type[_T]) -> _T | None:
        try:
            fd = open_file(self.fd, name)
        except FileNotFoundError:
            return None
        try:
            return msgspec.msgpack.decode(os.read(fd, _FILE_MAX), type=kind)
        except msgspec.DecodeError:
            return None
        finally:
            os.close(fd)


def create(bucket: Bucket, key: str, options: PutOptions) -> UploadInfo:
    """Begin an upload, durably. What the caller may not put it may not begin, look at or end either (AccessDeniedError)."""
    check_change(bucket, key)
    now_ns = bucket.volume.clocks.now_ns()
    upload_id = f"{now_ns:016x}{secrets.token_hex(16)}"
    manifest = Manifest(key=key_bytes(key), options=options, initiated_ns=now_ns)
    uploads = bucket.private(UPLOADS)
    with bucket.locked({lock_name(upload_id)}):
        name = upload_id.encode()
        os.mkdir(name, PRIVATE_MODE, dir_fd=uploads)
        fd = os.open(name, DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=uploads)
        try:
            write_file(fd, _MANIFEST, msgspec.msgpack.encode(manifest))
        finally:
            os.close(fd)
        os.fsync(uploads)
    with Upload(bucket, upload_id, key) as upload:
        return upload.info


def permitted(bucket: Bucket, upload_id: str, key: str) -> Upload:
    """An upload, open, of a key that the caller may put. Raises NoSuchUploadError, AccessDeniedError."""
    upload = Upload(bucket, upload_id, key)
    try:
        check_change(bucket, key)
    except BaseException:
        os.close(upload.fd)
        raise
    return upload


def look(bucket: Bucket, key: str, upload_id: str) -> UploadInfo:
    """Raises NoSuchUploadError."""
    with permitted(bucket, upload_id, key) as upload:
        return upload.info


def store_part(
    bucket: Bucket, key: str, upload_id: str, number: int, staged: Staged, digests: Digests
) -> PartInfo:
    """Make staged bytes part `number`, durably."""
    os.fsync(staged.fd)
    part = Part(
        size=staged.size,
        etag=digests.md5,
        modified_ns=bucket.volume.clocks.now_ns(),
        data=b"data." + secrets.token_hex(16).encode(),
        checksums=digests.checksums,
    )
    with bucket.locked({lock_name(upload_id)}), permitted(bucket, upload_id, key) as upload:
        replaced = upload.part(number)
        staged.link_new(bucket, upload.fd, part.data)
        try:
            # Its fsync of the directory covers the data file's name as well.
            write_file(upload.fd, _part_name(number), msgspec.msgpack.encode(part))
        except BaseException:
            os.unlink(part.data, dir_fd=upload.fd)
            raise
        if replaced is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(replaced.data, dir_fd=upload.fd)
    return part.info(number)


def list_parts(bucket: Bucket, key: str, upload_id: str, after: int, limit: int) -> PartPage:
    """One page of parts."""
    with permitted(bucket, upload_id, key) as upload:
        numbers = [number for number in upload.numbers() if number > after]
        page = numbers[: max(limit, 0)]
        parts = [(number, upload.part(number)) for number in page]
        return PartPage(
            upload=upload.info,
            parts=tuple(part.info(number) for number, part in parts if part is not None),
            next_marker=page[-1] if page and len(numbers) > len(page) else 0,
        )


def abort(bucket: Bucket, key: str, upload_id: str) -> None:
    """Forget an upload."""
    with bucket.locked({lock_name(upload_id)}):
        with permitted(bucket, upload_id, key):
            pass
        end(bucket, upload_id)
    discard_gone(bucket, upload_id)


def end(bucket: Bucket, upload_id: str) -> None:
    """Take an upload out of sight, durably; its lock is held."""
    uploads = bucket.private(UPLOADS)
    name = upload_id.encode()
    os.rename(name, GONE + name, src_dir_fd=uploads, dst_dir_fd=uploads)
    os.fsync(uploads)


def discard_gone(bucket: Bucket, upload_id: str) -> None:
    """Remove what is left of an ended upload."""
    discard_tree(bucket.private(UPLOADS), GONE + upload_id.encode())


def all_uploads(bucket: Bucket) -> Iterator[UploadInfo]:
    """Every upload in progress, ordered by key and time of initiation."""
    uploads = bucket.private_if_any(UPLOADS)
    if uploads is None:
        return
    fd = os.open(b".", DIRECTORY, dir_fd=uploads)
    try:
        ids = [name for name in os.listdir(fd) if _ID.match(name)]
    finally:
        os.close(fd)
    found = []
    for upload_id in ids:
        with contextlib.suppress(NoSuchUploadError), Upload(bucket, upload_id, None) as upload:
            found.append((upload.manifest.key, upload_id, upload.info))
    yield from (info for _, _, info in sorted(found, key=lambda item: item[:2]))


def lock_name(upload_id: str) -> str:
    """Name of an upload's lock (a key called so would merely share it)."""
    return "upload:" + upload_id


def _part_name(number: int) -> bytes:
    return b"%05d" % number
