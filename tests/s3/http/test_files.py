"""Pieces of files on their way to a socket: exact bytes, cold or hot, over TCP and TLS; a file that is too short cuts the connection."""

from __future__ import annotations

import errno
import os
import random
import ssl
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from appliance.s3.http import files
from appliance.s3.http.errors import TruncatedFileError
from appliance.s3.http.files import is_resident, make_resident, read_into, read_nowait
from appliance.s3.http.head import Head
from appliance.s3.http.incoming import IncomingBody
from appliance.s3.http.response import Response, Sink
from appliance.world import RealWorld
from tests.support.certificates import self_signed
from tests.support.raw_http import RawClient, Respond, serving

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
SIZE = 9_000_001


@pytest.fixture
def content() -> bytes:
    return random.Random(7).randbytes(SIZE)


@pytest.fixture
def file(tmp_path: Path, content: bytes):
    path = tmp_path / "data"
    path.write_bytes(content)
    fd = os.open(path, os.O_RDONLY)
    yield fd
    os.close(fd)


class FileSource:
    """A piece of a file as a body."""

    def __init__(self, fd: int, offset: int, size: int) -> None:
        self.size = size
        self.closed = 0
        self._fd = fd
        self._offset = offset

    async def send_to(self, sink: Sink) -> None:
        await sink.send_file(self._fd, self._offset, self.size)

    async def aclose(self) -> None:
        self.closed += 1


def answering(source: FileSource) -> Respond:
    async def respond(head: Head, body: IncomingBody) -> Response:
        return Response(200, b"", source)

    return respond


@pytest.mark.parametrize("cold", [False, True], ids=["in memory", "on disk"])
@pytest.mark.parametrize(("offset", "size"), [(0, SIZE), (1, 1), (4095, 5_000_000), (SIZE - 1, 1)])
async def test_sends_exactly_the_bytes_asked_for(
    file: int, content: bytes, offset: int, size: int, cold: bool
):
    if cold:
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    source = FileSource(file, offset, size)
    async with serving(answering(source)) as running:
        client = await running.connect()
        await client.send(GET + GET)
        for _ in range(2):
            reply = await client.reply()
            assert reply.body == content[offset : offset + size]
    assert source.closed == 2


async def test_a_head_request_sends_nothing_and_closes_the_source(file: int):
    source = FileSource(file, 0, SIZE)
    async with serving(answering(source)) as running:
        client = await running.connect()
        await client.send(b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n")
        reply = await client.reply(head_request=True)
        assert reply.headers["content-length"] == str(SIZE)
        await wait_all_tasks_blocked()
        assert source.closed == 1


async def test_a_file_that_is_too_short_cuts_the_connection(file: int, content: bytes):
    source = FileSource(file, SIZE - 10, 11)
    async with serving(answering(source)) as running:
        client = await running.connect()
        await client.send(GET)
        with pytest.raises(trio.BrokenResourceError):
            await client.reply()
        assert isinstance(running.handler.sent_log[0][2], TruncatedFileError)
    assert source.closed == 1


async def test_a_failing_disk_is_not_taken_for_a_client_that_left(file: int, monkeypatch):
    def sendfile(*_):
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(os, "sendfile", sendfile)
    async with serving(answering(FileSource(file, 0, SIZE))) as running:
        client = await running.connect()
        await client.send(GET)
        with pytest.raises(trio.BrokenResourceError):
            await client.reply()
        assert isinstance(running.handler.sent_log[0][2], OSError)


async def test_sends_files_over_tls(file: int, content: bytes, tmp_path: Path):
    certificate, key = self_signed(tmp_path)
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(certificate, key)
    client_context = ssl.create_default_context(cafile=str(certificate))
    async with serving(answering(FileSource(file, 3, 3_000_000)), tls=server_context) as running:
        plain = await running.connect()
        client = RawClient(
            trio.SSLStream(
                plain.stream, client_context, server_hostname="localhost", https_compatible=True
            )
        )
        for _ in range(2):
            await client.send(GET)
            assert (await client.reply()).body == content[3:3_000_003]


async def test_plain_text_on_a_tls_port_is_dropped(file: int, tmp_path: Path):
    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with serving(tls=context) as running:
        client = await running.connect()
        await client.send(GET)
        with pytest.raises(EOFError):
            await client.reply()
        assert running.handler.sent_log == []


async def test_reading_into_memory(file: int, content: bytes):
    world = RealWorld()
    buffer = memoryview(bytearray(1000))
    assert await make_resident(world, file, 0, SIZE) is None
    assert is_resident(file, 0, SIZE)
    assert read_nowait(file, buffer, 77)
    assert buffer == content[77:1077]
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    await read_into(world, file, buffer, 5000)
    assert buffer == content[5000:6000]
    with pytest.raises(TruncatedFileError):
        await read_into(world, file, buffer, SIZE - 10)


@pytest.mark.parametrize(("filesystem", "at_once"), [("tmpfs", True), ("fuse", False), ("", False)])
def test_only_memory_filesystems_are_read_inline_without_rwf_nowait(
    file: int, filesystem: str, at_once: bool, monkeypatch
):
    real = os.preadv

    def preadv(fd, buffers, offset, flags=0):
        if flags:
            raise OSError(errno.EOPNOTSUPP, "not supported")
        return real(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", preadv)
    monkeypatch.setattr(files, "_filesystem", lambda _: filesystem)
    monkeypatch.setattr(files, "_memory_devices", {})
    assert read_nowait(file, memoryview(bytearray(4)), 0) is at_once
    assert is_resident(file, 0, 4) is at_once


def test_the_filesystem_of_a_device():
    assert files._filesystem(Path("/proc").stat().st_dev) == "proc"
    assert files._filesystem(0xFFFFF) == ""
