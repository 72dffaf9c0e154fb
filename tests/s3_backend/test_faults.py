"""Upstreams that misbehave: every fault becomes the right domain error, is tried again where that is harmless, and never a short object."""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing

from appliance.model import errors
from appliance.model.objects import Conditions, PutOptions
from appliance.model.ranges import RangeSpec
from appliance.plugin import Body, BytesBody, Chunk, Digests
from appliance_s3.backend import S3Backend
from appliance_s3.bodies import BotoBody, FastBody
from appliance_s3.probe import Features
from appliance_s3.requests import EXTRA_HEADERS
from tests.support.faulty_server import HANG, RESET, FaultyServer, answer, error, faulty_server
from tests.support.s3_backends import make_backend

ETAG = '"0123456789abcdef0123456789abcdef"'
MODIFIED = "Fri, 20 Nov 2026 12:00:00 GMT"
SECRET = "a-secret-that-nobody-may-see"


def found(body: bytes, **more: Any) -> bytes:
    return answer(200, body, ETag=ETAG, Last_Modified=MODIFIED, **more)


@pytest.fixture(params=["boto3", "fast"], autouse=True)
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """By which way GET and HEAD go: every fault is the same on both."""
    monkeypatch.setitem(OPTIONS, "fast_reads", request.param == "fast")


OPTIONS: dict[str, Any] = {"max_attempts": 3}


@pytest.fixture(params=["boto3", "fast"], autouse=True)
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """By which way GET and HEAD go: every fault is the same on both."""
    monkeypatch.setitem(OPTIONS, "fast_reads", request.param == "fast")


OPTIONS: dict[str, Any] = {"max_attempts": 3}


@pytest.fixture(params=["boto3", "fast"], autouse=True)
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """By which way GET and HEAD go: every fault is the same on both."""
    monkeypatch.setitem(OPTIONS, "fast_reads", request.param == "fast")


OPTIONS: dict[str, Any] = {"max_attempts": 3}


@contextlib.asynccontextmanager
async def facing(*answers: bytes, **options: Any) -> AsyncIterator[tuple[S3Backend, FaultyServer]]:
    """A backend whose upstream gives these answers. It is not started as a whole, as that would ask the upstream."""
    options = {"read_timeout_s": 0.2 if HANG in answers else 30, **OPTIONS, **options}
    lessons = [found(b"")] * 3 if options["fast_reads"] else []
    with faulty_server(*lessons, *answers) as server:
        backend = make_backend(server.endpoint, "ACCESSKEY", SECRET, **options)
        assert isinstance(backend, S3Backend)
        await backend._upstream.start()
        if lessons:
            await trio.to_thread.run_sync(teach, backend._upstream.client)
        server.requests.clear()
        server.bodies.clear()
        try:
            yield backend, server
        finally:
            await backend.stop()


def teach(client: Any) -> None:
    """Calls of boto3 that the fast path learns from."""
    place = {"Bucket": "bucket", "Key": "another"}
    client.get_object(**place)["Body"].close()
    client.get_object(**place, Range="bytes=0-0")["Body"].close()
    client.head_object(**place, ChecksumMode="ENABLED")


async def read(backend: S3Backend, asked: RangeSpec | None = None) -> bytes:
    async with backend.read("bucket", "key", asked) as stream:
        return b"".join([chunk async for chunk in stream])


@pytest.mark.parametrize(
    ("fault", "expected", "attempts"),
    [
        (error(503, "SlowDown"), errors.SlowDownError, 3),
        (error(500, "InternalError"), errors.BackendUnavailableError, 3),
        (error(503, "ServiceUnavailable"), errors.BackendUnavailableError, 3),
        (answer(502, b"<html>proxy</html>"), errors.BackendUnavailableError, 3),
        (answer(504), errors.BackendTimeoutError, 3),
        (answer(418), errors.BackendError, 1),
        (error(403, "AccessDenied"), errors.BackendDeniedError, 1),
        (error(403, "SignatureDoesNotMatch"), errors.BackendDeniedError, 1),
        (error(404, "NoSuchKey"), errors.NoSuchKeyError, 1),
        (error(404, "NoSuchBucket"), errors.NoSuchBucketError, 1),
        (error(400, "SomethingNew"), errors.BackendError, 1),
        (RESET, errors.BackendUnavailableError, 3),
        (b"", errors.BackendUnavailableError, 3),
        (answer(404), errors.NoSuchKeyError, 1),
        (b"this is not HTTP\r\n\r\n", errors.BackendUnavailableError, 3),
        (HANG, errors.BackendTimeoutError, 3),
        (found(b"short", length=99), errors.BackendUnavailableError, 3),
    ],
)
async def test_a_fault_of_a_read_is_named_and_tried_again_where_that_helps(
    fault: bytes, expected: type[errors.ApplianceError], attempts: int
) -> None:
    async with facing(fault, max_attempts=attempts if attempts > 1 else 3) as (backend, server):
        with pytest.raises(expected) as caught:
            await read(backend)
        assert type(caught.value) is expected
        assert len(server.requests) == attempts


