"""A file on its way in: written outside of the key space, sealed with its record, then published or discarded.

With O_TMPFILE it has no name at all until it is published, so a crash leaves nothing; elsewhere it has a random name in `staging/`, which
the reaper removes one day.
"""

from __future__ import annotations

import contextlib
import os
import secrets

from appliance_posix import metadata
from appliance_posix.bucket import Bucket
from appliance_posix.impersonation import give_to_caller
from appliance_posix.metadata import write_all
from appliance_posix.record import Fingerprint, Record, changed
from appliance_posix.syscalls import O_TMPFILE, start_writeback

STAGING = b"staging"
# How much is written before the kernel is asked to start on it, so that the fsync at the end is short.
_WRITEBACK_BYTES = 16 << 20


class Staged:
    """Owns `fd`, and the name if it has one. Blocking; one thread at a time."""

    def __init__(self, bucket: Bucket | None, *, fd: int = -1) -> None:
        """In `bucket`; or, by `adopt`, around `fd`."""
        self.name: bytes | None = None
        self.size = 0
        self.linked = False  # published
        self._written_back = 0
        self._sealed_s = 0.0
        self.record: Record | None = None
        self.fd, self._directory = fd, -1
        if bucket is not None:
            self._create(bucket)

    def _create(self, bucket: Bucket) -> None:
        directory = bucket.private(STAGING)
        if bucket.volume.features.tmpfile:
            self.fd = os.open(b".", os.O_RDWR | O_TMPFILE | os.O_CLOEXEC, 0o666, dir_fd=directory)
        else:
            name = secrets.token_hex(16).encode()
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self.fd = os.open(name, flags, 0o666, dir_fd=directory)
            self.name = name
            self._directory = os.dup(directory)
        try:
            give_to_caller(self.fd)
        except BaseException:
            self.discard()
            raise

    @classmethod
    def adopt(cls, fd: int, record: Record | None) -> Staged:
        """An open file that has a name elsewhere, to be linked once more. Takes over `fd`."""
        staged = cls(None, fd=fd)
        staged.linked, staged.record = True, record
        return staged

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append."""
        write_all(self.fd, data)
        self.grew(len(data))

    def grew(self, length: int) -> None:
        """Account for bytes appended in another way."""
        self.size += length
        if self.size - self._written_back >= _WRITEBACK_BYTES:
            start_writeback(self.fd, self._written_back, self.size - self._written_back)
            self._written_back = self.size

    def seal(self, bucket: Bucket, key: str, record: Record) -> None:
        """Put the record with the file and make both durable.

        mtime is set from the nanosecond clock: two files that get the same inode number one after the other, of the same size, within one
        tick of the kernel's clock, must not look the same. Setting it moves ctime too, which is then read back for the fingerprint.
        """
        if not bucket.volume.features.local:
            os.fsync(self.fd)  # lets the server have its say on mtime before it is recorded
        for _ in range(3):
            stat = self._stamp(bucket)
            sealed = changed(record, fingerprint=Fingerprint.of(stat))
            previous, self.record = self.record, metadata.save(bucket, self.fd, stat, sealed, key)
            if previous is not None and previous.spilled:
                metadata.forget(bucket, stat.st_ino, previous)
            os.fsync(self.fd)
            if not self.is_seal_old(bucket):
                return

    def is_seal_old(self, bucket: Bucket) -> bool:
        """Whether linking the file now could move its ctime out of the window of its fingerprint."""
        age_s = bucket.volume.clocks.boot_s() - self._sealed_s
        return age_s > bucket.volume.features.ctime_window_ns / 2e9

    def _stamp(self, bucket: Bucket) -> os.stat_result:
        clocks = bucket.volume.clocks
        now = clocks.now_ns()
        self._sealed_s = clocks.boot_s()
        os.utime(self.fd, ns=(now, now))
        return os.fstat(self.fd)

    def link_new(self, bucket: Bucket, directory_fd: int, name: bytes) -> None:
        """Give the file its name; FileExistsError if that is taken, by anything."""
        if self.name is None:
            os.link(f"/proc/self/fd/{self.fd}", name, dst_dir_fd=directory_fd, follow_symlinks=True)
            return
        os.link(
            self.name,
            name,
            src_dir_fd=self._directory,
            dst_dir_fd=directory_fd,
            follow_symlinks=False,
        )
        self.linked = True
        os.unlink(self.name, dir_fd=self._directory)
        self.name = None

    def link_over(self, bucket: Bucket, directory_fd: int, name: bytes) -> None:
        """Give the file the name of another file, atomically; IsADirectoryError if a directory has it."""
        if self.name is None:
            directory = bucket.private(STAGING)
            temporary = secrets.token_hex(16).encode()
            self.link_new(bucket, directory, temporary)
            self.linked = False  # only in the staging directory
            self.name, self._directory = temporary, os.dup(directory)
        os.rename(self.name, name, src_dir_fd=self._directory, dst_dir_fd=directory_fd)
        self.linked = True
        self.name = None

    def discard(self) -> None:
        """Close; and remove the name, if it has one still. Idempotent."""
        if self.name is not None:
            with contextlib.suppress(OSError):
                os.unlink(self.name, dir_fd=self._directory)
            self.name = None
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
