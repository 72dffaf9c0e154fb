"""How many connections one client may have."""

from __future__ import annotations

import pytest
from trio.testing import wait_all_tasks_blocked

from appliance.s3.http.server import client_group
from appliance.s3.settings import HttpSettings
from tests.support.raw_http import serving

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_one_address_has_so_many_and_no_more():
    async with serving(settings=HttpSettings(connections_per_address_max=2)) as running:
        clients = [await running.connect() for _ in range(2)]
        for client in clients:
            await client.send(GET)
            assert (await client.reply()).status == 200
        third = await running.connect()
        assert (await third.reply()).headers["x-error"] == "SlowDownError"
        # Those that it has stay, idle as they are: only the new one pays.
        for client in clients:
            await client.send(GET)
            assert (await client.reply()).status == 200
        assert running.server.statistics()["connections_addresses"] == 1
        await clients[0].stream.aclose()
        await wait_all_tasks_blocked()
        fourth = await running.connect()
        await fourth.send(GET)
        assert (await fourth.reply()).status == 200
        assert running.server.statistics()["connections_turned_away_total"] == 1


async def test_what_is_not_counted_any_more_takes_no_memory():
    async with serving() as running:
        client = await running.connect()
        await client.send(GET)
        await client.reply()
        await client.stream.aclose()
        await wait_all_tasks_blocked()
        assert running.server.statistics()["connections_addresses"] == 0
        assert running.server.statistics()["connections_open"] == 0


@pytest.mark.parametrize(
    ("peer", "group"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::1", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::1", "::"),
    ],
)
def test_who_counts_as_one_client(peer: str, group: str):
    assert client_group(peer) == group