@pytest.mark.parametrize("fault", [error(503, "SlowDown"), error(500, "InternalError"), RESET, b""])
async def test_a_read_succeeds_once_the_fault_is_over(fault: bytes) -> None:
    async with facing(fault, found(b"bytes")) as (backend, server):
        assert await read(backend) == b"bytes"
        assert len(server.requests) == 2
        assert backend.statistics()["retries_total"] == 1


async def test_a_long_body_that_breaks_off_goes_on_where_it_broke() -> None:
    data = bytes(range(256)) * 8192 + b"tail"
    cut = 1_500_000
    rest = answer(
        206,
        data[cut:],
        ETag=ETAG,
        Last_Modified=MODIFIED,
        Content_Range=f"bytes {cut}-{len(data) - 1}/{len(data)}",
    )
    async with facing(found(data[:cut], length=len(data)), rest) as (backend, server):
        assert await read(backend) == data
        again = server.requests[1].lower()
        assert f"range: bytes={cut}-{len(data) - 1}\r\n" in again
        assert f"if-match: {ETAG}\r\n" in again


async def test_a_long_body_is_read_once_however_often_it_is_asked_for_its_iterator() -> None:
    data = random.Random(1).randbytes(5 << 20)
    async with facing(found(data)) as (backend, _), backend.read("bucket", "key") as stream:
        chunks = aiter(stream)
        assert b"".join([chunk async for chunk in chunks]) == data


async def test_a_long_body_that_is_drained_goes_on_where_it_broke_and_where_it_was_left() -> None:
    data = random.Random(2).randbytes(5 << 20)
    cut = 2_500_000
    rest = answer(
        206,
        data[cut:],
        ETag=ETAG,
        Last_Modified=MODIFIED,
        Content_Range=f"bytes {cut}-{len(data) - 1}/{len(data)}",
    )
    pieces: list[bytes] = []

    def write(piece: memoryview) -> bool:
        pieces.append(bytes(piece))
        return len(pieces) != 2

    async with (
        facing(found(data[:cut], length=len(data)), rest) as (backend, _),
        backend.read("bucket", "key") as stream,
    ):
        assert await stream.drain(write)
        assert len(pieces) == 2
        assert await stream.drain(write)
    assert b"".join(pieces) == data


async def test_whoever_is_cancelled_while_draining_waits_for_no_byte() -> None:
    data = bytes(2 << 20)
    came = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def write(_piece: memoryview) -> bool:
        token.run_sync_soon(came.set)
        return True

    # The server sends no more, and does not close: only the interrupt ends the thread's read.
    async with (
        facing(found(data, length=3 << 20) + HANG) as (backend, _),
        trio.open_nursery() as nursery,
    ):

        async def drain() -> None:
            async with backend.read("bucket", "key") as stream:
                await stream.drain(write)

        nursery.start_soon(drain)
        await came.wait()
        nursery.cancel_scope.cancel()
    assert came.is_set()


async def test_a_long_body_never_goes_on_with_another_version() -> None:
    data = bytes(3 << 20)
    other = answer(
        206,
        data[1 << 20 :],
        ETag='"ffffffffffffffffffffffffffffffff"',
        Last_Modified=MODIFIED,
        Content_Range=f"bytes {1 << 20}-{len(data) - 1}/{len(data)}",
    )
    async with facing(found(data[:1_500_000], length=len(data)), other) as (backend, _):
        with pytest.raises(errors.VersionChangedError):
            await read(backend)


async def test_a_body_that_goes_on_breaking_is_an_error_not_an_end() -> None:
    data = bytes(3 << 20)
    async with facing(found(data[:1_500_000], length=len(data)), RESET) as (backend, _):
        received = 0
        with pytest.raises(errors.BackendUnavailableError):  # noqa: PT012  # counting is the point
            async with backend.read("bucket", "key") as stream:
                async for chunk in stream:
                    received += len(chunk)
        assert received < len(data)


async def test_bytes_that_do_not_match_their_checksum_are_refused() -> None:
    wrong = found(b"bytes", x_amz_checksum_crc32="AAAAAA==")
    async with facing(wrong) as (backend, _):
        with pytest.raises(errors.CorruptDataError):
            await read(backend)


