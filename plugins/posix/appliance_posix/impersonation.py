"""One thread at a time as another user: file-system user and group ids, supplementary groups and capabilities are each thread's own.

Two states of a thread that works for a caller (`acting_for`):

    as the appliance     for its own directories, which are nobody else's, and for what has been checked; what it makes it gives to the
                         caller
    as the caller        `plainly()`: for checks, and for making directories; the kernel, or the server of a network filesystem, decides as
                         it would for a shell of that user: by ACLs, groups and whatever else counts there

Nothing in between: a thread with the caller's ids and some of root's rights would do on local filesystems, but the server of a network
filesystem sees the ids only. Every state is left as it was entered, whatever happens; a thread that cannot get its own rights back would do
the next request's work with the wrong ones, so then the process ends.

setfsuid(2), setfsgid(2), capset(2) change the calling thread. setgroups(3) of glibc changes all threads, so the system call is used.
Capabilities are set last: setfsuid drops and raises some by itself (capabilities(7)). Who works for a caller has no CAP_SYS_RESOURCE in
either state: with it, quotas would not hold for what is written for the caller.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
import os
import platform
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, ParamSpec, TypeVar

from appliance.model.errors import AccessDeniedError
from appliance.plugin import CALLER, Caller, Host

P = ParamSpec("P")
T = TypeVar("T")
_LOG = logging.getLogger("appliance.backend.posix")

# <asm/unistd.h>: a number of its own on each architecture.
_SYS_SETGROUPS = {"x86_64": 116, "aarch64": 159, "riscv64": 159, "ppc64le": 81, "s390x": 206}
_CHOWN, _SETGID, _SETUID, _SYS_RESOURCE = 1 << 0, 1 << 6, 1 << 7, 1 << 24
# CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID, LINUX_IMMUTABLE, MKNOD, MAC_OVERRIDE: what setfsuid(2) drops.
_FILES = 0b11111 | 1 << 9 | 1 << 27 | 1 << 32
_CAPABILITY_VERSION_3 = 0x20080522
_NO_ID = ctypes.c_uint(0xFFFFFFFF)

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
    """`caller`: for whom this thread works. `rights`: what it is now; None: as it was started."""

    caller: Caller | None = None
    rights: Rights | None = None


_state = _State()
_own: Rights | None = None


def own_rights() -> Rights:
    """The appliance's; read once, by a thread that is as it was started."""
    global _own  # noqa: PLW0603  # a fact about the process
    if _own is None:
        _own = rights()
    return _own


def is_possible() -> bool:
    """Whether this process may act as others at all, and give them files."""
    wanted = _CHOWN | _SETUID | _SETGID
    return own_rights().effective & wanted == wanted and platform.machine() in _SYS_SETGROUPS


@contextlib.contextmanager
def acting_for(caller: Caller) -> Iterator[None]:
    """This thread works for `caller`, as the appliance. Raises AccessDeniedError where the appliance may not act as others."""
    if not is_possible():
        _LOG.warning(
            "the appliance may not act as user %d: run it as root, or with CAP_SETUID, CAP_SETGID and CAP_CHOWN on a known machine",
            caller.uid,
        )
        raise AccessDeniedError("The appliance may not act as this account's user.")
    own = own_rights()
    before = _state.caller
    with _being(own._replace(effective=own.effective & ~_SYS_RESOURCE)):
        _state.caller = caller
        try:
            yield
        finally:
            _state.caller = before


@contextlib.contextmanager
def plainly() -> Iterator[None]:
    """As the caller that this thread works for, and nothing more. Without a caller: nothing."""
    caller = _state.caller
    if caller is None:
        yield
        return
    effective = own_rights().effective & ~_SYS_RESOURCE
    if caller.uid:
        effective &= ~_FILES
    with _being(Rights(caller.uid, caller.gids[0], caller.gids, effective)):
        yield


