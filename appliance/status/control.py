"""The control socket: how a command of the operator reaches the node that runs on a data directory.

A Unix socket in the data directory, for the node's own user and root only: the file's mode says so, and the kernel tells who is at the
other end (SO_PEERCRED). The admin listener is TCP, which anybody on the machine can reach, and serves pages only; what changes a node comes
through here. One request a connection: a line that says what it is about and, after a space, a value in JSON; a line of JSON comes back.
A socket that is left from a process that died is replaced: whoever serves here holds the journal's lock.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import trio

NAME = "control.sock"
REQUEST_BYTES_MAX = 64 * 1024
_TIMEOUT_S = 30.0
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid (unix(7))

# From the value of a request to that of the answer. Raises nothing.
Respond = Callable[[bytes], Awaitable[bytes]]
Topics = Mapping[str, Respond]


@contextlib.contextmanager
def address(directory: Path) -> Iterator[str]:
    """A name for the socket in `directory` that is short enough for the kernel (108 bytes), however long the directory's is."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{NAME}"
    finally:
        os.close(fd)


async def serve(
    directory: Path,
    topics: Topics,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer until cancelled. Raises OSError if the socket cannot be made."""
    listener = _listen(directory)
    try:
        async with trio.open_nursery() as nursery:

            async def one(stream: trio.SocketStream) -> None:
                await _answer(stream, topics)

            await nursery.start(trio.serve_listeners, one, [listener])
            task_status.started()
    finally:
        (directory / NAME).unlink(missing_ok=True)


def _listen(directory: Path) -> trio.SocketListener:
    (directory / NAME).unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # The mode that the file gets; before bind, so that there is no moment of another one.
        os.fchmod(sock.fileno(), 0o600)
        with address(directory) as name:
            sock.bind(name)
        sock.listen(16)
    except BaseException:
        sock.close()
        raise
    return trio.SocketListener(trio.socket.from_stdlib_socket(sock))


async def _answer(stream: trio.SocketStream, topics: Topics) -> None:
    with trio.move_on_after(_TIMEOUT_S), contextlib.suppress(trio.BrokenResourceError):
        async with stream:
            if not _is_allowed(stream):
                return
            topic, _, value = (await _receive_line(stream)).partition(b" ")
            respond = topics.get(topic.decode("latin-1"))
            if respond is not None:
                await stream.send_all(await respond(value) + b"\n")


def _is_allowed(stream: trio.SocketStream) -> bool:
    raw = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    assert isinstance(raw, bytes)  # noqa: S101  # a buffer was asked for
    _, uid, _ = _CREDENTIALS.unpack(raw)
    return uid in {0, os.geteuid()}


async def _receive_line(stream: trio.SocketStream) -> bytes:
    """Without its end; nothing if it does not come, or is too long."""
    received = b""
    while b"\n" not in received:
        if len(received) > REQUEST_BYTES_MAX:
            return b""
        chunk = await stream.receive_some(REQUEST_BYTES_MAX)
        if not chunk:
            return b""
        received += chunk
    return received.partition(b"\n")[0]


def ask(directory: Path, topic: str, value: bytes, timeout_s: float = _TIMEOUT_S) -> bytes | None:
    """Blocking, for the command line: the answer of the node that runs on `directory`; None if none runs.

    Raises OSError: not allowed; or the node does not answer in time (the request may have taken effect then), or does not know the topic.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout_s)
        try:
            with address(directory) as name:
                sock.connect(name)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        sock.sendall(topic.encode() + b" " + value + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            chunk = sock.recv(1 << 16)
            if not chunk:
                raise ConnectionAbortedError("the node ended the connection without an answer")
            answer += chunk
    return answer[:-1]
