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
    if kind == "tmpfs":
        with _mount(
            directory / "mnt", "-t", "tmpfs", "-o", f"size={size_bytes or 1 << 30}"
        ) as path:
            yield path
        return
    default_bytes, make = _MAKE[kind]
    # The image lies in memory: the filesystem is the real one, and its fsyncs do not wait for the disk below.
    with _mount(directory / "memory", "-t", "tmpfs", "-o", "size=2G") as memory:
        image = memory / "image"
        with image.open("wb") as file:
            os.truncate(file.fileno(), size_bytes or default_bytes)
        _run(*make, str(image))
        # mount sets the loop device up so that it goes with the mount.
        with _mount(directory / "mnt", "-o", "loop", "-t", kind, source=str(image)) as path:
            yield path


@contextlib.contextmanager
def _mount(mountpoint: Path, *options: str, source: str = "tmpfs") -> Iterator[Path]:
    mountpoint.mkdir(parents=True)
    _run("mount", *options, source, str(mountpoint))
    try:
        yield mountpoint
    finally:
        _run("umount", str(mountpoint))


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise RuntimeError(f"{argv}: {done.stdout}{done.stderr}")