def caller() -> Caller | None:
    """For whom this thread works; None: for the appliance itself."""
    return _state.caller


def give_to_caller(fd: int) -> None:
    """A file that was just made, and has no name yet, becomes the caller's."""
    caller = _state.caller
    if caller is not None:
        os.fchown(fd, caller.uid, caller.gids[0])


@contextlib.contextmanager
def _being(wanted: Rights) -> Iterator[None]:
    before = _state.rights or own_rights()
    try:
        _become(wanted, before)
        _state.rights = wanted
        yield
    finally:
        # If becoming failed half way, the way back is the same: it sets all that differs between the two.
        _return_to(before, wanted)


def _return_to(before: Rights, wanted: Rights) -> None:
    try:
        _become(before, wanted)
        _state.rights = before
    except BaseException:  # noqa: BLE001  # see the module
        _LOG.critical("a thread could not get its own rights back: the process ends")
        os.abort()


def _become(wanted: Rights, now: Rights) -> None:
    """From what this thread is to what it shall be. Raises OSError if the kernel does not let us, or did something else."""
    if wanted[:3] != now[:3]:
        # CAP_SETUID and CAP_SETGID are there in every state.
        groups = wanted.groups
        array = (ctypes.c_uint32 * len(groups))(*groups)
        number = ctypes.c_long(_SYS_SETGROUPS[platform.machine()])
        if _libc.syscall(number, ctypes.c_size_t(len(groups)), array) != 0:
            _raise_errno("setgroups")
        _libc.setfsgid(ctypes.c_uint(wanted.gid))
        _libc.setfsuid(ctypes.c_uint(wanted.uid))
        # These two tell nobody that they failed.
        if _ids() != (wanted.uid, wanted.gid):
            raise PermissionError(f"the thread is user and group {_ids()}")
    elif wanted == now:
        return
    _set_effective(wanted.effective)


def _ids() -> tuple[int, int]:
    """fsuid and fsgid: an id that is none changes nothing and returns the current one."""
    return _libc.setfsuid(_NO_ID), _libc.setfsgid(_NO_ID)


@functools.cache
def _kept_capabilities() -> tuple[int, int]:
    """Permitted and inheritable ones, which are never changed."""
    return _capabilities()[1:]


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


@functools.lru_cache(maxsize=16)
def _request(effective: int) -> Any:
    """capset(2)'s argument; there are few different ones, and they are read only."""
    permitted, inheritable = _kept_capabilities()
    sets = (effective, permitted, inheritable)
    return (_Half * 2)(
        *(_Half(*(number >> shift & 0xFFFFFFFF for number in sets)) for shift in (0, 32))
    )


def _set_effective(effective: int) -> None:
    header = _Header(_CAPABILITY_VERSION_3, 0)
    if _libc.capset(ctypes.byref(header), _request(effective)) != 0:
        _raise_errno("capset")


def _raise_errno(call: str) -> None:
    code = ctypes.get_errno()
    raise OSError(code, f"{call}: {os.strerror(code)}")


# --- threads of an operation ---------------------------------------------------------------------


class ActingHost:
    """The host of a backend whose functions in threads run as the caller of the task that asks for them, if it has one."""

    def __init__(self, host: Host) -> None:
        self.logger = host.logger
        self.now_ns = host.now_ns
        self.boot_s = host.boot_s
        self.token_bytes = host.token_bytes
        self.random = host.random
        self._host = host

    async def run_blocking(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """See `appliance.plugin.Host`. Raises AccessDeniedError where the appliance may not act as this caller."""
        caller = CALLER.get()
        if caller is None:
            return await self._host.run_blocking(function, *args, **kwargs)
        call = functools.partial(function, *args, **kwargs)
        return await self._host.run_blocking(in_name_of, caller, call)


def in_name_of(caller: Caller, function: Callable[[], T]) -> T:
    """Call it for `caller`: the first thing in a worker thread."""
    with acting_for(caller):
        return function()
