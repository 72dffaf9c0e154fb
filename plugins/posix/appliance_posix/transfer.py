"""Copying bytes between files without carrying them through Python.

`copy_file_range` shares blocks where the filesystem can (XFS, btrfs) and copies in the kernel elsewhere.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable

from appliance.model.checksums import encode, new_hasher
from appliance.model.errors import VersionChangedError
from appliance.plugin import Digests
from appliance_posix.staging import Staged

# One thread hop's worth: a second or so on a slow disk, so that cancellation is not kept waiting.
PIECE_BYTES = 64 << 20
_READ_BYTES = 1 << 20
_NOT_THAT_WAY = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}


def append_range(source_fd: int, offset: int, length: int, staged: Staged) -> None:
    """Append bytes of a file to a staged one. Raises VersionChangedError if the source has fewer, OSError."""
    end = offset + length
    while offset < end:
        copied = _copy(source_fd, offset, end - offset, staged)
        if copied == 0:
            raise VersionChangedError("The source became shorter while it was being copied.")
        offset += copied
        staged.grew(copied)


def _copy(source_fd: int, offset: int, length: int, staged: Staged) -> int:
    try:
        return os.copy_file_range(source_fd, staged.fd, length, offset, staged.size)
    except OSError as error:
        if error.errno not in _NOT_THAT_WAY:
            raise
    data = os.pread(source_fd, min(length, _READ_BYTES), offset)
    return os.pwrite(staged.fd, data, staged.size) if data else 0


class Hashing:
    """MD5 and checksums of a staged file, piece by piece: of the bytes that were copied, whatever the source becomes."""

    def __init__(self, algorithms: Iterable[str]) -> None:
        self._hashers = {name: new_hasher(name) for name in ("md5", *algorithms)}
        self._offset = 0

    def update(self, data: bytes | bytearray | memoryview) -> None:
        for hasher in self._hashers.values():
            hasher.update(data)
        self._offset += len(data)

    def catch_up(self, staged: Staged, up_to: int) -> None:
        """Take in the bytes not seen yet, up to an offset; blocking."""
        while self._offset < up_to:
            self.update(os.pread(staged.fd, min(_READ_BYTES, up_to - self._offset), self._offset))

    def digests(self) -> Digests:
        values = {name: hasher.digest() for name, hasher in self._hashers.items()}
        md5 = values.pop("md5").hex()
        return Digests(md5, {name: encode(value) for name, value in values.items()})