async def test_a_part_is_not_compared_with_the_checksum_of_the_whole() -> None:
    """Which some upstreams send along."""
    headers = {"ETag": ETAG, "Last_Modified": MODIFIED, "Content_Range": "bytes 2-4/10"}
    async with facing(answer(206, b"234", x_amz_checksum_crc32="AAAAAA==", **headers)) as (
        backend,
        server,
    ):
        assert await read(backend, RangeSpec(2, 4)) == b"234"
        assert len(server.requests) == 1


async def test_a_bucket_in_another_region_is_left_to_boto3() -> None:
    moved = answer(400)
    async with facing(moved, found(b"", length=7)) as (backend, server):
        if backend.settings.fast_reads:
            assert (await backend.head("bucket", "key")).size == 7
            assert "amz-sdk-request" in server.requests[1].lower()
        else:
            with pytest.raises(errors.InvalidArgumentError):
                await backend.head("bucket", "key")


async def test_the_fast_way_asks_for_what_boto3_asks_for() -> None:
    """The same requests, but for what boto3 tells about itself, and the time."""
    key = "a b/../ü+%2f~:?#&"
    async with facing(found(b"bytes")) as (backend, server):
        upstream = backend._upstream
        wanted = {
            "Bucket": "bucket",
            "Key": key,
            "Range": "bytes=0-4",
            EXTRA_HEADERS: {"If-Match": ETAG},
        }
        for get_object in (upstream.operation("get_object"), upstream.client.get_object):
            answered = await trio.to_thread.run_sync(lambda call: call(**wanted), get_object)
            body = answered["Body"]
            reads = body if isinstance(body, FastBody) else BotoBody(body, 5)
            buffer = bytearray(6)
            assert reads.readinto(memoryview(buffer)) == 5
            assert buffer == b"bytes\0"
            reads.close()
        ours, boto3s = (told(head) for head in server.requests)
        assert ours == boto3s


def told(head: str) -> set[str]:
    lines = head.strip().split("\r\n")
    told_anew = ("amz-sdk", "authorization", "x-amz-date", "x-amz-content-sha256")
    headers = (line.partition(": ") for line in lines[1:])
    return {lines[0]} | {
        f"{name.lower()}: {value}"
        for name, _, value in headers
        if not name.lower().startswith(told_anew)
    }


async def test_another_range_than_asked_for_is_refused() -> None:
    async with facing(found(b"0123456789")) as (backend, _):
        with pytest.raises(errors.BackendUnavailableError, match="another range"):
            await read(backend, RangeSpec(2, 3))


async def test_an_answer_that_is_not_xml_is_the_upstreams_fault() -> None:
    async with facing(answer(200, b"<html>log in first</html")) as (backend, _):
        with pytest.raises(errors.BackendUnavailableError):
            await backend.list_buckets()


async def test_after_failures_in_a_row_nobody_asks_any_more() -> None:
    async with facing(answer(502), max_attempts=5) as (backend, server):
        with pytest.raises(errors.BackendUnavailableError):
            await backend.head("bucket", "key")
        asked = len(server.requests)
        with pytest.raises(errors.BackendUnavailableError) as caught:
            await backend.head("bucket", "key")
        assert caught.value.retry_after_s >= 1
        assert len(server.requests) == asked == 5
        assert backend.statistics()["refused_calls_total"] == 1


async def test_nobody_listening_is_unavailable() -> None:
    with faulty_server(RESET) as server:
        endpoint = server.endpoint
    backend = make_backend(endpoint, "ACCESSKEY", SECRET)
    with pytest.raises(errors.BackendUnavailableError, match="cannot connect"):
        await backend.start()
    await backend.stop()


# --- writing ---------------------------------------------------------------------------------------------------------


class Refused(errors.ApplianceError):
    """What the sender's bytes turned out to be."""


