"""What the round trips of other people's S3 clients share: their command lines, the keys in their environment, bytes to send."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.node import ACCESS_KEY, SECRET_KEY

# The console scripts of the interpreter that runs the tests.
BIN = Path(sys.executable).parent
MIB = 1 << 20
TIMEOUT_S = 120
KEYS = {
    "AWS_ACCESS_KEY_ID": ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that are nowhere else."""
    return random.Random(seed).randbytes(size)


def attempt(*command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A client's run, whatever became of it. It finds the node's keys in its environment, and a home of its own."""
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        timeout=TIMEOUT_S,
        env={**os.environ, **KEYS, "HOME": str(cwd), **environment},
    )


def run(*command: str, cwd: Path, **environment: str) -> str:
    """Standard output of a client that must succeed."""
    done = attempt(*command, cwd=cwd, **environment)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def fetch(url: str, method: str = "GET", body: bytes | None = None) -> tuple[int, bytes]:
    """Status and body of what a presigned URL answers to a client that knows nothing else."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    with contextlib.closing(connection):
        connection.request(method, url.partition(parts.netloc)[2], body)
        answer = connection.getresponse()
        return answer.status, answer.read()
