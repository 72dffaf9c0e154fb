"""Whose share is used up by whom."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from appliance.auth.identity import ANONYMOUS, Identity, Role
from appliance.policy.limits import AccountLimit, Limit
from appliance.s3.settings import S3Settings
from appliance.s3.throttle import Throttle, ThrottledError
from tests.support.s3_endpoint import RunningEndpoint, running_endpoint


def identity(name: str, **fields) -> Identity:
    return Identity(account_id=name, display_name=name, access_key="AK", role=Role.USER, **fields)


ALICE, BOB, ROOT = identity("alice"), identity("bob"), identity("root", root=True)
ONE = Limit(requests_in_flight=1)
EACH = [AccountLimit(match="*", limit=ONE)]


def test_accounts_have_shares_of_their_own():
    throttle = Throttle(Limit(), EACH)
    held = throttle.admit(ALICE, 0.0)
    with pytest.raises(ThrottledError, match="in flight already of this account"):
        throttle.admit(ALICE, 0.0)
    throttle.admit(BOB, 0.0)
    for meter in held:
        meter.release()
    assert len(throttle.admit(ALICE, 0.0)) == 1


def test_the_root_is_held_to_the_nodes_limit_only():
    throttle = Throttle(Limit(requests_in_flight=3), EACH)
    for _ in range(3):
        throttle.admit(ROOT, 0.0)
    with pytest.raises(ThrottledError, match="of this node"):
        throttle.admit(ROOT, 0.0)


def test_who_sends_no_credentials_is_called_anonymous():
    throttle = Throttle(Limit(), [AccountLimit(match="anonymous", limit=ONE)])
    throttle.admit(ANONYMOUS, 0.0)
    with pytest.raises(ThrottledError):
        throttle.admit(ANONYMOUS, 0.0)
    assert throttle.admit(ALICE, 0.0) == ()


def test_what_the_node_refuses_costs_the_account_nothing():
    throttle = Throttle(ONE, [AccountLimit(match="*", limit=Limit(requests_per_s=1))])
    held = throttle.admit(ALICE, 0.0)
    with pytest.raises(ThrottledError, match="of this node"):
        throttle.admit(BOB, 0.0)
    for meter in held:
        meter.release()
    assert len(throttle.admit(BOB, 0.0)) == 2
    assert throttle.statistics() == {
        'throttled_total{by="account"}': 0,
        'throttled_total{by="node"}': 1,
    }


# --- the endpoint ------------------------------------------------------------------------

MIB = 1024**2
NODE_OF_TWO = S3Settings(node_limit=Limit(requests_in_flight=2))


def in_flight(node: RunningEndpoint) -> int:
    return node.endpoint._throttle._node.in_flight


async def slow_down(node: RunningEndpoint, path: str = "/bucket/k") -> None:
    reply = await node.request("HEAD", path)
    assert reply.status == 503
    reply = await node.request("GET", path)
    assert (reply.status, b"<Code>SlowDown</Code>" in reply.body) == (503, True)
    assert b"2 requests are in flight already of this node." in reply.body


async def test_a_request_is_in_flight_while_its_body_comes_or_goes(tmp_path):
    async with running_endpoint(tmp_path, NODE_OF_TWO) as node:
        await node.call(node.s3.put_object, Bucket="bucket", Key="large", Body=bytes(32 * MIB))
        assert in_flight(node) == 0
        reading, writing = await node.connect(), await node.connect()
        await reading.send(node.signed("GET", "/bucket/large"))
        await reading.stream.receive_some(1)  # the answer has begun, and its reader stops
        await writing.send(node.signed("PUT", "/bucket/new", b"x" * 100)[:-1])
        await trio.testing.wait_all_tasks_blocked()
        assert in_flight(node) == 2
        await slow_down(node)
        assert in_flight(node) == 2
        await writing.send(b"x")
        assert (await writing.reply()).status == 200
        assert in_flight(node) == 1
        await node.call(node.s3.head_object, Bucket="bucket", Key="new")


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_who_leaves_is_in_flight_no_more(tmp_path, method):
    async with running_endpoint(tmp_path, NODE_OF_TWO) as node:
        await node.call(node.s3.put_object, Bucket="bucket", Key="large", Body=bytes(32 * MIB))
        for _ in range(3):
            client = await node.connect()
            if method == "GET":
                await client.send(node.signed("GET", "/bucket/large"))
                await client.stream.receive_some(1)
            else:
                await client.send(node.signed("PUT", "/bucket/new", b"x" * 100)[:-1])
                await trio.testing.wait_all_tasks_blocked()
            await trio.aclose_forcefully(client.stream)
            with trio.fail_after(30):
                while in_flight(node):
                    await trio.testing.wait_all_tasks_blocked()


async def test_errors_and_hits_leave_nothing_in_flight(tmp_path):
    async with running_endpoint(tmp_path, NODE_OF_TWO) as node:
        await node.call(node.s3.put_object, Bucket="bucket", Key="k", Body=b"small")
        for path, status in (
            ("/bucket/k", 200),
            ("/bucket/k", 200),
            ("/bucket/missing", 404),
            ("/missing/k", 404),
            ("/bucket?inventory", 501),
            ("/bucket?max-keys=x", 400),
            ("/", 200),
        ):
            assert (await node.request("GET", path)).status == status
            assert in_flight(node) == 0


async def test_who_is_not_known_uses_up_nobodys_share(tmp_path):
    settings = S3Settings(node_limit=Limit(requests_per_s=0.001))
    async with running_endpoint(tmp_path, settings) as node:
        forged = node.signed("GET", "/bucket/k").replace(b"Signature=", b"Signature=0")
        for _ in range(3):
            client = await node.connect()
            await client.send(forged)
            assert (await client.reply()).status in {400, 403}
        assert (await node.request("GET", "/bucket/k")).status == 404
        assert (await node.request("GET", "/bucket/k")).status == 503
        key = 'throttled_total{by="node"}'
        assert node.endpoint.statistics()[key] == 1
