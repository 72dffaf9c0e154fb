"""A connection's bytes: a plain socket with sendfile, or TLS over one.

The plain transport works on the non-blocking socket itself: what can be received or sent at once is, without a trip through the scheduler;
only a full or empty socket waits. Every wait for the client is bounded by a `Patience`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from appliance.s3.http.errors import ClientGoneError, TruncatedFileError
from appliance.s3.http.files import (
    WINDOW_BYTES,
    is_resident,
    make_resident,
    read_into,
)
from appliance.s3.http.patience import Patience
from appliance.s3.wire.errors import RequestTimeoutError
from appliance.world import World

HEAD_RECEIVE_BYTES = 32 << 10
# TLS encrypts in records of 16 KiB; a piece is one trip through the record layer and one cancel scope.
_TLS_PIECE_BYTES = 256 << 10
# Closing with this set sends a reset (socket(7), SO_LINGER).
_NO_LINGER = struct.pack("ii", 1, 0)


class Transport(Protocol):
    """See the module. Not for use by two tasks at once."""

    pollable_fd: int  # readable when there is something to receive; -1 where that cannot be told

    def receive_nowait(self) -> bytes | None:
        """Bytes that are here; b"" when the client will send no more, None when there are none yet. Only with `pollable_fd`."""
        ...

    async def receive(self) -> bytes:
        """Wait for bytes, without a time limit of its own; b"" when the client will send no more. Always a checkpoint."""
        ...

    async def receive_into(self, buffer: memoryview, patience: Patience) -> int:
        """At least one byte; 0 when the client will send no more. Raises ClientGoneError, RequestTimeoutError."""
        ...

    def send_nowait(self, data: bytes) -> int:
        """Send what fits now; how much did. Raises ClientGoneError."""
        ...

    async def send(self, data: bytes | bytearray | memoryview, patience: Patience) -> None:
        """Send all. Raises ClientGoneError, also for a client that takes nothing for too long."""
        ...

    async def send_file(self, fd: int, offset: int, length: int, patience: Patience) -> None:
        """Send a piece of a file. Raises ClientGoneError, TruncatedFileError."""
        ...

    async def end_sending(self) -> None:
        """Tell the client that nothing more comes."""
        ...

    def reset(self) -> None:
        """Close so that the client sees an error, not an end."""
        ...

    def abort(self) -> None:
        """Close at once. Idempotent."""
        ...


class PlainTransport:
    """A non-blocking TCP socket, which this owns."""

    def __init__(self, sock: socket.socket, world: World) -> None:
        self._sock = sock
        self._fd = self.pollable_fd = sock.fileno()
        self._world = world

    def receive_nowait(self) -> bytes | None:
        try:
            return self._sock.recv(HEAD_RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            raise ClientGoneError from error

    async def receive(self) -> bytes:
        while True:
            await trio.lowlevel.wait_readable(self._fd)
            data = self.receive_nowait()
            if data is not None:
                return data

    async def receive_into(self, buffer: memoryview, patience: Patience) -> int:
        while True:
            try:
                count = self._sock.recv_into(buffer)
            except (BlockingIOError, InterruptedError):
                if not await self._wait(trio.lowlevel.wait_readable, patience):
                    raise RequestTimeoutError from None
                continue
            except OSError as error:
                raise ClientGoneError from error
            patience.moved(count)
            return count

    def send_nowait(self, data: bytes | memoryview) -> int:
        try:
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            raise ClientGoneError from error

    async def send(self, data: bytes | bytearray | memoryview, patience: Patience) -> None:
        view = memoryview(data)
        while view:
            count = self.send_nowait(view)
            patience.moved(count)
            view = view[count:]
            if view:
                await self._wait_writable(patience)

    async def send_file(self, fd: int, offset: int, length: int, patience: Patience) -> None:
        end = offset + length
        while offset < end:
            window = min(WINDOW_BYTES, end - offset)
            if not is_resident(fd, offset, window):
                await make_resident(self._world, fd, offset, window)
            await self._send_window(fd, offset, offset + window, patience)
            offset += window

    async def _send_window(self, fd: int, offset: int, end: int, patience: Patience) -> None:
        waited = False
        while offset < end:
            try:
                count = os.sendfile(self._fd, fd, offset, end - offset)
            except (BlockingIOError, InterruptedError):
                await self._wait_writable(patience)
                waited = True
                continue
            except (ConnectionError, TimeoutError) as error:
                # Any other OSError is the disk's.
                raise ClientGoneError from error
            if count == 0:
                raise TruncatedFileError
            patience.moved(count)
            offset += count
        if not waited:
            await trio.lowlevel.checkpoint()

    async def end_sending(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._sock.close()

    def abort(self) -> None:
        self._sock.close()

    async def _wait_writable(self, patience: Patience) -> None:
        if not await self._wait(trio.lowlevel.wait_writable, patience):
            raise ClientGoneError("the client takes no bytes")

    async def _wait(self, wait: Callable[[int], Awaitable[None]], patience: Patience) -> bool:
        """False if the client used up its time."""
        began = trio.current_time()
        with trio.move_on_after(patience.wait_s()) as scope:
            await wait(self._fd)
        patience.waited(trio.current_time() - began)
        return not scope.cancelled_caught


class TlsTransport:
    """TLS over a TCP socket, by trio's SSLStream. File bytes pass through memory to be encrypted."""

    # What is readable may be half a record; and a whole one may be in the stream's buffer.
    pollable_fd = -1

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, world: World) -> None:
        self._sock = trio.socket.from_stdlib_socket(sock)
        self._stream = trio.SSLStream(
            trio.SocketStream(self._sock), context, server_side=True, https_compatible=True
        )
        self._world = world

    def receive_nowait(self) -> bytes | None:
        return None

    async def receive(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(HEAD_RECEIVE_BYTES))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ClientGoneError from error

    async def receive_into(self, buffer: memoryview, patience: Patience) -> int:
        data: bytes | bytearray = b""
        began = trio.current_time()
        with trio.move_on_after(patience.wait_s()) as scope:
            try:
                data = await self._stream.receive_some(len(buffer))
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise ClientGoneError from error
        if scope.cancelled_caught:
            raise RequestTimeoutError
        patience.waited(trio.current_time() - began)
        patience.moved(len(data))
        buffer[: len(data)] = data
        return len(data)

    def send_nowait(self, data: bytes) -> int:
        return 0

    async def send(self, data: bytes | bytearray | memoryview, patience: Patience) -> None:
        view = memoryview(data)
        for offset in range(0, len(view), _TLS_PIECE_BYTES):
            piece = view[offset : offset + _TLS_PIECE_BYTES]
            began = trio.current_time()
            with trio.move_on_after(patience.wait_s()) as scope:
                try:
                    await self._stream.send_all(piece)
                except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                    raise ClientGoneError from error
            if scope.cancelled_caught:
                raise ClientGoneError("the client takes no bytes")
            patience.waited(trio.current_time() - began)
            patience.moved(len(piece))

    async def send_file(self, fd: int, offset: int, length: int, patience: Patience) -> None:
        buffer = memoryview(bytearray(min(length, _TLS_PIECE_BYTES)))
        end = offset + length
        while offset < end:
            piece = buffer[: min(len(buffer), end - offset)]
            await read_into(self._world, fd, piece, offset)
            await self.send(piece, patience)
            offset += len(piece)

    async def end_sending(self) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._stream.aclose()

    def reset(self) -> None:
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._sock.close()

    def abort(self) -> None:
        self._sock.close()
