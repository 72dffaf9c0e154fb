"""Two appliances that know nothing of each other over one POSIX directory: conditions hold between them, race after race."""

from __future__ import annotations

import contextlib
from collections import Counter

import pytest
import trio

from tests.support.node import Node
from tests.support.raw_http import RawClient, Reply
from tests.support.signed import signed_headers

pytestmark = pytest.mark.real

ROUNDS = 1000
# Rounds under way at once: most of a round is waiting for disks.
LANES = 8
INCREMENTS = 60


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("nodes")
    (tmp_path / "buckets" / "race").mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(
                contextlib.closing(Node(tmp_path / name, f"posix://{tmp_path}/buckets"))
            )
            for name in ("one", "two")
        ]


class Client:
    """One connection to one node."""

    def __init__(self, node: Node, stream: trio.abc.Stream) -> None:
        self._endpoint = node.endpoint
        self._raw = RawClient(stream)

    async def ask(self, method: str, key: str, body: bytes = b"", **conditions: str) -> Reply:
        path = f"/race/{key}"
        fields = signed_headers(method, self._endpoint + path, "UNSIGNED-PAYLOAD")
        fields |= {name.replace("_", "-"): value for name, value in conditions.items()}
        fields |= {"Host": self._endpoint[7:], "Content-Length": str(len(body))}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        await self._raw.send(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body)
        return await self._raw.reply()


@contextlib.asynccontextmanager
async def connected(nodes: list[Node]):
    """A client of each."""
    async with contextlib.AsyncExitStack() as stack:
        yield [
            Client(
                node,
                await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", node.port)),
            )
            for node in nodes
        ]


async def race(clients: list[Client], key: str, **conditions: str) -> tuple[bytes, str]:
    """All put at once; the body and ETag of the one that won, which everybody then reads."""
    bodies = [f"{key} {conditions} of {number}".encode() for number, _ in enumerate(clients)]
    replies: list[Reply | None] = [None] * len(clients)

    async def put(number: int) -> None:
        replies[number] = await clients[number].ask("PUT", key, bodies[number], **conditions)

    async with trio.open_nursery() as nursery:
        for number in range(len(clients)):
            nursery.start_soon(put, number)
    assert sorted(reply.status for reply in replies) == [200, *[412] * (len(clients) - 1)], replies
    [winner] = [number for number, reply in enumerate(replies) if reply.status == 200]
    for client in clients:
        seen = await client.ask("GET", key)
        assert (seen.body, seen.headers["etag"]) == (
            bodies[winner],
            replies[winner].headers["etag"],
        )
    return bodies[winner], replies[winner].headers["etag"]


async def test_of_racing_writes_with_conditions_one_wins(nodes):
    won: Counter[bytes] = Counter()

    async def lane(first: int) -> None:
        async with connected(nodes) as clients:
            for number in range(first, ROUNDS, LANES):
                body, etag = await race(clients, f"k{number}", if_none_match="*")
                won[body[-1:]] += 1
                body, etag = await race(clients, f"k{number}", if_match=etag)
                won[body[-1:]] += 1

    async with trio.open_nursery() as nursery:
        for first in range(LANES):
            nursery.start_soon(lane, first)
    assert won.total() == 2 * ROUNDS
    # Had one node won always, they would not have raced.
    assert min(won[b"0"], won[b"1"]) > 0, won


async def test_increments_under_if_match_are_all_counted(nodes):
    async with connected(nodes) as clients:
        assert (await clients[0].ask("PUT", "counter", b"0")).status == 200
        lost = 0

        async def increment(client: Client) -> None:
            nonlocal lost
            for _ in range(INCREMENTS):
                while True:
                    seen = await client.ask("GET", "counter")
                    body = str(int(seen.body) + 1).encode()
                    put = await client.ask("PUT", "counter", body, if_match=seen.headers["etag"])
                    if put.status == 200:
                        break
                    assert put.status == 412, put
                    lost += 1

        async with trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(increment, client)
        for client in clients:
            assert (await client.ask("GET", "counter")).body == str(2 * INCREMENTS).encode()
        assert lost > 0
