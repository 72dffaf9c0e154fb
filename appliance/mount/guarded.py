"""`Guarded`: the parent's side of `guard`, and the record from which the next start knows whose mount it finds.

The record names the mount (see `guard.Identity`) and the process that serves it (pid, start time, boot). Should process and guard both be
killed, the next start ends a mount that is stuck without touching it: a mount whose process has gone answers nobody, and asking it could
hang.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import subprocess
import sys

import msgspec

from appliance.mount import guard
from appliance.mount.guard import Identity

log = logging.getLogger(__name__)

END_TIMEOUT_S = 10.0
RECORD = "mount.json"
RECORD_BYTES_MAX = 1 << 16


class Record(msgspec.Struct, frozen=True):
    """A mount and its process. `started`: in clock ticks since boot (proc(5), /proc/PID/stat, field 22)."""

    path: str
    mount_id: int
    unique: bool
    minor: int
    pid: int
    started: int
    boot_id: str

    @property
    def identity(self) -> Identity:
        return Identity(self.mount_id, self.unique, self.minor)


class Guarded:
    """The guard of the mount at `path`, which has just been made by this process. Construct it in the main thread: its end is what the
    guard waits for.
    """

    def __init__(self, path: str, staging: str) -> None:
        self._path = path
        self._record = os.path.join(staging, RECORD)
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-E", guard.__file__, path, str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd="/",
                env={"PATH": os.environ.get("PATH", os.defpath)},
                start_new_session=True,
            )
        except OSError as error:
            log.warning("There is no guard for the mount, as it could not be started: %s", error)

    @property
    def pid(self) -> int:
        """0 if there is none."""
        return 0 if self._process is None else self._process.pid

    def ready(self) -> None:
        """Return when it watches, and the record is written. Blocks, for a thread; never for what the mount must answer."""
        if self._process is None or self._process.stdout is None:
            return
        with self._process.stdout as pipe:
            line = pipe.readline()
        try:
            mount_id, unique, minor = map(int, line.split())
            write_record(self._record, self._path, Identity(mount_id, bool(unique), minor))
        except (ValueError, OSError) as error:
            log.warning("Should this process be killed, its mount may stay, unguarded: %s", error)

    def end(self) -> None:
        """Have the guard end the mount, and itself. Blocks until it has, which takes milliseconds: it needs nothing of this process."""
        process = self._process
        if process is not None:
            self._process = None
            try:
                process.communicate(b"\n", END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                log.warning("The guard of the mount at %s does not end: killing it.", self._path)
                process.kill()
                process.wait()
        with contextlib.suppress(OSError):
            os.unlink(self._record)


def write_record(file: str, path: str, identity: Identity) -> None:
    pid = os.getpid()
    record = Record(path, *identity, pid, started(pid) or 0, _boot_id())
    with open(file + ".new", "wb") as out:
        out.write(msgspec.json.encode(record))
    os.replace(file + ".new", file)


def end_former_mount(staging: str) -> None:
    """End the mount that a former process with this staging directory left, if it and its guard were killed. Never blocks on a mount.

    To be called before anything that the former process may still hold: stuck, it keeps its locks and ports until its mount ends. Other
    mounts than that very one are left alone, see `_is_certain`.
    """
    file = os.path.join(staging, RECORD)
    try:
        with open(file, "rb") as source:
            record = msgspec.json.decode(source.read(RECORD_BYTES_MAX), type=Record)
    except FileNotFoundError:
        return
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        log.warning("%s is not readable: %s", file, error)
        return
    if is_alive(record):
        return
    if record.boot_id == _boot_id() and _is_certain(record):
        _end(record)
    with contextlib.suppress(OSError):
        os.unlink(file)


def _is_certain(record: Record) -> bool:
    """Whether a mount with this identity cannot be another's by now.

    Its id may be one that is never used again. If not, device numbers are used again only after the former mount is gone, which a thread
    that is stuck in it prevents. A mount that nothing is stuck in needs no certainty: asked, it says that it is dead.
    """
    return record.unique or _is_stuck(record)


def _is_stuck(record: Record) -> bool:
    """Whether the process was killed, and has threads that cannot die."""
    try:
        threads = os.listdir(f"/proc/{record.pid}/task")
    except OSError:
        return False
    return len(threads) > 1 and _state(record.pid) == ("Z", record.started)


def _end(record: Record) -> None:
    try:
        found = guard.end_mount(record.path, record.identity)
    except OSError as error:
        log.warning("%s could not be unmounted: %s", record.path, error)
        return
    if found:
        log.warning("%s is still mounted from a process that died: unmounted.", record.path)
    elif _is_stuck(record):
        log.warning("Process %d is stuck in its mount, which was detached: ended.", record.pid)
        guard.abort(record.minor)
    else:
        return
    _wait_for_exit(record)


def _wait_for_exit(record: Record) -> None:
    """Wait until the process has ended with all its threads, a bounded time."""
    try:
        fd = os.pidfd_open(record.pid)
    except OSError:
        return
    try:
        # Else the number is another's by now.
        if _state(record.pid)[1] == record.started:
            select.select([fd], [], [], END_TIMEOUT_S)
    finally:
        os.close(fd)


def is_alive(record: Record) -> bool:
    """True while the main thread of the process that wrote `record` lives."""
    return record.boot_id == _boot_id() and started(record.pid) == record.started


def started(pid: int) -> int | None:
    """When `pid` was started, in clock ticks since boot; None if its main thread has ended."""
    state, ticks = _state(pid)
    return None if state in {"", "Z", "X"} else ticks


def _state(pid: int) -> tuple[str, int]:
    """State and start time of the main thread; ("", 0) if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The command's name, in parentheses, may hold anything.
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return "", 0
    return fields[0].decode(), int(fields[19])


def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
