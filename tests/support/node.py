"""A real node: `appliance serve` as a child process, with its S3 client, its mount and its numbers at hand."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from tests.support.processes import Server, free_ports

ACCESS_KEY = "NODEACCESSKEY"
SECRET_KEY = "node-secret-key-of-a-throw-away-node"
APPLIANCE = Path(sys.executable).parent / "appliance"


class Node:
    """Starts on construction and after `stop` or `kill` again by `start`, on the same ports and data."""

    def __init__(
        self,
        directory: Path,
        url: str,
        *,
        mount: bool = False,
        config: str = "",
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        launcher: Sequence[str] = (),
    ) -> None:
        """`launcher` is a command that runs the one after it."""
        self.directory = directory
        self.data = directory / "data"
        self.mount = directory / "mount" if mount else None
        self.port, self.admin_port = free_ports(2)
        file = directory / "appliance.toml"
        directory.mkdir(parents=True, exist_ok=True)
        file.write_text(config)
        self._argv = [*launcher, str(APPLIANCE), "serve", url, "--config", str(file)]
        self._argv += [
            "--data",
            str(self.data),
            "--listen",
            f"127.0.0.1:{self.port}",
            "--admin",
            f"127.0.0.1:{self.admin_port}",
        ]
        if self.mount:
            self.mount.mkdir(exist_ok=True)
            self._argv += ["--mount", str(self.mount)]
        self._argv += options
        self._environment = {
            "APPLIANCE_ACCESS_KEY": ACCESS_KEY,
            "APPLIANCE_SECRET_KEY": SECRET_KEY,
            **(environment or {}),
        }
        self.start()

    # --- life ----------------------------------------------------------------

    def start(self) -> None:
        """Return once the node says that it is ready."""
        self.server = Server(self._argv, self.directory / "log", self._environment)
        self.server.wait_until(self._ready, "ready node")
        config = Config(
            s3={"addressing_style": "path"},
            signature_version="s3v4",
            retries={"max_attempts": 1, "mode": "standard"},
            connect_timeout=10,
            read_timeout=60,
        )
        self.s3 = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=config,
        )

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.server.process.send_signal(signal.SIGTERM)
        return self.server.process.wait(60)

    def kill(self) -> None:
        """SIGKILL; the mount it leaves is for the next start to clean."""
        self.server.kill()

    def close(self) -> None:
        """End it whatever its state, and leave no mount."""
        if self.server.process.poll() is None:
            self.server.stop()
        # Not by `ismount`: of a mount whose process died, stat tells nothing.
        if self.mount and f" {self.mount} " in Path("/proc/self/mountinfo").read_text():
            subprocess.run(["umount", "-l", str(self.mount)], check=False)
        self.s3.close()

    # --- asking -----------------------------------------------------------------

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    def add_account(self, name: str, role: str = "user") -> dict[str, str]:
        """What `appliance accounts add` says: access_key, secret_key, account_id ..."""
        argv = [str(APPLIANCE), "accounts", "add", name, "--role", role, "--json"]
        argv += ["--config", str(self.directory / "appliance.toml"), "--data", str(self.data)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        issued: dict[str, str] = json.loads(done.stdout)
        return issued

    def admin(self, path: str) -> tuple[int, str]:
        """Status and text of a page of the admin listener."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def statistics(self) -> dict[str, Any]:
        """Numbers by part, from /status."""
        parts: dict[str, Any] = json.loads(self.admin("/status")[1])["parts"]
        return parts

    def _ready(self) -> bool:
        try:
            return self.admin("/readyz")[0] == 200
        except OSError:
            return False

    # --- S3, in short ---------------------------------------------------------------

    def put(self, bucket: str, key: str, body: bytes, **options: Any) -> str:
        """The new ETag, without quotes."""
        return str(self.s3.put_object(Bucket=bucket, Key=key, Body=body, **options)["ETag"]).strip(
            '"'
        )

    def get(self, bucket: str, key: str, **options: Any) -> bytes:
        """All bytes."""
        with self.s3.get_object(Bucket=bucket, Key=key, **options)["Body"] as body:
            return bytes(body.read())

    def keys(self, bucket: str) -> list[str]:
        """All keys."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [item["Key"] for page in pages for item in page.get("Contents", ())]
