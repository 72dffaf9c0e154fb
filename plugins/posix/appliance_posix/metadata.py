"""Where records are kept: one xattr; or a sidecar file, where the record is too large for one or the filesystem has none.

A sidecar is named by the inode that it is about, in `<bucket>/.appliance/sidecar/`:

- `<inode>` where there are no xattrs: true if its key is this key and its fingerprint this file's;
- `<inode>.<token>` where the xattr overflowed: the xattr still holds ETag, fingerprint and the token, so it is true by name.

It is on disk before the file gets its key, and removed after the file has lost it, by somebody who still holds that file open: an inode's
number cannot be used again while the file is open, so no sidecar of a newer file is hit. A crash in between leaves a sidecar that nothing
refers to; the reaper removes it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
from typing import TypeGuard

from appliance.model.names import key_bytes
from appliance_posix.bucket import Bucket
from appliance_posix.private import open_file
from appliance_posix.record import Record, changed, pack, unpack
from appliance_posix.volume import XATTR

SIDECAR = b"sidecar"
# ext4 gives a file one block for all xattrs; leave some for others (ACLs, SELinux labels).
INLINE_MAX = 3072
RECORD_MAX = 4 << 20
_TOKEN = re.compile(r"[0-9a-f]{16}\Z")
_TOO_LARGE = {errno.ENOSPC, errno.E2BIG, errno.ERANGE, errno.EFBIG, errno.EDQUOT}
_NO_XATTR = {errno.ENODATA, errno.EOPNOTSUPP, errno.EPERM, errno.ENOTSUP}


class VanishedSidecarError(Exception):
    """The sidecar of a record is gone: the object was replaced meanwhile; look again."""


def load(
    bucket: Bucket, fd: int, stat: os.stat_result, key: str, *, partly: bool = False
) -> Record | None:
    """The whole record of an open file. Raises VanishedSidecarError; with `partly`, what the xattr says does where the rest is lost."""
    record = None
    if not bucket.volume.features.xattrs:
        record = _load_by_key(bucket, stat, key)
        if record is None and not partly and os.fstat(fd).st_nlink == 0:
            raise VanishedSidecarError
    record = record or load_inline(fd) or _load_by_key(bucket, stat, key)
    if record is None or not record.spilled:
        return record
    whole = read_sidecar(bucket, _spill_name(stat.st_ino, record.spilled))
    if whole is None and partly:
        return record
    if whole is None:
        raise VanishedSidecarError
    return changed(whole, fingerprint=record.fingerprint, spilled=record.spilled)


def load_inline(fd: int | bytes) -> Record | None:
    """What the xattr of a file says (ETag and fingerprint at least); None without one.

    Whoever owns the file can write it: it is as good as the file's bytes, but a token that is none could be a path.
    """
    try:
        raw = os.getxattr(fd, XATTR, follow_symlinks=isinstance(fd, int))
    except OSError as error:
        if error.errno in _NO_XATTR:
            return None
        raise
    record = unpack(raw)
    forged = record is not None and record.spilled and not _TOKEN.match(record.spilled)
    return None if forged else record


def save(bucket: Bucket, fd: int, stat: os.stat_result, record: Record, key: str) -> Record:
    """Keep `record` with the file. A sidecar is durable on return; an xattr once the caller has fsynced the file."""
    record = changed(record, key=b"", spilled="")
    if not bucket.volume.features.xattrs:
        _write_sidecar(bucket, b"%x" % stat.st_ino, changed(record, key=key_bytes(key)))
        return record
    packed = pack(record)
    if len(packed) <= INLINE_MAX and _set_xattr(fd, packed):
        return record
    token = secrets.token_hex(8)
    _write_sidecar(bucket, _spill_name(stat.st_ino, token), changed(record, key=key_bytes(key)))
    small = Record(
        etag=record.etag,
        fingerprint=record.fingerprint,
        spilled=token,
        owner=record.owner,
        version_id=record.version_id,
        order=record.order,
    )
    if not _set_xattr(fd, pack(small)):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return changed(record, spilled=token)


def forget(bucket: Bucket, inode: int, record: Record | None) -> None:
    """Remove the sidecar of a file that has lost its key; the caller holds the file open."""
    if record is None:
        return
    if bucket.volume.features.xattrs and not record.spilled:
        return
    name = _spill_name(inode, record.spilled) if record.spilled else b"%x" % inode
    directory = bucket.private_if_any(SIDECAR)
    if directory is not None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)


def _load_by_key(bucket: Bucket, stat: os.stat_result, key: str) -> Record | None:
    record = read_sidecar(bucket, b"%x" % stat.st_ino)
    return record if _is_about(record, key) else None


def _is_about(record: Record | None, key: str) -> TypeGuard[Record]:
    return record is not None and record.key == key_bytes(key)


def _set_xattr(fd: int, packed: bytes) -> bool:
    try:
        os.setxattr(fd, XATTR, packed)
    except OSError as error:
        if error.errno in _TOO_LARGE:
            return False
        raise
    return True


def _spill_name(inode: int, token: str) -> bytes:
    return b"%x.%s" % (inode, token.encode())


def read_sidecar(bucket: Bucket, name: bytes) -> Record | None:
    """A sidecar by name; None if it is gone or unreadable."""
    directory = bucket.private_if_any(SIDECAR)
    if directory is None:
        return None
    try:
        fd = open_file(directory, name)
    except FileNotFoundError:
        return None
    try:
        return unpack(os.read(fd, RECORD_MAX))
    finally:
        os.close(fd)


def _write_sidecar(bucket: Bucket, name: bytes, record: Record) -> None:
    directory = bucket.private(SIDECAR)
    write_file(directory, name, pack(record))


def write_file(directory_fd: int, name: bytes, data: bytes) -> None:
    """Make or replace a small private file: whole or not at all, and durable on return."""
    temporary = b"%s~%s" % (name, secrets.token_hex(8).encode())
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(temporary, flags, 0o666, dir_fd=directory_fd)
    try:
        try:
            write_all(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, name, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=directory_fd)
        raise
    os.fsync(directory_fd)


def write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    """Write every byte at the descriptor's position."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
