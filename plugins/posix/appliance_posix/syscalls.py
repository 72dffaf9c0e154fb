"""The system calls that Python's `os` lacks, by ctypes: openat2, statfs, sync_file_range, renameat2, OFD locks."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct

_libc = ctypes.CDLL(None, use_errno=True)

# Numbers of system calls added since 2019 are the same on every architecture; renameat2 goes through glibc.
_SYS_OPENAT2 = 437
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
_RESOLVE = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS  # the latter implies RESOLVE_NO_MAGICLINKS
RENAME_NOREPLACE = 1
_SYNC_FILE_RANGE_WRITE = 2
O_TMPFILE = os.O_TMPFILE


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_HOW_BYTES = ctypes.sizeof(_OpenHow)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long


def _raise_errno(path: bytes = b"") -> None:
    code = ctypes.get_errno()
    raise OSError(code, os.strerror(code), os.fsdecode(path))


def openat2_beneath(directory_fd: int, path: bytes, flags: int, mode: int = 0) -> int:
    """Open `path` below a directory; leaving it, or meeting a symlink anywhere on the way, fails (openat2(2)). Raises OSError."""
    how = _OpenHow(flags | os.O_CLOEXEC, mode, _RESOLVE)
    while True:
        fd = _syscall(
            ctypes.c_long(_SYS_OPENAT2),
            ctypes.c_int(directory_fd),
            ctypes.c_char_p(path),
            ctypes.byref(how),
            ctypes.c_size_t(_HOW_BYTES),
        )
        if fd >= 0:
            return int(fd)
        # EAGAIN: a rename elsewhere raced with the check of "..", of which there are none here; the manual says retry.
        if ctypes.get_errno() not in {errno.EINTR, errno.EAGAIN}:
            _raise_errno(path)


def filesystem_type(fd: int) -> int:
    """`f_type` of statfs(2): the filesystem's magic number."""
    # struct statfs is at most 120 bytes on 64-bit; f_type is its first word.
    buffer = ctypes.create_string_buffer(256)
    if _libc.fstatfs(ctypes.c_int(fd), buffer) != 0:
        _raise_errno()
    return int(struct.unpack_from("=q", buffer.raw)[0]) & 0xFFFFFFFF


def start_writeback(fd: int, offset: int, length: int) -> None:
    """Ask the kernel to begin writing a range to disk, without waiting; a hint, so failure is ignored."""
    _libc.sync_file_range(
        ctypes.c_int(fd),
        ctypes.c_int64(offset),
        ctypes.c_int64(length),
        ctypes.c_uint(_SYNC_FILE_RANGE_WRITE),
    )


def rename_exclusive(source_fd: int, source: bytes, target_fd: int, target: bytes) -> None:
    """renameat2(RENAME_NOREPLACE). Raises FileExistsError; EINVAL where the filesystem cannot."""
    result = _libc.renameat2(
        ctypes.c_int(source_fd),
        ctypes.c_char_p(source),
        ctypes.c_int(target_fd),
        ctypes.c_char_p(target),
        ctypes.c_uint(RENAME_NOREPLACE),
    )
    if result != 0:
        _raise_errno(target)


def lock_range(fd: int, kind: int, start: int, length: int = 1, *, wait: bool = True) -> None:
    """Take (F_RDLCK, F_WRLCK) or release (F_UNLCK) an open-file-description lock on a byte range (fcntl(2)).

    Such a lock belongs to the descriptor: it excludes other threads as well as other processes and, on shared filesystems, hosts; and
    the kernel releases it when the holder dies.
    """
    # struct flock: short type, short whence, off_t start, off_t length, pid_t 0.
    request = struct.pack("hhqqi0q", kind, os.SEEK_SET, start, length, 0)
    fcntl.fcntl(fd, fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK, request)
