"""The processes of a measurement: this product, its peers, an upstream.

Each is started, waited for, pinned and ended here, by its own pid.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

ACCESS_KEY = "BENCHACCESSKEY"
SECRET_KEY = "bench-secret-key-not-a-secret"
SERVER_CORE = "0"
LOAD_CORE = "1" if (os.cpu_count() or 1) > 1 else "0"
_VENV = Path(sys.executable).parent
_START_S = 30.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Server:
    """A running server process and where it listens."""

    process: subprocess.Popen[bytes]
    port: int = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cpu_s(self) -> float:
        """User and system CPU seconds spent so far, all threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def rss_bytes(self) -> int:
        """Resident memory now."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Scene:
    """Everything one row needs; leaving it ends every process and mount that it began."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._exits = contextlib.ExitStack()

    def __enter__(self) -> Scene:
        self.directory.mkdir(parents=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._exits.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def path(self, name: str) -> Path:
        """A fresh directory of the scene."""
        path = self.directory / name
        path.mkdir(parents=True)
        return path

    # --- servers ------------------------------------------------------------

    def appliance(
        self, name: str, url: str, *, mount: Path | None = None, core: str = SERVER_CORE
    ) -> Server:
        """This product in front of `url`, with data of its own."""
        port, admin = free_port(), free_port()
        command = [str(_VENV / "appliance"), "serve", url, "--data", str(self.path(name))]
        command += [
            "--listen",
            f"127.0.0.1:{port}",
            "--admin",
            f"127.0.0.1:{admin}",
            "--log-level",
            "warning",
        ]
        if mount:
            command += ["--mount", str(mount)]
        server = self._start(name, command, port, core)
        if mount:
            self._wait_mounted(mount, server)
        return server

    def rclone_serve(self, name: str, remote: str, *, core: str = SERVER_CORE) -> Server:
        """`rclone serve s3` of a directory or remote, with its VFS cache on where the remote is far."""
        port = free_port()
        command = [str(_VENV / "rclone"), "serve", "s3", remote, "--addr", f"127.0.0.1:{port}"]
        command += ["--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", "--config", self._rclone_config()]
        if ":" in remote:
            command += ["--vfs-cache-mode", "full", "--cache-dir", str(self.path(f"{name}-cache"))]
        return self._start(name, command, port, core)

    def versitygw(self, name: str, directory: Path, *, core: str = SERVER_CORE) -> Server | None:
        """versitygw over a directory of buckets; None where it is not installed. It takes its keys by environment."""
        program = shutil.which("versitygw")
        if program is None:
            return None
        port = free_port()
        command = [program, "--port", f"127.0.0.1:{port}", "posix", str(directory)]
        return self._start(name, command, port, core)

    def rclone_mount(
        self, name: str, remote: str, mount: Path, *, core: str = SERVER_CORE
    ) -> Server:
        """`rclone mount --vfs-cache-mode full`."""
        command = [
            str(_VENV / "rclone"),
            "mount",
            remote,
            str(mount),
            "--config",
            self._rclone_config(),
        ]
        command += ["--vfs-cache-mode", "full", "--cache-dir", str(self.path(f"{name}-cache"))]
        server = self._start(name, command, 0, core)
        self._wait_mounted(mount, server)
        return server

    def s3fs(self, name: str, bucket: str, upstream: Server, mount: Path) -> Server:
        """`s3fs -o use_cache` of one bucket."""
        secret = self.directory / "s3fs.passwd"
        secret.write_text(f"{ACCESS_KEY}:{SECRET_KEY}")
        secret.chmod(0o600)
        options = f"use_cache={self.path(f'{name}-cache')},url={upstream.endpoint},use_path_request_style,passwd_file={secret}"
        server = self._start(
            name, ["s3fs", bucket, str(mount), "-f", "-o", options], 0, SERVER_CORE
        )
        self._wait_mounted(mount, server)
        return server

    def upstream(self, directory: Path) -> Server:
        """An S3 server over `directory` for all sides: another node, which is fast enough not to be what is measured."""
        name = f"upstream-{directory.name}"
        return self.appliance(name, f"posix://{directory}", core=LOAD_CORE)

    def upstream_url(self, upstream: Server) -> str:
        """The product's backend URL for an upstream; credentials come from the environment."""
        return f"s3://?endpoint_url={upstream.endpoint}&region=us-east-1"

    def rclone_remote(self, upstream: Server) -> str:
        """rclone's name for an upstream; written to its configuration here."""
        config = self.directory / "rclone.conf"
        config.write_text(
            f"[up]\ntype = s3\nprovider = Other\nendpoint = {upstream.endpoint}\n"
            f"access_key_id = {ACCESS_KEY}\nsecret_access_key = {SECRET_KEY}\nregion = us-east-1\nforce_path_style = true\n"
        )
        return "up:"

    def stop(self, server: Server) -> None:
        """End a server now, gracefully."""
        server.process.terminate()
        server.process.wait(60)

    # --- inner ------------------------------------------------------------------

    def _rclone_config(self) -> str:
        config = self.directory / "rclone.conf"
        config.touch()
        return str(config)

    def _start(self, name: str, command: Sequence[str], port: int, core: str) -> Server:
        log = self._exits.enter_context((self.directory / f"{name}.log").open("wb"))
        environment = {
            **os.environ,
            "APPLIANCE_ACCESS_KEY": ACCESS_KEY,
            "APPLIANCE_SECRET_KEY": SECRET_KEY,
            "ROOT_ACCESS_KEY": ACCESS_KEY,  # versitygw's names
            "ROOT_SECRET_KEY": SECRET_KEY,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        }
        process = subprocess.Popen(
            ["taskset", "-c", core, *command], stdout=log, stderr=log, env=environment
        )
        server = Server(process, port)
        self._exits.callback(self._end, process)
        if port:
            self._wait_listening(server, name)
        return server

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _attempts(self, server: Server) -> Iterator[None]:
        end = time.monotonic() + _START_S
        while time.monotonic() < end:
            if server.process.poll() is not None:
                break
            yield
            time.sleep(0.05)
        logs = "\n".join(path.read_text()[-2000:] for path in self.directory.glob("*.log"))
        raise RuntimeError(f"{server.process.args!r} did not come up:\n{logs}")

    def _wait_listening(self, server: Server, name: str) -> None:
        for _ in self._attempts(server):
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", server.port), 1),
            ):
                return

    def _wait_mounted(self, mount: Path, server: Server) -> None:
        self._exits.callback(
            subprocess.run, ["umount", "-l", str(mount)], check=False, stderr=subprocess.DEVNULL
        )
        for _ in self._attempts(server):
            if os.path.ismount(mount):
                return
