"""The request log: one JSON line a request, written in batches by one task, off the request path.

A request appends a value to a bounded queue; when the writer falls behind, or what it writes to is full or gone, lines are dropped and
counted, never requests delayed or refused: who cannot log goes on serving, and says so in the metric `log_lines_dropped_total`. No query
string, header or credential is logged: presigned URLs carry signatures.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec
import trio

from appliance.world import Lane, World

logger = logging.getLogger(__name__)

QUEUE_MAX = 65_536
# Lines wait so long, or until there are so many, before they are written: a trip to a thread costs as much as many lines.
LINGER_S = 0.25
PLENTY = 1024
_encoder = msgspec.json.Encoder()


class LogLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request. `duration_ms`: from its head to the response's last byte; `error`: S3's code; `reason`:
    why it was denied; `cut`: why the answer ended early."""

    time: str
    request_id: str
    peer: str
    operation: str
    status: int
    duration_ms: float
    method: str = ""
    bucket: str = ""
    key: str = ""
    access_key: str = ""
    received_bytes: int = 0
    sent_bytes: int = 0
    error: str = ""
    reason: str = ""
    cut: str = ""
    user_agent: str = ""


class AccessLog:
    """`write` takes whole lines, as bytes; it may block, and runs in a thread."""

    def __init__(self, world: World, write: Callable[[bytes], object]) -> None:
        self._world = world
        self._write = write
        self._queue: list[LogLine] = []
        self._filled = trio.Event()
        self._plenty = trio.Event()
        self._written = 0
        self._dropped = 0
        self._failing = False

    def add(self, line: LogLine) -> None:
        if len(self._queue) >= QUEUE_MAX:
            self._dropped += 1
            return
        self._queue.append(line)
        count = len(self._queue)
        if count == 1:
            self._filled.set()
        elif count == PLENTY:
            self._plenty.set()

    async def run(self) -> None:
        """Write until cancelled; then what is left is written too."""
        try:
            while True:
                await self._filled.wait()
                with trio.move_on_after(LINGER_S):
                    await self._plenty.wait()
                await self._flush()
        finally:
            with trio.CancelScope(shield=True):
                await self._flush()

    def statistics(self) -> dict[str, float]:
        return {
            "log_lines_written_total": self._written,
            "log_lines_dropped_total": self._dropped,
            "log_lines_waiting": len(self._queue),
        }

    async def _flush(self) -> None:
        batch, self._queue = self._queue, []
        self._filled = trio.Event()
        self._plenty = trio.Event()
        if not batch:
            return
        try:
            await self._world.run_blocking(Lane.DISK, self._write_all, batch)
        except Exception as error:  # noqa: BLE001  # whatever it is, requests are worth more than their log
            self._dropped += len(batch)
            if not self._failing:
                self._failing = True
                logger.warning(
                    "the request log cannot be written, its lines are dropped: %s", error
                )
        else:
            self._failing = False
            self._written += len(batch)

    def _write_all(self, batch: list[LogLine]) -> None:
        # What failed may have left half a line.
        start = b"\n" if self._failing else b""
        self._write(start + b"".join(_encoded(line) for line in batch))


def _encoded(line: LogLine) -> bytes:
    try:
        return _encoder.encode(line) + b"\n"
    except UnicodeEncodeError:
        return _encoder.encode(_printable(line)) + b"\n"


def _printable(line: LogLine) -> LogLine:
    """What clients send may hold bytes that are not UTF-8, as surrogates, which JSON cannot."""
    texts = {
        name: text for name, text in msgspec.structs.asdict(line).items() if isinstance(text, str)
    }
    return msgspec.structs.replace(
        line,
        **{name: text.encode("utf-8", "backslashreplace").decode() for name, text in texts.items()},
    )
