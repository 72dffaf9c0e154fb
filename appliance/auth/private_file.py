"""Small files that hold secrets: made once, never seen half, readable by their owner only."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from appliance.model.errors import ConfigError

BYTES_MAX = 4096


def publish(path: Path, content: bytes, token_bytes: Callable[[int], bytes]) -> bool:
    """Write `content` to `path` unless that exists. True if this call did.

    The file is written under a temporary name with mode 0600 from its first byte, fsynced, and linked into place: of two processes
    that start at once one wins, and both go on with the winner's. Raises OSError.
    """
    temporary = path.with_name(f".{path.name}.{token_bytes(8).hex()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return True


def read(path: Path) -> bytes:
    """At most `BYTES_MAX` bytes. Raises ConfigError: unreadable, or open to others."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(BYTES_MAX)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from error
    if mode & 0o077:
        raise ConfigError(f"{path}: others may read it (mode {mode & 0o777:o}); run chmod 600.")
    return content
