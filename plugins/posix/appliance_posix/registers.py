"""Registers: a few bytes each, changed by compare-and-swap among all hosts that share the root.

    <root>/.appliance/registers/=<name>/<n>    the n-th value; the greatest n is current

Value n + 1 is linked to its name with link(2), which fails if the name exists: of all who saw value n exactly one succeeds, on every
filesystem, NFS and CephFS included, and no lock that a paused holder could lose is involved. Old values are kept for a good while, for a
slow swapper must not find a name free again that was already used: it would have to sleep through as many swaps as are kept.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import urllib.parse

from appliance.model.errors import ConflictError, InvalidArgumentError, RegisterConflictError
from appliance_posix.beneath import DIRECTORY, make_directories, open_beneath
from appliance_posix.metadata import write_all
from appliance_posix.private import PRIVATE, open_file
from appliance_posix.volume import Volume

VALUE_MAX = 64 << 10
_KEPT = 256
_NAME_MAX = 200
_ATTEMPTS = 64


def read(volume: Volume, name: str) -> bytes | None:
    """The current value; None if it was never set."""
    try:
        fd = open_beneath(volume.opener, volume.root_fd, _path(name), DIRECTORY)
    except FileNotFoundError:
        return None
    try:
        return _current(fd)[1]
    finally:
        os.close(fd)


def compare_and_swap(volume: Volume, name: str, expected: bytes | None, new: bytes) -> None:
    """Raises RegisterConflictError with the actual value."""
    if len(new) > VALUE_MAX:
        raise InvalidArgumentError(f"A register holds up to {VALUE_MAX} bytes, not {len(new)}.")
    fd = _make(volume, name)
    try:
        number, value = _current(fd)
        if value != expected:
            raise RegisterConflictError(actual=value)
        if not _link_value(fd, number + 1, new):
            raise RegisterConflictError(actual=_current(fd)[1])
        os.fsync(fd)
        _forget_old(fd, number)
    finally:
        os.close(fd)


def _make(volume: Volume, name: str) -> int:
    path = _path(name)
    fd = make_directories(volume.opener, volume.root_fd, path, private=True)
    while path:
        path = path.rpartition(b"/")[0]
        above = open_beneath(volume.opener, volume.root_fd, path, DIRECTORY)
        try:
            os.fsync(above)
        finally:
            os.close(above)
    return fd


def _path(name: str) -> bytes:
    quoted = "=" + urllib.parse.quote(name, safe="")
    if not name or len(quoted) > _NAME_MAX:
        raise InvalidArgumentError("A register's name has 1 to about 200 characters.")
    return PRIVATE + b"/registers/" + quoted.encode()


def _current(fd: int) -> tuple[int, bytes | None]:
    """Number and value; (0, None) before the first."""
    for _ in range(_ATTEMPTS):
        number = max((int(name) for name in _names(fd) if name.isdigit()), default=0)
        # A directory listing may be older than a look at a name (NFS): go on from what it says.
        while _exists(fd, number + 1):
            number += 1
        if number == 0:
            return 0, None
        try:
            value_fd = open_file(fd, b"%d" % number)
        except FileNotFoundError:
            continue  # more than _KEPT swaps happened since
        try:
            return number, os.read(value_fd, VALUE_MAX)
        finally:
            os.close(value_fd)
    raise ConflictError("A register is being changed too fast to be read; try again.")


def _names(fd: int) -> list[str]:
    # A descriptor of its own: scans share the position of the one they are given.
    scan_fd = os.open(b".", DIRECTORY, dir_fd=fd)
    try:
        return os.listdir(scan_fd)
    finally:
        os.close(scan_fd)


def _exists(fd: int, number: int) -> bool:
    try:
        os.stat(b"%d" % number, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _link_value(fd: int, number: int, value: bytes) -> bool:
    """Make value `number`; False if there is one already."""
    temporary = b"new." + secrets.token_hex(16).encode()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    file_fd = os.open(temporary, flags, 0o666, dir_fd=fd)
    try:
        write_all(file_fd, value)
        os.fsync(file_fd)
        os.link(temporary, b"%d" % number, src_dir_fd=fd, dst_dir_fd=fd, follow_symlinks=False)
    except FileExistsError:
        return False
    finally:
        os.close(file_fd)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=fd)
    return True


def _forget_old(fd: int, number: int) -> None:
    # One swap adds one value, so removing those just over the limit keeps the number constant, also after a crash.
    for old in range(number - _KEPT, max(number - _KEPT - 2, 0), -1):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(b"%d" % old, dir_fd=fd)
