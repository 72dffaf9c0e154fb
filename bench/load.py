"""Clients of a measurement: signed requests by wrk and curl, and plain file reads."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from bench.scene import ACCESS_KEY, LOAD_CORE, SECRET_KEY, Server

ROOT = Credentials(ACCESS_KEY, SECRET_KEY)
_EMPTY = hashlib.sha256(b"").hexdigest()
_RATE = re.compile(r"Requests/sec:\s+([\d.]+)")


class _Auth(S3SigV4Auth):
    """Signs whatever hash it was given: S3's own rule for paths, without reading a body."""

    def __init__(self, credentials: Credentials, payload_hash: str) -> None:
        super().__init__(credentials, "s3", "us-east-1")
        self._payload_hash = payload_hash

    def payload(self, request: AWSRequest) -> str:
        return self._payload_hash


def signed_headers(
    method: str, url: str, payload_hash: str = _EMPTY, keys: Credentials = ROOT
) -> dict[str, str]:
    """Headers of a request with an AWS signature in its Authorization header; good for 15 minutes."""
    request = AWSRequest(method=method, url=url)
    _Auth(keys, payload_hash).add_auth(request)
    return dict(request.headers.items())


def wrk(
    server: Server,
    paths: Sequence[str],
    directory: Path,
    *,
    connections: int,
    seconds: int,
    method: str = "GET",
    body: str = "",
    keys: Credentials = ROOT,
) -> float:
    """Requests a second of signed requests for `paths`, in turn, over keep-alive connections. Raises if any answer was an error."""
    digest = hashlib.sha256(body.encode()).hexdigest()
    requests = [
        {"path": path, "headers": signed_headers(method, server.endpoint + path, digest, keys)}
        for path in paths
    ]
    script = directory / f"wrk-{server.port}.lua"
    script.write_text(_lua(method, requests, body))
    command = [
        "taskset",
        "-c",
        LOAD_CORE,
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "-s",
        str(script),
        server.endpoint,
    ]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in output or "Socket errors" in output:
        raise RuntimeError(f"errors under load:\n{output}")
    match = _RATE.search(output)
    if match is None:
        raise RuntimeError(f"no rate in:\n{output}")
    return float(match[1])


def _lua(method: str, requests: Sequence[Mapping[str, Any]], body: str) -> str:
    rows = []
    for request in requests:
        headers = request["headers"]
        fields = ",".join(
            f"[{json.dumps(name)}]={json.dumps(value)}" for name, value in headers.items()
        )
        rows.append(
            f"wrk.format({json.dumps(method)}, {json.dumps(request['path'])}, {{{fields}}}, body)"
        )
    listed = ",\n".join(rows)
    return (
        f"local all\nlocal body = {json.dumps(body) if body else 'nil'}\n"
        f"function init()\nall = {{{listed}}}\nend\n"
        "local n = 0\nfunction request()\nn = n % #all + 1\nreturn all[n]\nend\n"
    )


def curl_get(server: Server, path: str) -> float:
    """Seconds to download one object to nowhere. Raises on any error."""
    return _curl(server, "GET", path, ["-o", "/dev/null"], _EMPTY)


def curl_put(server: Server, path: str, file: Path) -> float:
    """Seconds to upload a file with an unsigned payload."""
    return _curl(
        server,
        "PUT",
        path,
        ["-T", str(file), "-o", "/dev/null", "-H", "Expect:"],
        "UNSIGNED-PAYLOAD",
    )


def _curl(
    server: Server, method: str, path: str, options: Sequence[str], payload_hash: str
) -> float:
    command = curl_command(server, method, path, options, payload_hash)
    begin = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - begin


def curl_command(
    server: Server, method: str, path: str, options: Sequence[str], payload_hash: str = _EMPTY
) -> list[str]:
    """A curl command line for a signed request, on the load's core."""
    url = server.endpoint + path
    command = ["taskset", "-c", LOAD_CORE, "curl", "-sSf", url, *options]
    for name, value in signed_headers(method, url, payload_hash).items():
        command += ["-H", f"{name}: {value}"]
    return command


def read_file(path: Path, *, drop: bool = True) -> float:
    """Seconds to read a file in order, 1 MiB at a time; `drop`: without the kernel's pages of it."""
    descriptor = os.open(path, os.O_RDONLY)
    buffer = bytearray(1 << 20)
    try:
        if drop:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        begin = time.perf_counter()
        while os.readv(descriptor, [buffer]):
            pass
        return time.perf_counter() - begin
    finally:
        os.close(descriptor)


def read_files(paths: Sequence[Path]) -> float:
    """Seconds to open, read up to 64 KiB of, and close each of `paths`."""
    begin = time.perf_counter()
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.read(descriptor, 65536)
        os.close(descriptor)
    return time.perf_counter() - begin
