"""The filesystem behind a backend: its root, and what it turned out to be able to do.

Probed once at start, by doing it; what is missing is done another way (`Features` says how) and logged.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
from collections import OrderedDict
from collections.abc import Iterator
from typing import Protocol

import msgspec

from appliance.model.errors import ConfigError
from appliance_posix.beneath import DIRECTORY, Opener, choose_opener, make_directories, walk_beneath
from appliance_posix.errnos import domain_error
from appliance_posix.private import PRIVATE, NotOwnError, Own, tighten
from appliance_posix.record import CTIME_WINDOW_NS, CTIME_WINDOW_SHARED_NS
from appliance_posix.syscalls import O_TMPFILE, filesystem_type, lock_range

XATTR = "user.appliance.meta"
_FICLONE = 0x40049409  # ioctl_ficlonerange(2)

# statfs(2) magic numbers of filesystems on which stat never waits for another machine, and time stamps are of this host's clock.
_LOCAL_TYPES = {
    0xEF53: "ext4",
    0x58465342: "xfs",
    0x9123683E: "btrfs",
    0x01021994: "tmpfs",
    0x2FC12FC1: "zfs",
    0x794C7630: "overlay",
    0xF2F52010: "f2fs",
    0xCA451A4E: "bcachefs",
}


class Features(msgspec.Struct, frozen=True, kw_only=True):
    """`local`: one host, fast stat. `tmpfile`: O_TMPFILE and linkat work. `xattrs`: user xattrs do. `ofd_locks`: else flock."""

    kind: str
    local: bool
    tmpfile: bool
    xattrs: bool
    reflink: bool
    ofd_locks: bool
    openat2: bool

    @property
    def ctime_window_ns(self) -> int:
        return CTIME_WINDOW_NS if self.local else CTIME_WINDOW_SHARED_NS

    def degradations(self) -> list[str]:
        """What is done another way here, in words for the log."""
        said = {
            "no O_TMPFILE: uploads are written to named files and renamed": self.tmpfile,
            "no user xattrs: metadata is kept in sidecar files": self.xattrs,
            "no open-file-description locks: flock is used": self.ofd_locks,
            "no openat2: paths are walked component by component": self.openat2,
            "no reflinks: completing and copying rewrite data in the kernel": self.reflink,
            "not a known local filesystem: each use is validated in a thread": self.local,
        }
        return [sentence for sentence, present in said.items() if not present]


class Clocks(Protocol):
    """The part of `appliance.plugin.Host` that is needed in threads."""

    def now_ns(self) -> int: ...
    def boot_s(self) -> float: ...


class Volume:
    """A root directory, open. Blocking; all methods may be called from any thread."""

    def __init__(
        self,
        root: bytes,
        features: Features,
        root_fd: int,
        opener: Opener,
        clocks: Clocks,
        own: Own,
    ) -> None:
        self.root = root
        self.features = features
        self.own = own
        self.root_fd = root_fd
        self.opener = opener
        self.clocks = clocks
        self.durable = DurableDirectories()

    def close(self) -> None:
        if self.root_fd >= 0:
            os.close(self.root_fd)
            self.root_fd = -1


class DurableDirectories:
    """Directories whose whole path is known to be on disk: their ancestors need no fsync again. Bounded; forgetting costs an fsync."""

    def __init__(self, limit: int = 65536) -> None:
        self._known: OrderedDict[tuple[int, bytes], int] = OrderedDict()
        self._limit = limit

    def __contains__(self, item: tuple[int, bytes, int]) -> bool:
        anchor, path, inode = item
        return self._known.get((anchor, path)) == inode

    def add(self, anchor: int, path: bytes, inode: int) -> None:
        self._known[anchor, path] = inode
        # Another thread may have evicted the last one meanwhile.
        while len(self._known) > self._limit:
            with contextlib.suppress(KeyError):
                self._known.popitem(last=False)

    def forget(self, anchor: int, path: bytes) -> None:
        self._known.pop((anchor, path), None)


def open_volume(
    root: bytes, clocks: Clocks, metadata: str = "auto", *, openat2: bool = True
) -> Volume:
    """Open and probe the directory `root`. Raises ConfigError with a sentence if it cannot hold buckets."""
    name = os.fsdecode(root)
    try:
        root_fd = os.open(root, DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ConfigError(
            f"The directory {name} of the posix backend does not exist: make it, or correct the URL."
        ) from None
    except NotADirectoryError:
        raise ConfigError(f"{name}, the root of the posix backend, is not a directory.") from None
    except PermissionError:
        raise ConfigError(
            f"The directory {name} of the posix backend is not readable to this user."
        ) from None
    except OSError as error:
        raise domain_error(error) from error
    try:
        opener = choose_opener(root_fd) if openat2 else walk_beneath
        features, own = _probe(root_fd, opener, metadata)
    except OSError as error:
        os.close(root_fd)
        reason = os.strerror(error.errno or 0)
        raise ConfigError(
            f"The directory {name} of the posix backend cannot be written ({reason}): "
            "give the appliance's user write permission, or remount it read-write."
        ) from error
    except BaseException:
        os.close(root_fd)
        raise
    return Volume(root, features, root_fd, opener, clocks, own)


def _probe(root_fd: int, opener: Opener, metadata: str) -> tuple[Features, Own]:
    private_fd = make_directories(opener, root_fd, PRIVATE + b"/staging", private=True)
    kind = filesystem_type(root_fd)
    try:
        with _scratch(private_fd) as fd:
            features = Features(
                kind=_LOCAL_TYPES.get(kind, f"{kind:#x}"),
                local=kind in _LOCAL_TYPES,
                tmpfile=_can_tmpfile(private_fd),
                xattrs=metadata != "sidecar" and _can_xattr(fd),
                reflink=_can_reflink(private_fd, fd),
                ofd_locks=_can_lock(fd),
                openat2=opener is not walk_beneath,
            )
            return features, _own(opener, root_fd, os.fstat(fd))
    finally:
        os.close(private_fd)


def _own(opener: Opener, root_fd: int, scratch: os.stat_result) -> Own:
    """What the appliance's files look like here: by one that was just made with mode 0600, and its directory in the root.

    Raises ConfigError if others can write to that.
    """
    fd = opener(root_fd, PRIVATE, os.O_PATH | os.O_DIRECTORY, 0)
    try:
        own = Own(
            uids=frozenset({scratch.st_uid, os.fstat(fd).st_uid}),
            gid=os.getegid(),
            modes=not scratch.st_mode & 0o077,
        )
        tighten(fd, own)
    except NotOwnError:
        raise ConfigError(
            "Others than the appliance may write to .appliance in the root of a posix backend: "
            "chmod it to 0700, if all in it can be trusted."
        ) from None
    finally:
        os.close(fd)
    return own


@contextlib.contextmanager
def _scratch(directory_fd: int) -> Iterator[int]:
    name = f"probe-{secrets.token_hex(16)}".encode()
    fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=directory_fd)
    try:
        os.write(fd, bytes(4096))
        yield fd
    finally:
        os.close(fd)
        os.unlink(name, dir_fd=directory_fd)


def _can_tmpfile(directory_fd: int) -> bool:
    name = f"probe-{secrets.token_hex(16)}".encode()
    try:
        fd = os.open(b".", os.O_RDWR | O_TMPFILE, 0o600, dir_fd=directory_fd)
    except OSError:
        return False
    try:
        os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=directory_fd, follow_symlinks=True)
        os.unlink(name, dir_fd=directory_fd)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def _can_xattr(fd: int) -> bool:
    try:
        os.setxattr(fd, XATTR, b"probe")
        return os.getxattr(fd, XATTR) == b"probe"
    except OSError:
        return False


def _can_reflink(directory_fd: int, source_fd: int) -> bool:
    with _scratch(directory_fd) as target_fd:
        try:
            fcntl.ioctl(target_fd, _FICLONE, source_fd)
        except OSError:
            return False
    return True


def _can_lock(fd: int) -> bool:
    try:
        lock_range(fd, fcntl.F_WRLCK, 0, wait=False)
    except OSError as error:
        if error.errno in {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK}:
            return False
        raise
    return True
