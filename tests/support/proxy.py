"""A TCP proxy before an upstream HTTP server that counts requests and can misbehave on command."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator

_REQUEST = re.compile(rb"^(GET|HEAD|PUT|POST|DELETE) (\S+) HTTP/1\.1\r$", re.MULTILINE)


class Proxy:
    """`requests`: (method, target) of everything that passed. `refuse`: new and open connections are reset.
    `cut_after`: the next response longer than so many bytes is cut there (once). `hold`: responses wait until it is set."""

    def __init__(self, port: int) -> None:
        self.requests: list[tuple[str, str]] = []
        self.cut_after = 0
        self.response_bytes = 0
        self.hold = threading.Event()
        self.hold.set()
        self._upstream = port
        self._refusing = False
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def forget(self) -> None:
        """Count from zero."""
        self.requests.clear()
        self.response_bytes = 0

    def objects(self, key: str) -> list[str]:
        """Methods of requests whose path ends with `key`."""
        return [
            method
            for method, target in list(self.requests)
            if target.partition("?")[0].endswith(key)
        ]

    def refuse(self) -> None:
        """The upstream is gone, for new connections and for open ones."""
        self._refusing = True
        with self._lock:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def allow(self) -> None:
        """The upstream is back."""
        self._refusing = False

    def close(self) -> None:
        self.refuse()
        self.hold.set()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing:
                client.close()
                continue
            try:
                upstream = socket.create_connection(("127.0.0.1", self._upstream))
            except OSError:
                client.close()
                continue
            with self._lock:
                self._open |= {client, upstream}
            threading.Thread(target=self._requests, args=(client, upstream), daemon=True).start()
            threading.Thread(target=self._responses, args=(upstream, client), daemon=True).start()

    def _requests(self, client: socket.socket, upstream: socket.socket) -> None:
        with self._ending(client, upstream):
            while chunk := client.recv(65536):
                self.requests += [
                    (method.decode(), target.decode()) for method, target in _REQUEST.findall(chunk)
                ]
                upstream.sendall(chunk)

    def _responses(self, upstream: socket.socket, client: socket.socket) -> None:
        sent = 0
        with self._ending(client, upstream):
            while chunk := upstream.recv(65536):
                self.hold.wait(60)
                sent += len(chunk)
                self.response_bytes += len(chunk)
                if self.cut_after and sent > self.cut_after:
                    self.cut_after = 0
                    return
                client.sendall(chunk)

    @contextlib.contextmanager
    def _ending(self, *sockets: socket.socket) -> Iterator[None]:
        try:
            with contextlib.suppress(OSError):
                yield
        finally:
            for sock in sockets:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            with self._lock:
                self._open -= set(sockets)
            for sock in sockets:
                # The other thread may still read from it: shut down wakes it, its own turn closes nothing twice.
                with contextlib.suppress(OSError):
                    sock.close()


@contextlib.contextmanager
def proxied(endpoint: str) -> Iterator[Proxy]:
    """A proxy before `endpoint` while the block runs."""
    proxy = Proxy(int(endpoint.rpartition(":")[2]))
    try:
        yield proxy
    finally:
        proxy.close()