class LyingBody(Body):
    """All bytes arrive, and then turn out to be wrong."""

    def __init__(self, size: int) -> None:
        self.size = size

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        buffer = bytearray(65536)
        for _ in range((self.size or 0) // len(buffer)):
            yield buffer
        raise Refused

    def digests(self) -> Digests:
        raise AssertionError("a body that failed has no digests")


async def test_a_body_refused_at_its_end_never_reaches_the_upstream_whole() -> None:
    size = 4 << 20
    async with facing(found(b"")) as (backend, server):
        with pytest.raises(Refused):
            await backend.put("bucket", "key", LyingBody(size), PutOptions())
    assert all(len(body) < size for body in server.bodies)


async def test_a_small_body_refused_at_its_end_is_not_sent_at_all() -> None:
    async with facing(found(b"")) as (backend, server):
        with pytest.raises(Refused):
            await backend.put("bucket", "key", LyingBody(65536), PutOptions())
        assert server.requests == []


async def test_a_streamed_put_is_not_repeated() -> None:
    async with facing(RESET) as (backend, server):
        with pytest.raises(errors.BackendUnavailableError):
            await backend.put("bucket", "key", BytesBody(bytes(4 << 20)), PutOptions())
        assert len(server.requests) == 1


async def test_a_conditional_put_is_repeated_only_if_it_was_certainly_not_done() -> None:
    async with facing(RESET) as (backend, server):
        where = backend._where("PUT", "bucket", "key")
        place = {"Bucket": "bucket", "Key": "key"}
        headers = {"If-None-Match": "*"}
        with pytest.raises(errors.BackendUnavailableError):
            await backend._writer.put(where, place, BytesBody(b"x"), PutOptions(), headers)
        assert len(server.requests) == 1
    async with facing(error(503, "SlowDown"), found(b"")) as (backend, server):
        where = backend._where("PUT", "bucket", "key")
        await backend._writer.put(where, place, BytesBody(b"x"), PutOptions(), headers)
        assert len(server.requests) == 2


async def test_an_object_that_arrived_wrong_is_removed_only_if_it_still_is_that_object() -> None:
    async with facing(found(b""), answer(204)) as (backend, server):
        backend._abilities.features = Features.documented()
        backend._abilities.noted("bucket", versioned=False)
        with pytest.raises(errors.CorruptDataError, match="they were removed"):
            await backend.put("bucket", "key", BytesBody(bytes(2 << 20)), PutOptions())
        assert [head.split()[0] for head in server.requests] == ["PUT", "DELETE"]
        assert f"If-Match: {ETAG}" in server.requests[1]


@pytest.mark.parametrize(
    ("can", "sent"),
    [(Features(writable=True), ["PUT"]), (Features.documented(), ["PUT", "DELETE"])],
)
async def test_an_object_that_arrived_wrong_stays_where_it_may_be_anothers(
    can: Features, sent: list[str]
) -> None:
    """The upstream knows no conditional delete, or says that there is another object now."""
    async with facing(found(b""), error(412, "PreconditionFailed")) as (backend, server):
        backend._abilities.features = can
        backend._abilities.noted("bucket", versioned=False)
        with pytest.raises(errors.CorruptDataError, match="may be there still"):
            await backend.put("bucket", "key", BytesBody(bytes(2 << 20)), PutOptions())
        assert [head.split()[0] for head in server.requests] == sent


async def test_a_cancelled_put_leaves_no_whole_body() -> None:
    class Endless(Body):
        size = 4 << 20

        async def __aiter__(self) -> AsyncIterator[Chunk]:
            yield bytes(3 << 20)
            await trio.sleep_forever()

        def digests(self) -> Digests:
            raise AssertionError

    async with facing(found(b"")) as (backend, server):
        async with trio.open_nursery() as nursery:

            async def put() -> None:
                await backend.put("bucket", "key", Endless(), PutOptions())

            nursery.start_soon(put)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert backend.statistics()["written_bytes_total"] == 0
    assert all(len(body) < 4 << 20 for body in server.bodies)


# --- writing nothing without need -----------------------------------------------------------------------------------


async def test_starting_and_reading_write_nothing() -> None:
    buckets = answer(200, b"<ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>")
    async with facing(buckets, found(b"bytes"), found(b"")) as (backend, server):
        await backend.start()
        assert await read(backend) == b"bytes"
        await backend.head("bucket", "key")
        await backend.put("bucket", "plain", BytesBody(b""), PutOptions())
        methods = [head.split()[0] for head in server.requests]
        assert methods == ["GET", "GET", "HEAD", "PUT", "HEAD"]
        await backend._upstream.stop()


async def test_a_bucket_that_may_not_be_written_tells_nothing_about_others() -> None:
    async with facing(error(403, "AccessDenied")) as (backend, _):
        with pytest.raises(errors.UnsupportedError, match="refuses writes into this bucket"):
            await backend.delete("bucket", "key", Conditions(if_match=("a",)))
        assert backend._abilities.features is None
        assert backend.capabilities.conditional_delete


# --- what is said about it ------------------------------------------------------------------------------------------


async def test_no_secret_is_logged_or_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    said = []
    for fault in (error(403, "SignatureDoesNotMatch"), answer(502), RESET):
        async with facing(fault) as (backend, server):
            with pytest.raises(errors.ApplianceError) as caught:
                await read(backend)
            said.append(str(caught.value))
            assert SECRET not in "".join(server.requests)
    assert SECRET not in caplog.text
    assert SECRET not in " ".join(said)
    assert "ACCESSKEY" not in caplog.text


async def test_conditions_that_cannot_be_honoured_are_refused() -> None:
    """An upstream that takes every write, whatever the condition."""
    async with facing(found(b"")) as (backend, _):
        with pytest.raises(errors.UnsupportedError, match="does not honour"):
            await backend.put(
                "bucket", "key", BytesBody(b"x"), PutOptions(), Conditions(if_none_match=("*",))
            )
