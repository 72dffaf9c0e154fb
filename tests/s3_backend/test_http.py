"""Our own connections: framing of answers, keeping and dropping connections, faults."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from appliance_s3.http import AnswerError, NotConnectedError, Pool

HEADERS = {"host": "h"}


class Script:
    """A server that answers each request of each connection with the next of its answers; None closes the connection unanswered."""

    def __init__(self, *connections: list[bytes | None]) -> None:
        self._connections = connections
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.requests: list[list[bytes]] = []
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        for answers in self._connections:
            sock, _ = self._listener.accept()
            self.requests.append([])
            with sock:
                for answer in answers:
                    request = sock.recv(65536)
                    if answer is None or not request:
                        break
                    self.requests[-1].append(request)
                    sock.sendall(answer)

    def __enter__(self) -> Script:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._listener.close()


@contextlib.contextmanager
def facing(*connections: list[bytes | None]) -> Iterator[tuple[Script, Pool]]:
    with Script(*connections) as script:
        pool = Pool(
            "127.0.0.1",
            script.port,
            tls=None,
            idle_max=4,
            connect_timeout_s=10,
            read_timeout_s=10,
        )
        try:
            yield script, pool
        finally:
            pool.close()


def told(body: bytes, *lines: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""]).encode() + body


def plain(body: bytes) -> bytes:
    return told(body, f"Content-Length: {len(body)}")


def test_a_connection_is_kept_once_its_answer_is_read():
    with facing([plain(b"one"), plain(b""), plain(b"three")]) as (script, pool):
        for expected in (b"one", b"", b"three"):
            answer = pool.request("GET", "/a%20b", HEADERS)
            assert (answer.status, answer.length) == (200, len(expected))
            assert answer.read_all(100) == expected
    assert len(script.requests) == 1
    assert script.requests[0][0] == b"GET /a%20b HTTP/1.1\r\nhost: h\r\n\r\n"


def test_a_body_goes_on_from_where_a_buffer_ended():
    with facing([plain(bytes(range(256)) * 1000)]) as (_, pool):
        answer = pool.request("GET", "/", HEADERS)
        got, buffer = b"", memoryview(bytearray(77_777))
        while count := answer.readinto(buffer):
            got += buffer[:count]
        assert got == bytes(range(256)) * 1000


@pytest.mark.parametrize(
    "goodbye", [told(b"last", "Content-Length: 4", "Connection: close"), told(b"last", "X: 1")]
)
def test_a_connection_that_the_server_ends_is_not_used_again(goodbye):
    with facing([goodbye], [plain(b"next")]) as (script, pool):
        assert pool.request("GET", "/", HEADERS).read_all(100) == b"last"
        assert pool.request("GET", "/", HEADERS).read_all(100) == b"next"
    assert len(script.requests) == 2


def test_a_kept_connection_that_ends_unanswered_is_replaced():
    with facing([plain(b"one"), None], [plain(b"two")]) as (script, pool):
        assert pool.request("GET", "/1", HEADERS).read_all(100) == b"one"
        assert pool.request("GET", "/2", HEADERS).read_all(100) == b"two"
    assert [len(requests) for requests in script.requests] == [1, 1]


def test_a_new_connection_that_ends_unanswered_is_an_error():
    with facing([None]) as (_, pool), pytest.raises(ConnectionResetError):
        pool.request("GET", "/", HEADERS)


def test_answers_without_a_body():
    not_modified = b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n'
    head = told(b"", "Content-Length: 1000")
    with facing([head, not_modified, plain(b"body")]) as (script, pool):
        answer = pool.request("HEAD", "/", HEADERS)
        assert answer.headers["content-length"] == "1000"
        assert answer.read_all(100) == b""
        assert pool.request("GET", "/", HEADERS).status == 304
        assert pool.request("GET", "/", HEADERS).read_all(100) == b"body"
    assert len(script.requests) == 1


def test_interim_answers_are_passed_over():
    with facing([b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + plain(b"body")]) as (_, pool):
        answer = pool.request("GET", "/", HEADERS)
        assert (answer.status, answer.headers) == (200, {"content-length": "4"})
        assert answer.read_all(100) == b"body"


def test_a_connection_with_more_than_was_asked_for_is_not_used_again():
    with facing([plain(b"one") + plain(b"unasked")], [plain(b"two")]) as (_, pool):
        answer = pool.request("GET", "/", HEADERS)
        assert (answer.length, answer.read_all(100)) == (3, b"one")
        assert pool.request("GET", "/", HEADERS).read_all(100) == b"two"


def test_a_chunked_body():
    chunked = told(b"4\r\nbody\r\n3\r\n...\r\n0\r\n\r\n", "Transfer-Encoding: chunked")
    with facing([chunked]) as (_, pool):
        answer = pool.request("GET", "/", HEADERS)
        assert answer.length is None
        assert answer.read_all(100) == b"body..."


@pytest.mark.parametrize(
    "broken",
    [
        told(b"half", "Content-Length: 8"),
        told(b"4\r\nhalf\r\n", "Transfer-Encoding: chunked"),
    ],
)
def test_a_body_that_breaks_off_gives_what_came_and_then_the_error(broken):
    with facing([broken]) as (_, pool):
        answer = pool.request("GET", "/", HEADERS)
        buffer = memoryview(bytearray(100))
        assert answer.readinto(buffer) == 4
        with pytest.raises(ConnectionResetError):
            answer.readinto(buffer)


@pytest.mark.parametrize(
    "nonsense", [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000]
)
def test_what_is_not_http(nonsense):
    with facing([nonsense]) as (_, pool), pytest.raises(AnswerError):
        pool.request("GET", "/", HEADERS)


def test_an_answer_that_is_closed_early_takes_its_connection_with_it():
    with facing([plain(b"x" * 100_000)], [plain(b"next")]) as (_, pool):
        answer = pool.request("GET", "/", HEADERS)
        answer.close()
        answer.readinto(memoryview(bytearray(65536)))  # what had come with the head
        with pytest.raises(ConnectionResetError):
            answer.readinto(memoryview(bytearray(65536)))
        assert pool.request("GET", "/", HEADERS).read_all(100) == b"next"


def test_an_interrupt_ends_a_read_under_way():
    with facing([told(b"half", "Content-Length: 8"), plain(b"")]) as (_, pool):
        answer = pool.request("GET", "/", HEADERS)
        began = threading.Event()
        failures: list[BaseException] = []

        def read() -> None:
            began.set()
            buffer = memoryview(bytearray(100))
            try:
                while answer.readinto(buffer):
                    pass
            except OSError as error:
                failures.append(error)

        reading = threading.Thread(target=read)
        reading.start()
        began.wait()
        answer.interrupt()
        reading.join()
        assert len(failures) == 1


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    pool = Pool("127.0.0.1", port, tls=None, idle_max=1, connect_timeout_s=10, read_timeout_s=10)
    with pytest.raises(NotConnectedError):
        pool.request("GET", "/", HEADERS)
