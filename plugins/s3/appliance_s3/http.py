"""Requests without a body, over kept connections, and their answers: blocking, for worker threads.

A small GET costs 50 us of CPU here and 270 us through urllib3; a large body goes from the socket into the caller's buffer, without a bytes
object a piece. Only what answers to GET and HEAD need: no redirects, no proxies, no decoding. httptools parses; ssl and socket do the rest.

Errors are OSError (ConnectionError, TimeoutError, ssl.SSLError, socket.gaierror among them) and AnswerError.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
from collections.abc import Mapping

import httptools

# An answer's head is small; whatever follows in the same packets is body.
_HEAD_RECEIVE_BYTES = 32 << 10
# Beyond S3's 8 KiB of headers and 2 KiB of metadata by far.
_HEAD_BYTES_MAX = 256 << 10


class AnswerError(Exception):
    """What came is not HTTP."""


class NotConnectedError(OSError):
    """There is no connection, so nothing was asked."""


class ConnectTimeoutError(NotConnectedError):
    """Nobody answered at all."""


class NoAnswerError(ConnectionResetError):
    """The connection ended before a byte of an answer came."""


class _Head:
    """What httptools calls back with."""

    __slots__ = ("body", "complete", "done", "headers", "keeps", "parser", "status")

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.status = 0
        self.keeps = False
        self.headers: dict[str, str] = {}
        self.body: list[bytes] = []
        self.done = False  # the head is complete
        self.complete = False  # and so is the body

    def on_message_begin(self) -> None:
        if self.complete:
            # Nobody asked for another answer: what comes on this connection cannot be trusted any more.
            self.keeps = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.complete:
            return
        name_text = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        before = self.headers.get(name_text)
        self.headers[name_text] = text if before is None else f"{before}, {text}"

    def on_headers_complete(self) -> None:
        if self.complete:
            return
        self.status = self.parser.get_status_code()
        if self.status < 200:
            self.headers.clear()  # an interim answer (RFC 9110 section 15.2): the final one follows
            return
        self.done = True
        # The parser has forgotten it when the message is complete.
        self.keeps = self.parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        if not self.complete:
            self.body.append(data)

    def on_message_complete(self) -> None:
        self.complete = self.done


class Answer:
    """The answer to one request. Read it to its end, or `close` it: only then its connection is free for others, or gone.

    `status`, `headers` (lower-case names; repeated ones joined). `length`: bytes of the body, None where only its end will tell.
    """

    def __init__(self, pool: Pool, sock: socket.socket, *, is_head: bool) -> None:
        self._pool = pool
        self._sock: socket.socket | None = sock
        self._head = head = _Head()
        received = 0
        try:
            while not head.done:
                data = self._receive_head(received)
                received += len(data)
                self._feed(data)
        except BaseException:
            self.close()
            raise
        self.status = head.status
        self.headers = head.headers
        self.length = self._length(is_head)
        self._error: Exception | None = None
        self._first = memoryview(b"".join(head.body))
        head.body.clear()
        self._left = None if self.length is None else self.length - len(self._first)
        if self._left == 0 or head.complete:
            self._left = 0
            self._release()

    def _length(self, is_head: bool) -> int | None:
        if is_head or self.status in {204, 304}:
            return 0
        if "transfer-encoding" in self.headers:
            return None
        text = self.headers.get("content-length", "")
        return int(text) if text.isascii() and text.isdigit() else None

    # --- the body --------------------------------------------------------------------

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer`, or as much of it as there is: to the end of the body, or to where it breaks off, which the next call raises."""
        done = min(len(self._first), len(buffer))
        buffer[:done] = self._first[:done]
        self._first = self._first[done:]
        if self._error is not None and not done:
            raise self._error
        while done < len(buffer) and self._left != 0:
            try:
                done += self._receive_into(buffer[done:])
            except (OSError, AnswerError) as error:
                self.close()
                if not done:
                    raise
                self._error = error
                break
        return done

    def _receive_into(self, buffer: memoryview) -> int:
        if self._left is None:
            return self._parse_into(buffer)
        if self._sock is None:
            raise ConnectionResetError("The answer is closed.")
        count = self._sock.recv_into(buffer[: self._left])
        if not count:
            raise ConnectionResetError(f"The body ended {self._left} bytes early.")
        self._left -= count
        if not self._left:
            self._release()
        return count

    def _parse_into(self, buffer: memoryview) -> int:
        """The next bytes of a body whose length was not told, by the parser."""
        data = self._receive()
        if data:
            self._feed(data)
        elif "transfer-encoding" in self.headers:
            raise ConnectionResetError("The body ended early.")
        if self._head.complete or not data:
            self._left = 0
            self.close()
        content = b"".join(self._head.body)
        self._head.body.clear()
        count = min(len(content), len(buffer))
        buffer[:count] = content[:count]
        self._first = memoryview(content)[count:]
        return count

    def read_all(self, limit: int) -> bytes:
        """The body, of at most `limit` bytes."""
        buffer = bytearray(limit)
        return bytes(buffer[: self.readinto(memoryview(buffer))])

    # --- the connection ----------------------------------------------------------------

    def _receive(self) -> bytes:
        if self._sock is None:
            raise ConnectionResetError("The answer is closed.")
        return self._sock.recv(_HEAD_RECEIVE_BYTES)

    def _receive_head(self, received: int) -> bytes:
        """More of the head, of which so many bytes are here."""
        if received > _HEAD_BYTES_MAX:
            raise AnswerError("The head of the answer is too long.")
        try:
            data = self._receive()
        except ConnectionResetError:
            data = b""
        if not data:
            kind = ConnectionResetError if received else NoAnswerError
            raise kind("The connection ended before the head of the answer was complete.")
        return data

    def _feed(self, data: bytes) -> None:
        try:
            self._head.parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise AnswerError(f"The answer is not HTTP: {error}.") from error

    def _release(self) -> None:
        """All is read."""
        sock, self._sock = self._sock, None
        if sock is None:
            return
        if self._head.keeps:
            self._pool.put(sock)
        else:
            sock.close()

    def interrupt(self) -> None:
        """Make a read that is under way in another thread return. Only `close` is of use afterwards."""
        sock = self._sock
        if sock is not None:
            with contextlib.suppress(OSError):
                # Not SSLSocket's, which would take the reading thread's TLS state away.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Drop the connection, unless it has been given back already."""
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()


