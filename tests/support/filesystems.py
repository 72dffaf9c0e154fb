"""Real filesystems on loop devices, and tmpfs, mounted while a test run needs them."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

# What mkfs wants at least, with room for tests. The image is sparse: it costs what is written.
_MAKE = {
    "ext4": (256 << 20, ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,nodiscard"]),
    "xfs": (512 << 20, ["mkfs.xfs", "-q", "-f", "-m", "reflink=1"]),
    "btrfs": (384 << 20, ["mkfs.btrfs", "-q", "-f"]),
}


@contextlib.contextmanager
def mounted(kind: str, directory: Path, size_bytes: int = 0) -> Iterator[Path]:
    """A fresh filesystem of `kind` ("ext4", "xfs", "btrfs", "tmpfs") below `directory`; gone, with its loop device, afterwards."""
    mountpoint = directory / "mnt"
    mountpoint.mkdir(parents=True)
    if kind == "tmpfs":
        size = size_bytes or 256 << 20
        _run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(mountpoint))
    else:
        default_bytes, make = _MAKE[kind]
        image = directory / "image"
        with image.open("wb") as file:
            os.truncate(file.fileno(), size_bytes or default_bytes)
        _run(*make, str(image))
        # mount sets the loop device up so that it goes with the mount.
        _run("mount", "-o", "loop", "-t", kind, str(image), str(mountpoint))
    try:
        yield mountpoint
    finally:
        _run("umount", str(mountpoint))


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise RuntimeError(f"{argv}: {done.stdout}{done.stderr}")
