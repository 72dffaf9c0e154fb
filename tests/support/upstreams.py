"""S3 servers written by others, for our backend to lie in front of: `rclone serve s3` over a directory, and moto."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import Server, free_ports, running

RCLONE_KEYS = ("RCLONEACCESSKEY", "rclone-secret-key-of-a-throw-away-server")
MOTO_KEYS = ("MOTOACCESSKEY", "moto-takes-any-secret-key")
# The console scripts of the interpreter that runs the tests.
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class S3Upstream:
    """An S3 server with its keys. `directory`: where its objects lie as files, if they do."""

    endpoint: str
    access_key: str
    secret_key: str
    server: Server
    directory: Path | None = None


@contextlib.contextmanager
def rclone_server(*flags: str) -> Iterator[S3Upstream]:
    """`rclone serve s3` over a temporary directory while the block runs; it wants signatures made with its keys."""
    root = Path(tempfile.mkdtemp(prefix="appliance-rclone-"))
    directory = root / "buckets"
    directory.mkdir()
    [port] = free_ports(1)
    address = f"127.0.0.1:{port}"
    # Keys by environment: the arguments of a process are for all to see.
    environment = {
        "RCLONE_AUTH_KEY": f'"{",".join(RCLONE_KEYS)}"',
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_CACHE_DIR": str(root / "cache"),
    }
    # A directory cache would show writes late to whoever looks at the directory itself.
    argv = [str(BIN / "rclone"), "serve", "s3", "--addr", address, "--dir-cache-time", "0s"]
    try:
        with running([*argv, *flags, str(directory)], root / "log", port, environment) as server:
            yield S3Upstream(f"http://{address}", *RCLONE_KEYS, server, directory)
    finally:
        shutil.rmtree(root)


@contextlib.contextmanager
def moto_server() -> Iterator[S3Upstream]:
    """moto in server mode while the block runs. It does not check signatures, and keeps everything in memory."""
    root = Path(tempfile.mkdtemp(prefix="appliance-moto-"))
    [port] = free_ports(1)
    argv = [str(BIN / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    try:
        with running(argv, root / "log", port) as server:
            yield S3Upstream(f"http://127.0.0.1:{port}", *MOTO_KEYS, server)
    finally:
        shutil.rmtree(root)
