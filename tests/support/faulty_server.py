"""An HTTP server that answers as it is told: one prepared answer a request, in order, then the last one again; answers may be wrong in any way.

An answer is the bytes to send, after which the connection is closed; `RESET` resets it, `HANG` never answers, and an answer
with `HANG` behind it is left open.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator, Sequence

RESET = b"reset"
HANG = b"hang"


def answer(status: int, body: bytes = b"", *, length: int | None = None, **headers: str) -> bytes:
    """An HTTP answer; `length` lies about that of the body. Header names have `_` for `-`."""
    lines = [f"HTTP/1.1 {status} Whatever"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


def error(status: int, code: str) -> bytes:
    """S3's XML error."""
    text = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>said so</Message></Error>'
    return answer(status, text.encode(), Content_Type="application/xml")


class FaultyServer:
    """`requests`: the heads of the requests received so far."""

    def __init__(self, listener: socket.socket, answers: Sequence[bytes]) -> None:
        self._listener = listener
        self._answers = list(answers)
        self._hanging: list[socket.socket] = []
        self._lock = threading.Lock()
        self.requests: list[str] = []
        self.bodies: list[bytes] = []
        self.endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # closed
            try:
                self._serve_one(connection)
            except OSError:
                connection.close()  # the client has gone

    def _serve_one(self, connection: socket.socket) -> None:
        head, body = self._receive(connection)
        self.requests.append(head)
        self.bodies.append(body)
        chosen = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if chosen.endswith(HANG):
            connection.sendall(chosen.removesuffix(HANG))
            self._hanging.append(connection)
            return
        if chosen == RESET:
            # Linger of 0 s: closing resets.
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        else:
            connection.sendall(chosen)
        connection.close()

    def _receive(self, connection: socket.socket) -> tuple[str, bytes]:
        """Head and as much of the body as comes."""
        data = b""
        while b"\r\n\r\n" not in data and (more := connection.recv(65536)):
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = 0
        for line in head.decode().lower().split("\r\n"):
            if line.startswith("content-length:"):
                length = int(line.partition(":")[2])
        if b"100-continue" in head:
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        while len(body) < length and (more := connection.recv(65536)):
            body += more
        return head.decode(), body

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._hanging:
            connection.close()


@contextlib.contextmanager
def faulty_server(*answers: bytes) -> Iterator[FaultyServer]:
    """A server on the loopback interface while the block runs."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = FaultyServer(listener, answers)
        thread = threading.Thread(target=server.serve)
        thread.start()
        try:
            yield server
        finally:
            server.close()
            thread.join()
