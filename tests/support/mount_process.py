"""A process with a mount, for tests: `MountProcess` starts it and speaks to it; run as a script this file is the process.

The process mounts an `ObjectCache` over a backend in memory that counts requests and fails on demand. What S3 clients or other nodes would
do, tests ask for through pipes: one JSON object a line, answered by one.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.mounts import force_unmount, guards_of, wait_for_exit

ANSWER_TIMEOUT_S = 60.0
# Exit status of a process that could not mount.
REFUSED = 3


class MountProcess:
    """A mount at `path`, over a backend of its own with the bucket "data". Use as a context manager: it leaves no mount behind."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.path = directory / "mount"
        self.log = directory / "log"
        self._directory = directory
        self._settings = settings
        self.path.mkdir(exist_ok=True)

    def __enter__(self) -> MountProcess:
        self.start()
        return self

    def start(self) -> None:
        """Start the process; returns when the filesystem can be used."""
        self.launch()
        try:
            self._answer()
        except BaseException:
            self.close()
            raise

    def launch(self) -> None:
        """Start the process without waiting for the mount."""
        config = {
            "mount": {"path": str(self.path), "staging": str(self._directory / "staging")},
            "data": str(self._directory / "data"),
        }
        for name, value in self._settings.items():
            config[name] = {**config.get(name, {}), **value} if isinstance(value, dict) else value
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "KILL"),
                    *(sys.executable, "-m", "tests.support.mount_process", json.dumps(config)),
                ],
                cwd=Path(__file__).parents[2],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process, its guard, and whatever they left mounted: first the mount, as the process may be stuck in it."""
        guards = guards_of(self.pid)
        self._process.kill()
        force_unmount(self.path)
        self.end()
        for pid in guards:
            wait_for_exit(pid)

    def end(self) -> None:
        self._process.kill()
        self._process.wait(ANSWER_TIMEOUT_S)
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()

    def terminate(self) -> int:
        """SIGTERM; the exit status, when it has gone."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(ANSWER_TIMEOUT_S)

    def kill(self) -> None:
        """SIGKILL; the guard ends the mount."""
        self.end()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def guard(self) -> int:
        """The pid of the mount's guard."""
        (pid,) = guards_of(self.pid)
        return pid

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        return self._process.wait(ANSWER_TIMEOUT_S)

    # --- the other side of the cache ---------------------------------------------------

    def call(self, operation: str, **arguments: Any) -> Any:
        """Have the process run one of `Remote`'s operations. Raises RemoteError with the domain error's name."""
        self.ask(operation, **arguments)
        return self._answer()

    def ask(self, operation: str, **arguments: Any) -> None:
        """As `call`, without waiting for the answer."""
        request = json.dumps({"operation": operation, "arguments": arguments})
        self._process.stdin.write(request.encode() + b"\n")
        self._process.stdin.flush()

    def _answer(self) -> Any:
        ready, _, _ = select.select([self._process.stdout], [], [], ANSWER_TIMEOUT_S)
        line = self._process.stdout.readline() if ready else b""
        if not line:
            self._process.kill()
            raise RuntimeError(f"no answer from the mount: {self.log.read_text()[-3000:]}")
        answer = json.loads(line)
        if "error" in answer:
            raise RemoteError(answer["error"])
        return answer["result"]

    def put(self, key: str, data: bytes, bucket: str = "data", **options: Any) -> dict[str, Any]:
        return self.call(
            "put", bucket=bucket, key=key, data=base64.b64encode(data).decode(), options=options
        )

    def get(self, key: str, bucket: str = "data") -> bytes:
        return base64.b64decode(self.call("get", bucket=bucket, key=key))

    def head(self, key: str, bucket: str = "data") -> dict[str, Any]:
        return self.call("head", bucket=bucket, key=key)

    def delete(self, key: str, bucket: str = "data") -> None:
        self.call("delete", bucket=bucket, key=key)

    def listed(self, bucket: str = "data") -> list[str]:
        return self.call("keys", bucket=bucket)

    def requests(self) -> dict[str, int]:
        """How often the backend was asked what since this was last called."""
        return self.call("requests")


class RemoteError(Exception):
    """The process answered with a domain error, whose class name this carries."""


# --- the process --------------------------------------------------------------------------


def main() -> None:
    import trio

    config = json.loads(sys.argv[1])
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    logging.getLogger("pyfuse3").setLevel(logging.WARNING)
    sys.exit(trio.run(_run, config))


async def _run(config: dict[str, Any]) -> int:
    import trio

    from appliance.model.errors import MountError
    from appliance.mount import Mount, MountSettings, end_former_mount
    from tests.support.mount_remote import Remote, stack

    end_former_mount(config["mount"]["staging"])
    async with stack(config) as (cache, world, backend):
        mount = Mount(cache, world, MountSettings(**config["mount"]))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_until_terminated, nursery.cancel_scope, backend)
            try:
                await nursery.start(mount.serve)
            except MountError as error:
                _say({"error": str(error)})
                nursery.cancel_scope.cancel()
                return REFUSED
            _say({"result": "mounted"})
            remote = Remote(cache, mount, backend)
            await _serve(remote)
    return 0


async def _until_terminated(scope: Any, backend: Any) -> None:
    """On SIGTERM stop serving; requests that were held go on."""
    import trio

    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()
            if backend.held is not None:
                backend.held.set()
            return


async def _serve(remote: Any) -> None:
    import trio

    stdin = trio.lowlevel.FdStream(os.dup(0))
    pending = b""
    async for data in stdin:
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            request = json.loads(line)
            try:
                result = await getattr(remote, request["operation"])(**request["arguments"])
                _say({"result": result})
            except Exception as error:  # noqa: BLE001  # whatever it is, the test wants to know
                _say({"error": f"{type(error).__name__}: {error}"})


def _say(message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
