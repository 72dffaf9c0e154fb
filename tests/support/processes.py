"""Servers as child processes: started quietly, ready when they say so on a socket, and gone when the test run is, however it ends."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0


def free_ports(count: int) -> list[int]:
    """Different TCP ports of the loopback interface that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Server:
    """A child process that serves. Its output goes to `log`."""

    def __init__(
        self, argv: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            # setpriv: the kernel ends the server should the test run be killed before it can.
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_until(self, ready: Callable[[], bool], what: str) -> None:
        """Return once `ready()`; fail, with the end of the log, when the process ends or `READY_TIMEOUT_S` have gone."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                tail = self.log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"No {what} (exit status {self.process.returncode}): {tail}")
            # A port that is not open yet cannot be waited on; the end of the process can, and cuts the wait short.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.02)

    def wait_for_port(self, port: int) -> None:
        self.wait_until(lambda: accepts(port), f"listener on port {port}")

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for one that does not go."""
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(STOP_TIMEOUT_S)


def accepts(port: int) -> bool:
    """Whether something listens on this port of the loopback interface."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def running(
    argv: Sequence[str], log: Path, port: int, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """A server while the block runs, from when it listens on `port`."""
    server = Server(argv, log, environment)
    try:
        server.wait_for_port(port)
        yield server
    finally:
        server.stop()
