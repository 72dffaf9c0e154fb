"""What is measured: a function a row; each gets a scene and a number of rounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.report import Result
from bench.rows import accounts, cold, hits, mount
from bench.scene import Scene

ROWS: dict[str, Callable[[Scene, int], Sequence[Result]]] = {
    "get-4k": hits.get_4k,
    "get-1g": hits.get_1g,
    "put-1g": hits.put_1g,
    "memory": hits.memory,
    "accounts-get-4k": accounts.get_4k,
    "accounts-put-4k": accounts.put_4k,
    "accounts-list": accounts.list_1000,
    "accounts-delete": accounts.delete_1000,
    "mount-sequential": mount.sequential,
    "mount-small": mount.small,
    "cold-1g": cold.big,
    "cold-small": cold.small,
    "cold-mount-1g": cold.mount_big,
    "cold-mount-small": cold.mount_small,
}
