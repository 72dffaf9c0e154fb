"""Opens that were overtaken: the second try of the kernel gets the version that it has just looked up.

To open a path is two requests, LOOKUP and OPEN. If another version arrives between them, OPEN answers ESTALE, and the kernel tries both
once more; if it is overtaken again, the program is told. So the LOOKUP of a second try opens the version, which the OPEN that follows gets,
whatever came meanwhile. It was the newest after open(2) began, which is what close-to-open promises.

Kept for the thread that was refused, for one open, and not for long: at most `KEPT_MAX`, and none older than `KEPT_S` once another comes.
"""

from __future__ import annotations

from appliance.cache.api import Reader
from appliance.mount.inodes import Node
from appliance.world import World

KEPT_MAX = 64
KEPT_S = 5.0


class Retried:
    """By thread (the kernel's `pid` of a request): the name that it could not open, and the version that its next open gets."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._refused: dict[int, tuple[str, str]] = {}
        self._kept: dict[int, tuple[Node, Reader, float]] = {}
        self.served = 0

    def refused(self, pid: int, node: Node) -> None:
        """An open of `node` answered ESTALE."""
        self._refused.pop(pid, None)
        self._refused[pid] = (node.bucket, node.key)
        if len(self._refused) > KEPT_MAX:
            del self._refused[next(iter(self._refused))]

    def is_retry(self, pid: int, node: Node) -> bool:
        """True if this thread looks up again what it could not open."""
        return self._refused.get(pid) == (node.bucket, node.key)

    def keep(self, pid: int, node: Node, reader: Reader) -> None:
        """Have the next open of `node` by this thread get `reader`."""
        self._drop(pid)
        self._kept[pid] = (node, reader, self._world.boot_s())
        oldest_s = self._world.boot_s() - KEPT_S
        for other, (_, _, kept_s) in tuple(self._kept.items()):
            if kept_s < oldest_s or len(self._kept) > KEPT_MAX:
                self._drop(other)

    def take(self, pid: int, node: Node) -> Reader | None:
        """The reader kept for this open, if there is one; the caller closes it."""
        self._refused.pop(pid, None)
        kept = self._kept.get(pid)
        if kept is None or kept[0] is not node or node.draft is not None:
            self._drop(pid)
            return None
        del self._kept[pid]
        self.served += 1
        return kept[1]

    def _drop(self, pid: int) -> None:
        kept = self._kept.pop(pid, None)
        if kept is not None:
            kept[1].close()

    def close(self) -> None:
        for pid in tuple(self._kept):
            self._drop(pid)

    def statistics(self) -> dict[str, float]:
        return {"retried_opens_total": self.served, "kept_versions": len(self._kept)}
