"""Opening and making files and directories below a directory, and nowhere else.

Every path that reaches this module was made by `keypath` or from constants, so it has no empty, `.` or `..` component; and no symlink is
ever followed, neither inside the bucket nor out of it (a symlink is not an object). So nothing outside can be reached, whatever other users
of the storage do to it meanwhile. Two ways to the same end:

- `openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)`: one system call for the whole path;
- where that is missing (Linux before 5.6, seccomp), one `openat(O_NOFOLLOW | O_DIRECTORY)` for each component.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from contextlib import AbstractContextManager

from appliance_posix.impersonation import plainly
from appliance_posix.keypath import RESERVED
from appliance_posix.syscalls import openat2_beneath

Opener = Callable[[int, bytes, int, int], int]
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
# Opening a FIFO must not wait for a writer, nor a terminal become ours.
REGULAR = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
# Of private directories: in them lie old versions and parts of objects in directories that not everybody may search.
PRIVATE_MODE = 0o700
# PATH_MAX is 4,096 with the closing NUL; a valid key can need several times that when all of it is escaped.
_PATH_MAX = 4000


def walk_beneath(directory_fd: int, path: bytes, flags: int, mode: int = 0) -> int:
    """As `openat2_beneath`, component by component."""
    *parents, name = path.split(b"/")
    _refuse_dots(parents, name)
    fd = directory_fd
    try:
        for component in parents:
            inner = os.open(
                component, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd
            )
            if fd != directory_fd:
                os.close(fd)
            fd = inner
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=fd)
    finally:
        if fd != directory_fd:
            os.close(fd)


def _refuse_dots(parents: list[bytes], name: bytes) -> None:
    if name in {b"", b".."} or any(component in {b"", b".", b".."} for component in parents):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))


def choose_opener(directory_fd: int) -> Opener:
    """openat2 if this kernel and sandbox let us, else the walk."""
    try:
        os.close(openat2_beneath(directory_fd, b".", DIRECTORY))
    except OSError as error:
        if error.errno in {errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.E2BIG}:
            return walk_beneath
        raise
    return openat2_beneath


def open_beneath(opener: Opener, directory_fd: int, path: bytes, flags: int, mode: int = 0) -> int:
    """Open `path` below `directory_fd` (b"": that directory itself), of any length."""
    if len(path) <= _PATH_MAX:
        return opener(directory_fd, path or b".", flags, mode)
    cut = path.rindex(b"/", 0, _PATH_MAX)
    inner = opener(directory_fd, path[:cut], os.O_PATH | os.O_DIRECTORY, 0)
    try:
        return open_beneath(opener, inner, path[cut + 1 :], flags, mode)
    finally:
        os.close(inner)


def make_directories(
    opener: Opener, directory_fd: int, path: bytes, *, private: bool = False
) -> int:
    """Open the directory `path`, making what is missing on the way. NotADirectoryError if something else is in the way.

    Private directories are the appliance's own, and for nobody else; others those of the caller that it works for.

    A concurrent delete may prune a directory between our making it and stepping into it: the caller retries on FileNotFoundError.
    """
    try:
        return open_beneath(opener, directory_fd, path, DIRECTORY)
    except FileNotFoundError:
        pass
    fd = os.dup(directory_fd)
    try:
        for component in path.split(b"/"):
            fd = _step(opener, fd, component, private=private)
    except BaseException:
        os.close(fd)
        raise
    return fd


def whose_tree(path: bytes) -> Callable[[], AbstractContextManager[None]]:
    """In which state of the thread directories at `path` are removed: private ones are the appliance's."""
    return contextlib.nullcontext if path.split(b"/", 1)[0] == RESERVED else plainly


def _step(opener: Opener, fd: int, component: bytes, *, private: bool) -> int:
    """Into a sub-directory, made if it is missing; closes `fd` on success."""
    try:
        inner = opener(fd, component, DIRECTORY, 0)
    except FileNotFoundError:
        whose = contextlib.nullcontext if private else plainly
        with contextlib.suppress(FileExistsError), whose():
            os.mkdir(component, PRIVATE_MODE if private else 0o777, dir_fd=fd)
        inner = opener(fd, component, DIRECTORY, 0)
    os.close(fd)
    return inner


class Anchors:
    """Opens many paths of one tree that lie near each other, however deep: keeps every 16th directory on the way to the last one open.

    A key can lead a thousand directories down; going there anew for each of them would take a thousand times as many look-ups.
    """

    _STEP = 16

    def __init__(self, opener: Opener, top: int) -> None:
        self._opener = opener
        self._top = top
        self._kept: list[
            tuple[bytes, int]
        ] = []  # (path with "/" at its end, descriptor), outermost first

    def open(self, path: bytes, flags: int) -> int:
        """As `open_beneath`."""
        while self._kept and not path.startswith(self._kept[-1][0]):
            os.close(self._kept.pop()[1])
        reached, fd = self._kept[-1] if self._kept else (b"", self._top)
        rest = path[len(reached) :]
        while rest.count(b"/") > self._STEP:
            head = b"/".join(rest.split(b"/", self._STEP)[: self._STEP])
            fd = open_beneath(self._opener, fd, head, os.O_PATH | os.O_DIRECTORY)
            reached += head + b"/"
            self._kept.append((reached, fd))
            rest = path[len(reached) :]
        return open_beneath(self._opener, fd, rest, flags)

    def close(self) -> None:
        while self._kept:
            os.close(self._kept.pop()[1])