class Pool:
    """Connections to one host. `tls` is None for plain HTTP."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None,
        idle_max: int,
        connect_timeout_s: float,
        read_timeout_s: float,
    ) -> None:
        self.host = host
        self._port = port
        self._tls = tls
        self._idle_max = idle_max
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        # Appending and popping are atomic; the one used last is the warmest.
        self._idle: list[socket.socket] = []

    def request(self, method: str, path: str, headers: Mapping[str, str]) -> Answer:
        """Send a request and wait for the head of its answer. `path` and `headers` (Host among them) go out as they are."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")
        kept = self._take()
        if kept is not None:
            # The server may be closing it just now, which says nothing about the server.
            with contextlib.suppress(BrokenPipeError, NoAnswerError):
                return self._ask(kept, request, is_head=method == "HEAD")
        return self._ask(self._connect(), request, is_head=method == "HEAD")

    def _ask(self, sock: socket.socket, request: bytes, *, is_head: bool) -> Answer:
        try:
            sock.sendall(request)
        except BaseException:
            sock.close()
            raise
        return Answer(self, sock, is_head=is_head)

    def put(self, sock: socket.socket) -> None:
        """Take back a connection whose answer has been read."""
        if len(self._idle) < self._idle_max:
            self._idle.append(sock)
        else:
            sock.close()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> socket.socket | None:
        with contextlib.suppress(IndexError):
            while True:
                sock = self._idle.pop()
                if not _is_readable(sock):
                    return sock
                # The server closed it, or sent what nobody asked for.
                sock.close()
        return None

    def _connect(self) -> socket.socket:
        try:
            sock = socket.create_connection((self.host, self._port), self._connect_timeout_s)
        except TimeoutError as error:
            raise ConnectTimeoutError(*error.args) from error
        except OSError as error:
            raise NotConnectedError(*error.args) from error
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.settimeout(self._read_timeout_s)
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_hostname=self.host)
        except BaseException:
            sock.close()
            raise
        return sock


def _is_readable(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
