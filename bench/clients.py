"""Clients of our own: many objects over several connections, each once; and HEAD, whose answers wrk cannot read."""

from __future__ import annotations

import http.client
import selectors
import socket
import threading
import time
from collections.abc import Sequence

from botocore.credentials import Credentials

from bench.load import ROOT, signed_headers
from bench.scene import Server


def fetch_all(
    server: Server, paths: Sequence[str], *, connections: int, method: str = "GET"
) -> float:
    """Seconds until every path was fetched once (or made, of no bytes, by PUT); raises unless each was answered 200."""
    requests = [(path, signed_headers(method, server.endpoint + path)) for path in paths]
    failures: list[str] = []

    def worker(share: Sequence[tuple[str, dict[str, str]]]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        try:
            for path, headers in share:
                connection.request(method, path, headers=headers)
                response = connection.getresponse()
                response.read()
                if response.status != 200:
                    failures.append(f"{path}: {response.status}")
        except OSError as error:
            failures.append(repr(error))
        finally:
            connection.close()

    threads = [
        threading.Thread(target=worker, args=(requests[number::connections],))
        for number in range(connections)
    ]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(f"{len(failures)} failed, first: {failures[0]}")
    return time.perf_counter() - begin


def head_rate(
    server: Server,
    paths: Sequence[str],
    *,
    connections: int,
    seconds: float,
    keys: Credentials = ROOT,
) -> float:
    """HEADs a second, one at a time on each connection. Raises if any answer was not 200."""
    requests = []
    for path in paths:
        fields = signed_headers("HEAD", server.endpoint + path, keys=keys)
        fields["Host"] = f"127.0.0.1:{server.port}"
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        requests.append(f"HEAD {path} HTTP/1.1\r\n{lines}\r\n".encode())
    selector = selectors.DefaultSelector()
    count = 0
    try:
        for number in range(connections):
            one = socket.create_connection(("127.0.0.1", server.port))
            one.sendall(requests[number % len(requests)])
            selector.register(one, selectors.EVENT_READ)
        begin = time.perf_counter()
        while (elapsed := time.perf_counter() - begin) < seconds:
            for key, _ in selector.select(1):
                ready = key.fileobj
                assert isinstance(ready, socket.socket)
                answer = ready.recv(65536)
                if not answer.startswith(b"HTTP/1.1 200") or not answer.endswith(b"\r\n\r\n"):
                    raise RuntimeError(f"not a whole answer of 200: {answer!r}")
                count += 1
                ready.sendall(requests[count % len(requests)])
        return count / elapsed
    finally:
        for key in list(selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        selector.close()
