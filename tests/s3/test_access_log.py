"""The request log: batches, bounds, and nothing lost at the end."""

from __future__ import annotations

import errno
import json
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from appliance.s3 import access_log
from appliance.s3.access_log import LINGER_S, AccessLog, LogLine
from appliance.world import Lane, RealWorld


def line(number: int) -> LogLine:
    return LogLine(
        time="", request_id=str(number), peer="", operation="GetObject", status=200, duration_ms=1.0
    )


class Written(list[bytes]):
    """What was written, and an event at each write."""

    def __init__(self) -> None:
        super().__init__()
        self.event = trio.Event()

    def write(self, data: bytes) -> None:
        self.append(data)
        trio.from_thread.run_sync(self.event.set)


class Inline(RealWorld):
    """What would run in a thread is done when the call returns."""

    async def run_blocking(self, lane: Lane, function: Any, *args: Any) -> Any:
        return function(*args)


def numbers(written: list[bytes]) -> list[int]:
    return [int(json.loads(raw)["request_id"]) for data in written for raw in data.splitlines()]


async def test_lines_are_written_in_order_and_in_batches(mock_clock: MockClock):
    written = Written()
    log = AccessLog(RealWorld(), written.write)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.run)
        for number in range(5):
            log.add(line(number))
        await wait_all_tasks_blocked()
        assert written == []
        mock_clock.jump(LINGER_S + 0.01)
        await written.event.wait()
        assert len(written) == 1
        log.add(line(5))
        nursery.cancel_scope.cancel()
    assert numbers(written) == [0, 1, 2, 3, 4, 5]


async def test_plenty_of_lines_do_not_wait(mock_clock: MockClock, monkeypatch):
    monkeypatch.setattr(access_log, "PLENTY", 3)
    written = Written()
    log = AccessLog(RealWorld(), written.write)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.run)
        for number in range(3):
            log.add(line(number))
        await written.event.wait()
        nursery.cancel_scope.cancel()
    assert numbers(written) == [0, 1, 2]


@pytest.mark.parametrize("excess", [1, 10])
def test_lines_beyond_the_bound_are_dropped_and_counted(excess: int, monkeypatch):
    monkeypatch.setattr(access_log, "QUEUE_MAX", 7)
    log = AccessLog(RealWorld(), lambda _: None)
    for number in range(7 + excess):
        log.add(line(number))
    assert log.statistics() == {
        "log_lines_written_total": 0,
        "log_lines_dropped_total": excess,
        "log_lines_waiting": 7,
    }


async def test_bytes_of_clients_that_are_not_utf_8_are_escaped_in_every_field():
    odd = "a\udcff\ud800"
    texts = {name: odd for name, kind in LogLine.__annotations__.items() if kind.startswith("str")}
    written = Written()
    log = AccessLog(RealWorld(), written.write)
    log.add(LogLine(status=403, duration_ms=1.0, **texts))
    log.add(line(1))
    await flushed(log)
    first, second = b"".join(written).splitlines()
    found = json.loads(first)
    assert {found[name] for name in texts} == {"a\\udcff\\ud800"}
    assert json.loads(second)["request_id"] == "1"
    assert log.statistics()["log_lines_written_total"] == 2


async def test_lines_that_cannot_be_written_are_counted_and_the_next_ones_are_written(
    mock_clock: MockClock, caplog
):
    written: list[bytes] = []
    failing = True

    def write(data: bytes) -> None:
        if failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(data)

    log = AccessLog(Inline(), write)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.run)
        for number in range(2):
            log.add(line(number))
            await wait_all_tasks_blocked()
            mock_clock.jump(LINGER_S + 0.01)
            await wait_all_tasks_blocked()
        assert log.statistics()["log_lines_dropped_total"] == 2
        failing = False
        log.add(line(2))
        nursery.cancel_scope.cancel()
    # Half a line may have gone out before the error: it must not spoil the next one.
    assert [part[:1] for part in written] == [b"\n"]
    assert [json.loads(raw)["request_id"] for raw in written[0].splitlines() if raw] == ["2"]
    assert log.statistics()["log_lines_written_total"] == 1
    # Said once, not with each batch.
    assert len([1 for record in caplog.records if "No space left" in record.message]) == 1


async def flushed(log: AccessLog) -> None:
    """What is left at the end is written."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.run)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
