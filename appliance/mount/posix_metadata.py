"""mode, uid, gid and mtime of objects, in the user metadata keys of s3fs and rclone.

s3fs writes the mode in decimal with its type bits ("33188"), rclone in octal ("100644", "0100644"); both read "0100644", so that is what is
written here. Times are seconds since the Unix epoch, with or without a fraction; rclone's `--metadata` writes RFC 3339.
"""

from __future__ import annotations

import datetime as dt
import re
import stat

import msgspec

MODE, UID, GID, MTIME = "mode", "uid", "gid", "mtime"
RESERVED = frozenset({MODE, UID, GID, MTIME, "atime", "ctime"})

_SECONDS = re.compile(r"(\d{1,11})(?:\.(\d{1,9})\d*)?\Z")
_ID_MAX = 2**32 - 2


class PosixFacts(msgspec.Struct, frozen=True):
    """What an object's metadata says; None where it is silent or makes no sense. `mode` holds the permission bits only."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    mtime_ns: int | None = None


SILENT = PosixFacts()


def parse(metadata: dict[str, str]) -> PosixFacts:
    """Facts in user metadata. Nonsense is ignored: anybody can write metadata."""
    if not metadata:
        return SILENT
    return PosixFacts(
        parse_mode(metadata.get(MODE, "")),
        _parse_id(metadata.get(UID, "")),
        _parse_id(metadata.get(GID, "")),
        parse_time_ns(metadata.get(MTIME, "")),
    )


def parse_mode(text: str) -> int | None:
    """Permission bits of a mode in any of the notations above."""
    if not text.isascii() or not text.isdigit() or len(text) > 8:
        return None
    octal = not set(text) & {"8", "9"}
    if text.startswith("0"):
        return stat.S_IMODE(int(text, 8)) if octal else None
    decimal = int(text)
    if decimal <= 0o177777 and (stat.S_ISREG(decimal) or stat.S_ISDIR(decimal)):
        return stat.S_IMODE(decimal)
    return stat.S_IMODE(int(text, 8)) if octal else stat.S_IMODE(decimal)


def _parse_id(text: str) -> int | None:
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        return None
    number = int(text)
    return number if number <= _ID_MAX else None


def parse_time_ns(text: str) -> int | None:
    """Nanoseconds since the epoch, of seconds with a fraction or an RFC 3339 time (to the microsecond)."""
    match = _SECONDS.match(text)
    if match is not None:
        seconds, fraction = match.groups()
        return int(seconds) * 10**9 + int((fraction or "").ljust(9, "0"))
    if "T" not in text or len(text) > 40:
        return None
    try:
        moment = dt.datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    microseconds = (moment - epoch) // dt.timedelta(microseconds=1)
    return max(microseconds, 0) * 1000


def format_mode(mode: int, *, directory: bool) -> str:
    return f"0{(stat.S_IFDIR if directory else stat.S_IFREG) | stat.S_IMODE(mode):o}"


def format_time(time_ns: int) -> str:
    seconds, fraction = divmod(max(time_ns, 0), 10**9)
    return f"{seconds}.{fraction:09d}".rstrip("0").rstrip(".")


def user_metadata(metadata: dict[str, str]) -> dict[str, str]:
    """What is the user's own in an object's metadata."""
    return {name: value for name, value in metadata.items() if name not in RESERVED}


def merge(
    metadata: dict[str, str], facts: PosixFacts, *, directory: bool = False
) -> dict[str, str]:
    """`metadata` with what `facts` knows written into it; where it is silent, what was there stays."""
    merged = dict(metadata)
    if facts.mode is not None:
        merged[MODE] = format_mode(facts.mode, directory=directory)
    if facts.uid is not None:
        merged[UID] = str(facts.uid)
    if facts.gid is not None:
        merged[GID] = str(facts.gid)
    if facts.mtime_ns is not None:
        merged[MTIME] = format_time(facts.mtime_ns)
    return merged
