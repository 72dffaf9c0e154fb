"""Making the current version an old one, and an old one current again. The caller holds the key's lock.

Nothing is copied: an old version is the file that was the object, by a hard link made before its own name goes to the next version. Then
only its name in the history is left, where no user opens it. What remains are programs that had it open for writing, and other hard links
that users made: where the kernel tells of either (a read lease is refused while anybody can write; the link count), the old version is
moved to a copy of its own, by `copy_file_range`, which shares the blocks on XFS and btrfs. Where the kernel cannot tell (network
filesystems have no leases) such a write shows in size or mtime, and the old version is refused, not shown with bytes it never had.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat as stat_module

from appliance_posix import metadata
from appliance_posix.beneath import REGULAR
from appliance_posix.bucket import Bucket
from appliance_posix.directories import parent, prune
from appliance_posix.history import NEWEST, Past, directory_of, open_past, order_of
from appliance_posix.objects import Found
from appliance_posix.record import Fingerprint, Record, changed
from appliance_posix.sealing import reseal
from appliance_posix.staging import Staged
from appliance_posix.transfer import append_range

_COPY_BYTES = 64 << 20
_CANNOT_LINK = {errno.EPERM, errno.EACCES, errno.EMLINK, errno.EXDEV}


def archive(bucket: Bucket, key: str, current: Found, newest_past: int) -> Past:
    """Put the current version into the history as well. It does not count there while it is current; the caller takes its name away.

    `newest_past`: the greatest order in the history.
    """
    record, past = _archived_record(current, newest_past)
    with parent(bucket, key, past.place(key), {key}) as directory:
        try:
            # Linking moves ctime: a fingerprint without it before, so that no reader sees the ETag of the current version change.
            current.record = reseal(bucket, current.fd, key, record, moving=True)
            _link(directory, current.fd, past.name)
        except OSError as error:
            if error.errno not in _CANNOT_LINK:
                raise
            _copy_into(bucket, key, current, record, directory, past.name)
    return past


def _archived_record(current: Found, newest_past: int) -> tuple[Record, Past]:
    """What is known about the version, for good: of a file that was changed by hand, the ETag that this state of it has."""
    info = current.info
    order = order_of(current)
    if order == NEWEST:
        order = newest_past + 1
    known = current.record or Record(etag=info.etag)
    record = changed(
        known,
        etag=info.etag,
        headers=info.headers,
        metadata=info.metadata,
        checksums=info.checksums,
        checksum_type=info.checksum_type,
        part_sizes=info.part_sizes,
        part_checksums=info.part_checksums,
        version_id=info.version_id,
        order=order,
    )
    return record, Past(order, info.version_id, delete_marker=False)


def _link(directory: int, fd: int, name: bytes) -> None:
    """Link an open file. What has the name is left from an archiving that did not come to its end."""
    try:
        os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=directory, follow_symlinks=True)
    except FileExistsError:
        os.unlink(name, dir_fd=directory)
        os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=directory, follow_symlinks=True)


def protect(bucket: Bucket, key: str, past: Past) -> None:
    """The version has lost its own name: see that nobody outside can write to it. Repeating it is harmless."""
    with contextlib.ExitStack() as stack:
        found = open_past(bucket, key, past)
        if found is None:
            return
        stack.enter_context(found)
        if not _may_be_written(bucket, found):
            return
        record = found.record or Record(etag=found.info.etag)
        place = past.place(key)
        directory = stack.enter_context(parent(bucket, key, place, {key}))
        _copy_into(bucket, key, found, record, directory, place.name)
        metadata.forget(bucket, found.stat.st_ino, found.record)


def _may_be_written(bucket: Bucket, found: Found) -> bool:
    """Whether somebody else has another way to this file."""
    if os.fstat(found.fd).st_nlink > 1:
        return True
    try:
        # Refused with EAGAIN while the file is open for writing or mapped so (fcntl(2), "Leases").
        fcntl.fcntl(found.fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(found.fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        # EACCES: somebody else's file. EINVAL and others: this filesystem has no leases; a copy is worth it where it costs no space.
        return error.errno in {errno.EAGAIN, errno.EACCES} or bucket.volume.features.reflink
    return False


def _copy_into(
    bucket: Bucket, key: str, source: Found, record: Record, directory: int, name: bytes
) -> None:
    """A copy of an object's file, with its times, under a name in the history; durable once the directory is."""
    staged = Staged(bucket)
    try:
        size = os.fstat(source.fd).st_size
        while staged.size < size:
            length = min(_COPY_BYTES, size - staged.size)
            append_range(source.fd, staged.size, length, staged)
        os.utime(staged.fd, ns=(source.stat.st_atime_ns, source.stat.st_mtime_ns))
        _like(staged.fd, os.fstat(source.fd))
        stat = os.fstat(staged.fd)
        kept = changed(record, fingerprint=Fingerprint.of(stat), spilled="")
        staged.record = metadata.save(bucket, staged.fd, stat, kept, key)
        os.fsync(staged.fd)
        staged.link_over(bucket, directory, name)
    finally:
        staged.discard()


def _like(fd: int, original: os.stat_result) -> None:
    """Owner and mode of the original: who might not read it must not read the copy."""
    os.fchmod(fd, stat_module.S_IMODE(original.st_mode))
    if (os.fstat(fd).st_uid, os.fstat(fd).st_gid) != (original.st_uid, original.st_gid):
        with contextlib.suppress(
            PermissionError
        ):  # an appliance without root's rights has no accounts with users
            os.fchown(fd, original.st_uid, original.st_gid)


def remove_past(bucket: Bucket, key: str, *entries: Past) -> None:
    """Remove entries of the history, durably."""
    if not entries:
        return
    with parent(bucket, key, entries[0].place(key), {key}) as directory:
        for past in entries:
            with contextlib.suppress(FileNotFoundError):
                fd = os.open(past.name, REGULAR, dir_fd=directory)
                try:
                    stat = os.fstat(fd)
                    record = None
                    if (
                        stat.st_nlink == 1
                    ):  # else it is the current version, too, and needs its sidecar
                        record = metadata.load(bucket, fd, stat, key, partly=True)
                    os.unlink(past.name, dir_fd=directory)
                    metadata.forget(bucket, stat.st_ino, record)
                finally:
                    os.close(fd)
    prune(bucket, directory_of(key))


def mark_deleted(bucket: Bucket, key: str, past: Past) -> None:
    """Put a delete marker into the history, durably."""
    staged = Staged(bucket)
    try:
        record = Record(etag="", version_id=past.version_id, order=past.order)
        staged.seal(bucket, key, record)
        with parent(bucket, key, past.place(key), {key}) as directory:
            staged.link_new(bucket, directory, past.name)
    finally:
        staged.discard()
