"""The hot lane: idle connections wait together in one epoll set, and get a turn without waking their tasks.

Most requests of a cache can be answered at once: receive, decide, send, without waiting for anything. A trip through the scheduler for each
(register with epoll, suspend a task, resume it) would cost as much as the answer. So a connection's task, when it has nothing to do, parks
here; the lane's one task waits for all of them and gives each that has something to receive a turn: a plain function that does what can be
done now. What it cannot do (a body to receive, a miss, half a head) it returns, and that wakes the connection's task.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Generic, TypeVar

import outcome
import trio

T = TypeVar("T")

# Turns in a row before other tasks get theirs.
_BATCH = 64


class HotLane(Generic[T]):
    """Tasks parked here wait for their descriptor; `T` is what a turn leaves to its task."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._parked: dict[int, tuple[trio.lowlevel.Task, Callable[[], T | None]]] = {}
        self._turns = 0

    async def park(self, fd: int, turn: Callable[[], T | None]) -> T:
        """Wait until a `turn`, taken whenever `fd` is readable, returns something. It must raise nothing, and not block."""
        self._parked[fd] = (trio.lowlevel.current_task(), turn)
        self._epoll.register(fd, select.EPOLLIN)

        def abort(_: object) -> trio.lowlevel.Abort:
            self._forget(fd)
            return trio.lowlevel.Abort.SUCCEEDED

        left: T = await trio.lowlevel.wait_task_rescheduled(abort)
        return left

    async def run(self) -> None:
        """Give turns, until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            for fd, _ in self._epoll.poll(0, _BATCH):
                self._give_turn(fd)

    def close(self) -> None:
        """When nobody runs it or parks any more."""
        self._epoll.close()

    def statistics(self) -> dict[str, float]:
        return {"hot_turns_total": self._turns, "hot_parked": len(self._parked)}

    def _give_turn(self, fd: int) -> None:
        parked = self._parked.get(fd)
        if parked is None:
            return  # cancelled since it was reported
        self._turns += 1
        task, turn = parked
        left = turn()
        if left is not None:
            self._forget(fd)
            trio.lowlevel.reschedule(task, outcome.Value(left))

    def _forget(self, fd: int) -> None:
        del self._parked[fd]
        self._epoll.unregister(fd)
