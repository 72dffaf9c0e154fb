"""One thread at a time as another user: file-system user and group ids, supplementary groups and capabilities are each thread's own.

Three states of a thread:

    as the appliance            as it was started; the only state between two functions
    as a caller, privileged     what is made belongs to the caller, but no permission is checked: for the appliance's own directories
    as a caller, plainly        the kernel decides as it would for a shell of that user: `plainly()`, around checks

A function runs in the second state and goes through the third wherever users' files and directories are concerned. The kernel checks with
the real thing (ACLs, groups, what a file server thinks), never we. Every state is left as it was entered, whatever happens; a thread that
cannot get its own rights back would do the next request's work with the wrong ones, so then the process ends.

setfsuid(2), setfsgid(2), capset(2) change the calling thread. setgroups(3) of glibc changes all threads, so the system call is used.
Capabilities are set last: setfsuid drops and raises some by itself (capabilities(7)). CAP_SYS_RESOURCE goes with them: who has it is not
held to quotas.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import platform
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple, ParamSpec, Protocol, TypeVar

from appliance.model.errors import AccessDeniedError
from appliance.plugin.caller import CALLER, Caller

P = ParamSpec("P")
T = TypeVar("T")
_LOG = logging.getLogger("appliance.backend.posix")

# <asm/unistd.h>: a number of its own on each architecture.
_SYS_SETGROUPS = {"x86_64": 116, "aarch64": 159, "riscv64": 159, "ppc64le": 81, "s390x": 206}
_SETGID, _SETUID, _SYS_RESOURCE = 1 << 6, 1 << 7, 1 << 24
# CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID, LINUX_IMMUTABLE, MKNOD, MAC_OVERRIDE: what setfsuid(2) drops.
_FILES = 0b11111 | 1 << 9 | 1 << 27 | 1 << 32
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)
_libc.setfsuid.restype = _libc.setfsgid.restype = ctypes.c_uint


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Half(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


class Rights(NamedTuple):
    """Of a thread: what decides about files. `effective` is the set of effective capabilities."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    effective: int


def rights() -> Rights:
    """Of this thread, as the kernel tells them now."""
    none = ctypes.c_uint(
        -1 & 0xFFFFFFFF
    )  # an invalid id changes nothing and returns the current one
    return Rights(
        _libc.setfsuid(none),
        _libc.setfsgid(none),
        tuple(os.getgroups()),
        _capabilities()[0],
    )


class _State(threading.local):
    """What this thread is now, if it is not as the appliance."""

    acting: Rights | None = None


_state = _State()
_own: Rights | None = None


def own_rights() -> Rights:
    """The appliance's; read once, by a thread that is as it was started."""
    global _own  # noqa: PLW0603  # a fact about the process
    if _own is None:
        _own = rights()
    return _own


def is_possible() -> bool:
    """Whether this process may act as others at all."""
    wanted = _SETUID | _SETGID
    return own_rights().effective & wanted == wanted and platform.machine() in _SYS_SETGROUPS


@contextlib.contextmanager
def as_caller(caller: Caller) -> Iterator[None]:
    """This thread as `caller`, privileged. Raises AccessDeniedError where the appliance may not act as others."""
    if not is_possible():
        _LOG.warning(
            "the appliance may not act as user %d: run it as root, or with CAP_SETUID and CAP_SETGID on a known machine",
            caller.uid,
        )
        raise AccessDeniedError("The appliance may not act as this account's user.")
    effective = own_rights().effective & ~_SYS_RESOURCE
    with _acting(Rights(caller.uid, caller.gids[0], caller.gids, effective)):
        yield


@contextlib.contextmanager
def plainly() -> Iterator[None]:
    """Within `as_caller`: with the caller's own rights. Elsewhere: nothing."""
    acting = _state.acting
    if acting is None or acting.uid == 0:
        yield
        return
    with _acting(acting._replace(effective=acting.effective & ~_FILES)):
        yield


@contextlib.contextmanager
def as_appliance() -> Iterator[None]:
    """Within `as_caller`: as the appliance, for what is to be its own. Elsewhere: nothing."""
    if _state.acting is None:
        yield
        return
    with _acting(None):
        yield


def is_acting() -> bool:
    """Whether this thread is a caller now."""
    return _state.acting is not None


@contextlib.contextmanager
def _acting(wanted: Rights | None) -> Iterator[None]:
    before = _state.acting
    try:
        _become(wanted or own_rights())
        _state.acting = wanted
        yield
    finally:
        _return_to(before)


def _return_to(before: Rights | None) -> None:
    try:
        _become(before or own_rights())
        _state.acting = before
    except BaseException:  # noqa: BLE001  # see the module
        _LOG.critical("a thread could not get its own rights back: the process ends")
        os.abort()


def _become(wanted: Rights) -> None:
    """Raises OSError if the kernel does not let us, or did something else."""
    # All there is first: changing ids needs some of it.
    _set_effective(own_rights().effective)
    array = (ctypes.c_uint32 * len(wanted.groups))(*wanted.groups)
    number = ctypes.c_long(_SYS_SETGROUPS[platform.machine()])
    if _libc.syscall(number, ctypes.c_size_t(len(wanted.groups)), array) != 0:
        _raise_errno("setgroups")
    _libc.setfsgid(ctypes.c_uint(wanted.gid))
    _libc.setfsuid(ctypes.c_uint(wanted.uid))
    _set_effective(wanted.effective)
    found = rights()
    # The kernel sorts groups.
    if found._replace(groups=()) != wanted._replace(groups=()) or set(found.groups) != set(
        wanted.groups
    ):
        raise PermissionError(f"the thread has other rights than it should: {found}")


def _capabilities() -> tuple[int, int, int]:
    """Effective, permitted, inheritable."""
    header = _Header(_CAPABILITY_VERSION_3, 0)
    halves = (_Half * 2)()
    if _libc.capget(ctypes.byref(header), halves) != 0:
        _raise_errno("capget")
    low, high = halves[0], halves[1]
    return (
        low.effective | high.effective << 32,
        low.permitted | high.permitted << 32,
        low.inheritable | high.inheritable << 32,
    )


def _set_effective(effective: int) -> None:
    now, permitted, inheritable = _capabilities()
    if now == effective:
        return
    header = _Header(_CAPABILITY_VERSION_3, 0)
    halves = (_Half * 2)(
        *(
            _Half(
                effective >> shift & 0xFFFFFFFF,
                permitted >> shift & 0xFFFFFFFF,
                inheritable >> shift & 0xFFFFFFFF,
            )
            for shift in (0, 32)
        )
    )
    if _libc.capset(ctypes.byref(header), halves) != 0:
        _raise_errno("capset")


def _raise_errno(call: str) -> None:
    code = ctypes.get_errno()
    raise OSError(code, f"{call}: {os.strerror(code)}")


# --- threads of an operation ---------------------------------------------------------------------


class RunsBlocking(Protocol):
    """The part of `appliance.plugin.Host` that hands work to threads."""

    async def run_blocking(
        self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T: ...


def in_callers_name(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call it as the caller of the context, if there is one: the first thing in a worker thread."""
    caller = CALLER.get()
    if caller is None:
        return function(*args, **kwargs)
    with as_caller(caller):
        return function(*args, **kwargs)
