"""Requests over real TCP: framing, order, keep-alive, and everything that is not HTTP."""

from __future__ import annotations

import pytest
import trio

from appliance.model.errors import AccessDeniedError
from appliance.s3.http.head import Head
from appliance.s3.http.incoming import IncomingBody
from appliance.s3.http.response import Response
from appliance.s3.settings import HttpSettings
from tests.support.raw_http import RawClient, Reply, echo, read_all, serving

GET = b"GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n"
PUT = b"PUT /p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"PUT /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\nA;ext=1\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
)


async def test_answers_requests_of_one_connection_in_order():
    async with serving() as running:
        client = await running.connect()
        for _ in range(3):
            await client.send(GET)
            reply = await client.reply()
            assert (reply.status, reply.body) == (200, b"GET /a?b ")
            assert "connection" not in reply.headers


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "byte by byte"])
async def test_pipelined_requests_and_bodies_are_never_taken_for_one_another(bytewise: bool):
    async with serving() as running:
        client = await running.connect()
        stream = GET + PUT + CHUNKED + PUT + b"\r\n" + GET
        await (client.send_bytewise(stream) if bytewise else client.send(stream))
        bodies = [(await client.reply()).body for _ in range(5)]
    assert bodies == [
        b"GET /a?b ",
        b"PUT /p hello",
        b"PUT /c abc0123456789",
        b"PUT /p hello",
        b"GET /a?b ",
    ]


async def test_a_body_that_looks_like_a_request_is_a_body():
    async with serving() as running:
        client = await running.connect()
        await client.send(
            b"PUT /p HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(GET), GET) + GET
        )
        assert (await client.reply()).body == b"PUT /p " + GET
        assert (await client.reply()).body == b"GET /a?b "


MALFORMED = {
    "no HTTP at all": b"hello\r\n\r\n",
    "TLS on a plain port": bytes.fromhex("16030100f8010000f40303"),
    "bare line feeds": b"GET / HTTP/1.1\nHost: x\n\n",
    "folded header": b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
    "space before colon": b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    "control character in a header": b"GET / HTTP/1.1\r\nHost: x\r\nA: \x01\r\n\r\n",
    "NUL in a header": b"GET / HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n",
    "header name with a bad character": b"GET / HTTP/1.1\r\nHost: x\r\nA(b: c\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\nA: b\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "length and chunked": b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "chunked and length": b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
    "two lengths": b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
    "lengths in one": b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\n",
    "signed length": b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n",
    "hexadecimal length": b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n\r\n",
    "immense length": b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "other transfer coding": b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
    "transfer coding twice": b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
    "transfer coding in two headers": b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n",
    "disguised transfer coding": b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \x0bchunked\r\n\r\n",
    "chunked in HTTP/1.0": b"PUT / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: x\r\n\r\n",
    "unknown method": b"FROB / HTTP/1.1\r\nHost: x\r\n\r\n",
    "tab in the request line": b"GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "raw byte in the target": b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED.keys())
async def test_what_is_malformed_or_ambiguous_is_refused_and_the_connection_closed(
    raw: bytes, bytewise: bool
):
    async with serving() as running:
        client = await running.connect()
        # A request after it must not be answered: it could be smuggled.
        data = raw if bytewise else raw + GET
        try:
            await (client.send_bytewise(data) if bytewise else client.send(data))
        except trio.BrokenResourceError:
            assert bytewise, "the server closed before it had all"
        reply = await client.reply()
        assert reply.status == 400
        assert reply.headers["connection"] == "close"
        await client.stream.send_eof()
        assert await client.closed()
        assert len(running.handler.refused) == 1


@pytest.mark.parametrize(
    "body",
    [b"x\r\n", b"zz\r\n", b"-1\r\n", b"fffffffffffffffff\r\n", b"5;a\rb\r\nhello", b"5\nhello", b"3\r\nhello\r\n", b"0\r\nbad trailer\r\n\r\n", b"1" * 5000, b"1000000000000000\r\n", b" 5\r\nhello\r\n"],
)  # fmt: skip
async def test_a_malformed_chunked_body_ends_the_connection(body: bytes):
    async with serving() as running:
        client = await running.connect()
        await client.send(
            b"PUT /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            + body
            # What could be taken for the end of the body and another request.
            + b"\r\n0\r\n\r\n"
            + GET
        )
        reply = await client.reply()
        assert (reply.status, reply.body) == (400, b"BadRequestError")
        assert reply.headers["connection"] == "close"
        await client.stream.send_eof()
        assert await client.closed()


async def test_a_head_too_large_is_refused_before_it_ends():
    async with serving(settings=HttpSettings(head_bytes_max=4096)) as running:
        client = await running.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: " + b"b" * 5000)
        assert (await client.reply()).headers["x-error"] == "HeadersTooLargeError"


async def test_too_many_headers_are_refused():
    async with serving() as running:
        client = await running.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 2000 + b"\r\n")
        assert (await client.reply()).headers["x-error"] == "HeadersTooLargeError"


async def test_http_1_0_closes_unless_asked_to_stay():
    async with serving() as running:
        client = await running.connect()
        await client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert (await client.reply()).headers["connection"] == "keep-alive"
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await client.reply()).headers["connection"] == "close"
        assert await client.closed()


async def test_connection_close_is_honoured():
    async with serving() as running:
        client = await running.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Close\r\n\r\n")
        assert (await client.reply()).headers["connection"] == "close"
        assert await client.closed()


