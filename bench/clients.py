"""A client that asks for many objects over several connections, each once."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Sequence

from bench.load import signed_headers
from bench.scene import Server


def fetch_all(server: Server, paths: Sequence[str], *, connections: int) -> float:
    """Seconds until every path was fetched once; raises unless each was answered 200."""
    requests = [(path, signed_headers("GET", server.endpoint + path)) for path in paths]
    failures: list[str] = []

    def worker(share: Sequence[tuple[str, dict[str, str]]]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        try:
            for path, headers in share:
                connection.request("GET", path, headers=headers)
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
