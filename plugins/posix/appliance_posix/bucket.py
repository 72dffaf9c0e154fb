"""A bucket's directory, open for one operation, with its private directory and its locks.

    <bucket>/.appliance/staging/       files on their way in, without a key yet
    <bucket>/.appliance/uploads/<id>/  multipart uploads (`uploads`)
    <bucket>/.appliance/sidecar/       metadata that does not fit into an xattr (`metadata`)
    <bucket>/.appliance/versions/      old versions (`history`), and beside it `versioning`, the bucket's state
    <bucket>/.appliance/locks          one file; its bytes are the locks

Who changes anything holds a shared lock on the bucket (byte 0; DeleteBucket takes it exclusively) and exclusive locks on the keys concerned
(a byte each, by hash of the key), and only while publishing: never while bytes arrive. The kernel releases them if the holder dies.
Locks are taken in ascending order within one descriptor, so nobody waits in a circle.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat as stat_module
from collections.abc import Iterable, Iterator
from types import TracebackType

from appliance.model.errors import BackendError, NoSuchBucketError
from appliance.model.names import is_bucket_name, key_bytes
from appliance.model.objects import Versioning
from appliance_posix.beneath import DIRECTORY, REGULAR, make_directories, open_beneath
from appliance_posix.private import PRIVATE, open_private
from appliance_posix.record import Record, version_id_of
from appliance_posix.syscalls import lock_range
from appliance_posix.volume import Volume

# With byte ranges a lock a key is free; flock needs a file a lock, so there keys share 256.
_SLOTS = 1 << 60
_FLOCK_SLOTS = 256
VERSIONING = b"versioning"
_LOCK_FILE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


class Bucket:
    """Use as a context manager; closes what it opened. Not shared between threads."""

    def __init__(self, volume: Volume, name: str) -> None:
        """Raises NoSuchBucketError, OSError."""
        self.volume = volume
        self.name = name
        self._raw = os.fsencode(name)
        if not is_bucket_name(name):
            raise NoSuchBucketError(bucket=name)
        try:
            self.fd = volume.opener(volume.root_fd, self._raw, DIRECTORY, 0)
        except (FileNotFoundError, NotADirectoryError):
            raise NoSuchBucketError(bucket=name) from None
        except OSError as error:
            if _is_symlink_error(error):
                raise NoSuchBucketError(bucket=name) from None
            raise
        self._own = -1
        self._private: dict[bytes, int] = {}
        self._versioning: Versioning | None = None

    def __enter__(self) -> Bucket:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for fd in self._private.values():
            os.close(fd)
        if self._own >= 0:
            os.close(self._own)
        os.close(self.fd)

    def open(self, path: bytes, flags: int, mode: int = 0) -> int:
        """Open below the bucket."""
        above, path, _ = self._reach(path)
        return open_beneath(self.volume.opener, above, path, flags, mode)

    def make(self, path: bytes) -> int:
        """Open a directory below the bucket, made if missing: the caller's, or the appliance's own if it is private."""
        try:
            above, path, private = self._reach(path)
        except FileNotFoundError:
            os.close(make_directories(self.volume.opener, self.fd, PRIVATE, private=True))
            above, path, private = self._reach(path)
        return make_directories(self.volume.opener, above, path, private=private)

    def _reach(self, path: bytes) -> tuple[int, bytes, bool]:
        """From where to open `path`, what remains of it then, and whether it is private. FileNotFoundError without a private directory."""
        head, _, rest = path.partition(b"/")
        if head != PRIVATE:
            return self.fd, path, False
        if self._own < 0:
            self._own = open_private(self.volume.opener, self.fd, self.volume.own, self.name)
        return self._own, rest, True

    def private(self, name: bytes) -> int:
        """A directory below `.appliance`, made if missing; closed with the bucket."""
        fd = self._private.get(name)
        if fd is None:
            fd = self.make(PRIVATE + b"/" + name)
            self._private[name] = fd
        return fd

    def private_if_any(self, name: bytes) -> int | None:
        """The same for readers, who make nothing."""
        if name not in self._private:
            try:
                self._private[name] = self.open(PRIVATE + b"/" + name, DIRECTORY)
            except FileNotFoundError:
                return None
        return self._private[name]

    @property
    def versioning(self) -> Versioning:
        """The bucket's state. It is looked up once, and again when a lock has been taken: it changes under the lock of the whole bucket."""
        if self._versioning is None:
            self._versioning = self._read_versioning()
        return self._versioning

    def version_id(self, stat: os.stat_result, record: Record | None) -> str:
        """The version id of a current file."""
        return "" if self.versioning is Versioning.OFF else version_id_of(stat, record)

    def _read_versioning(self) -> Versioning:
        try:
            fd = self.open(PRIVATE + b"/" + VERSIONING, REGULAR)
        except FileNotFoundError:
            return Versioning.OFF
        try:
            with self._regular(fd, VERSIONING):
                return Versioning(os.read(fd, 64).decode("ascii", "replace").strip())
        except ValueError:
            raise BackendError(
                "The file that holds the versioning state of this bucket is damaged.",
                bucket=self.name,
            ) from None

    @contextlib.contextmanager
    def _regular(self, fd: int, name: bytes) -> Iterator[None]:
        """Closes it. Raises BackendError if it is no regular file's: nobody else has a hand in here, so the storage was damaged."""
        try:
            if not stat_module.S_ISREG(os.fstat(fd).st_mode):
                raise BackendError(
                    f"In the directory .appliance of this bucket {os.fsdecode(name)} is no regular file: remove it.",
                    bucket=self.name,
                )
            yield
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def locked(self, names: Iterable[str]) -> Iterator[None]:
        """Hold the locks of keys (or "upload:..." names). Raises NoSuchBucketError if the bucket was deleted meanwhile."""
        with self._locks(sorted({_slot(name) for name in names}), fcntl.F_RDLCK):
            self.check_still_there()
            self._versioning = None
            yield

    @contextlib.contextmanager
    def locked_whole(self) -> Iterator[None]:
        """Hold the bucket against every writer."""
        with self._locks([], fcntl.F_WRLCK):
            self.check_still_there()
            self._versioning = None
            yield

    def check_still_there(self) -> None:
        """Raise NoSuchBucketError unless the bucket's name still leads here."""
        try:
            named = os.stat(self._raw, dir_fd=self.volume.root_fd, follow_symlinks=False)
        except FileNotFoundError:
            raise NoSuchBucketError(bucket=self.name) from None
        mine = os.fstat(self.fd)
        if (named.st_ino, named.st_dev) != (mine.st_ino, mine.st_dev):
            raise NoSuchBucketError(bucket=self.name)

    @contextlib.contextmanager
    def _locks(self, slots: list[int], bucket_kind: int) -> Iterator[None]:
        if not self.volume.features.ofd_locks:
            with self._flocks(sorted({slot % _FLOCK_SLOTS for slot in slots}), bucket_kind):
                yield
            return
        directory = self.private(b"staging")
        del directory  # made, so that `.appliance` exists
        fd = self.open(PRIVATE + b"/locks", _LOCK_FILE, 0o666)
        with self._regular(fd, b"locks"):  # closing it releases them all
            lock_range(fd, bucket_kind, 0)
            for slot in slots:
                lock_range(fd, fcntl.F_WRLCK, 1 + slot)
            yield

    @contextlib.contextmanager
    def _flocks(self, slots: list[int], bucket_kind: int) -> Iterator[None]:
        directory = self.private(b"locks.d")
        with contextlib.ExitStack() as stack:
            shared = fcntl.LOCK_SH if bucket_kind == fcntl.F_RDLCK else fcntl.LOCK_EX
            for name, kind in [
                (b"bucket", shared),
                *((b"%02x" % slot, fcntl.LOCK_EX) for slot in slots),
            ]:
                fd = os.open(name, _LOCK_FILE, 0o666, dir_fd=directory)
                stack.enter_context(self._regular(fd, b"locks.d/" + name))
                fcntl.flock(fd, kind)
            yield


def _slot(name: str) -> int:
    digest = hashlib.blake2b(key_bytes(name), digest_size=8).digest()
    return int.from_bytes(digest, "big") % _SLOTS


def _is_symlink_error(error: OSError) -> bool:
    return error.errno in {errno.ELOOP, errno.EXDEV}