async def test_head_has_a_length_and_no_body():
    async def respond(head: Head, body: IncomingBody) -> Response:
        return Response(200, b"", b"content")

    async with serving(respond) as running:
        client = await running.connect()
        await client.send(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n" + GET)
        assert (await client.reply(head_request=True)).headers["content-length"] == "7"
        assert (await client.reply()).body == b"content"


async def test_a_body_of_unknown_length_goes_out_chunked_or_ends_with_the_connection():
    async def respond(head: Head, body: IncomingBody) -> Response:
        async def pieces():
            yield b"one"
            yield b"two"

        return Response(200, b"", pieces())

    async with serving(respond) as running:
        client = await running.connect()
        await client.send(GET)
        reply = await client.reply()
        assert (reply.headers["transfer-encoding"], reply.body) == ("chunked", b"onetwo")
        await client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        reply = await client.reply()
        assert (reply.headers["connection"], reply.body) == ("close", b"onetwo")


@pytest.mark.parametrize("value", [b"", b"200", b"miracles"])
async def test_another_expectation_is_ignored(value: bytes):
    async with serving() as running:
        client = await running.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\nExpect: " + value + b"\r\n\r\n")
        assert (await client.reply()).status == 200


# --- bodies: Expect, unread ones, truncated ones -----------------------------------------


async def denied(head: Head, body: IncomingBody) -> Response:
    raise AccessDeniedError


EXPECTING = b"PUT /p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"


async def test_100_continue_is_sent_when_the_body_is_wanted():
    async with serving() as running:
        client = await running.connect()
        await client.send(EXPECTING)
        assert (await client.reply()).status == 100
        await client.send(b"hello")
        assert (await client.reply()).body == b"PUT /p hello"
        await client.send(GET)
        assert (await client.reply()).body == b"GET /a?b "


async def test_100_continue_is_not_sent_to_who_may_not():
    async with serving(denied) as running:
        client = await running.connect()
        await client.send(EXPECTING)
        reply = await client.reply()
        assert (reply.status, reply.headers["connection"]) == (400, "close")


@pytest.mark.parametrize("answer", [None, denied])
async def test_100_continue_is_sent_for_an_empty_body_too(answer):
    """botocore reads the next answer on this connection wrongly otherwise, and waits for its end until it times out."""
    async with serving(answer) if answer else serving() as running:
        client = await running.connect()
        for _ in range(2):
            await client.send(EXPECTING.replace(b"Length: 5", b"Length: 0"))
            assert (await client.reply()).status == 100
            reply = await client.reply()
            assert (reply.status, reply.headers.get("connection")) == (400 if answer else 200, None)


async def test_100_continue_is_not_sent_when_the_body_is_there_already():
    async with serving() as running:
        client = await running.connect()
        await client.send(EXPECTING + b"hello")
        assert (await client.reply()).body == b"PUT /p hello"


async def test_a_small_unread_body_is_read_away_and_the_connection_lives():
    async with serving(denied) as running:
        client = await running.connect()
        await client.send(PUT + PUT)
        for _ in range(2):
            reply = await client.reply()
            assert (reply.status, reply.headers.get("connection")) == (400, None)


async def test_a_large_unread_body_ends_the_connection_without_losing_the_answer():
    async with serving(denied) as running:
        client = await running.connect()
        size = 1_000_000
        await client.send(b"PUT /p HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
        await client.send(bytes(size))
        reply = await client.reply()
        assert (reply.status, reply.headers["connection"]) == (400, "close")
        await client.stream.send_eof()
        assert await client.closed()


@pytest.mark.parametrize("framing", [b"Content-Length: 50\r\n\r\nhel", b"Transfer-Encoding: chunked\r\n\r\n32\r\nhel"])  # fmt: skip
async def test_a_truncated_body_is_told_so(framing: bytes):
    async with serving() as running:
        client = await running.connect()
        await client.send(b"PUT /p HTTP/1.1\r\nHost: x\r\n" + framing)
        await client.stream.send_eof()
        assert (await client.reply()).body == b"IncompleteBodyError"


async def test_a_client_that_closes_between_requests_costs_nothing():
    async with serving() as running:
        client = await running.connect()
        await client.send(GET + b"GET /half HTT")
        assert (await client.reply()).status == 200
        await client.stream.send_eof()
        assert await client.closed()
        assert len(running.handler.sent_log) == 1


async def test_many_connections_at_once():
    async with serving() as running:
        replies: list[Reply] = []

        async def one(client: RawClient) -> None:
            for _ in range(5):
                await client.send(PUT)
                replies.append(await client.reply())

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(one, await running.connect())
        assert len(replies) == 250
        assert {reply.body for reply in replies} == {b"PUT /p hello"}
        assert running.server.statistics()["connections_accepted_total"] == 50


async def test_echo_of_a_large_chunked_body():
    async with serving(echo, HttpSettings()) as running:
        client = await running.connect()
        data = bytes(range(256)) * 2000
        pieces = [data[i : i + 7001] for i in range(0, len(data), 7001)]
        raw = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                client.send, CHUNKED.split(b"\r\n\r\n")[0] + b"\r\n\r\n" + raw + b"0\r\n\r\n" + GET
            )
            assert (await client.reply()).body == b"PUT /c " + data
            assert (await client.reply()).body == b"GET /a?b "


async def test_a_handler_that_reads_nothing_of_a_chunked_body():
    async def respond(head: Head, body: IncomingBody) -> Response:
        return Response(200, b"", b"ok")

    async with serving(respond) as running:
        client = await running.connect()
        await client.send(CHUNKED + CHUNKED)
        assert [(await client.reply()).body for _ in range(2)] == [b"ok", b"ok"]


async def test_read_all_reads_what_comes_in_pieces():
    sizes: list[int] = []

    async def respond(head: Head, body: IncomingBody) -> Response:
        data = await read_all(body)
        sizes.append(len(data))
        return Response(204)

    async with serving(respond) as running:
        client = await running.connect()
        await client.send_bytewise(PUT)
        assert (await client.reply()).status == 204
    assert sizes == [5]
