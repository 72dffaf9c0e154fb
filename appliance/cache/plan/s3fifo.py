"""S3-FIFO: which object to evict next (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023), with sizes in bytes.

New objects enter a small queue that gets 10 % of the space. What leaves it without having been used again is evicted, and only its name is
remembered, in the ghost queue; what was used again moves to the main queue. A name that comes back while it is a ghost enters main at once.
Main gives each use one more round. So a scan of things read once passes through the small queue and leaves the working set alone, and a
hit costs one increment, no reordering.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import TypeAlias

Name: TypeAlias = tuple[str, str]  # bucket, key

SMALL_SHARE = 0.1
FREQUENCY_MAX = 3
# Uses after the first that make an object worth a place in main.
PROMOTE_AT = 1


class Node:
    """An object in a queue. `frequency` counts uses since it entered, up to FREQUENCY_MAX; readers bump it themselves."""

    __slots__ = ("frequency", "name", "size")

    def __init__(self, name: Name, size: int, frequency: int) -> None:
        self.name = name
        self.size = size
        self.frequency = frequency


class S3Fifo:
    """Queues of names. `capacity_bytes` sets the share of the small queue and the length of the ghost queue; nothing is evicted unasked."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.used_bytes = 0
        self._small: OrderedDict[Name, Node] = OrderedDict()
        self._main: OrderedDict[Name, Node] = OrderedDict()
        self._ghost: OrderedDict[Name, int] = OrderedDict()
        self._small_bytes = 0
        self._ghost_bytes = 0

    def __len__(self) -> int:
        return len(self._small) + len(self._main)

    def __contains__(self, name: Name) -> bool:
        return name in self._small or name in self._main

    def __iter__(self) -> Iterator[Node]:
        yield from self._small.values()
        yield from self._main.values()

    def get(self, name: Name) -> Node | None:
        return self._small.get(name) or self._main.get(name)

    def insert(self, name: Name, size: int, frequency: int = 0) -> Node:
        """Add an object of `size` bytes, replacing one of that name. `frequency` > 0 (saved by an earlier run) starts it in main."""
        was_main = name in self._main
        self.discard(name)
        node = Node(name, size, min(frequency, FREQUENCY_MAX))
        ghost_size = self._ghost.pop(name, None)
        if ghost_size is not None:
            self._ghost_bytes -= ghost_size
        if was_main or frequency > 0 or ghost_size is not None:
            self._main[name] = node
        else:
            self._small[name] = node
            self._small_bytes += size
        self.used_bytes += size
        return node

    def worth(self, node: Node) -> int:
        """The frequency to save for a restart: what has made it into main shall not begin anew."""
        return max(node.frequency, int(node.name in self._main))

    def resize(self, name: Name, size: int) -> None:
        """The object takes `size` bytes now."""
        node = self.get(name)
        if node is not None:
            self._account(node, size - node.size)
            node.size = size

    def discard(self, name: Name) -> None:
        """Forget an object, if it is there."""
        node = self.get(name)
        if node is not None:
            self._account(node, -node.size)
            self._small.pop(name, None)
            self._main.pop(name, None)

    def evict(self, exempt: Callable[[Name], bool]) -> Node | None:
        """Take the next object out and return it; None if all that is left is exempt."""
        if self._small_bytes > SMALL_SHARE * self.capacity_bytes or not self._main:
            return self._evict_small(exempt) or self._evict_main(exempt)
        return self._evict_main(exempt) or self._evict_small(exempt)

    def statistics(self) -> dict[str, float]:
        return {
            "small_objects": len(self._small),
            "small_bytes": self._small_bytes,
            "main_objects": len(self._main),
            "main_bytes": self.used_bytes - self._small_bytes,
            "ghost_objects": len(self._ghost),
        }

    def _account(self, node: Node, delta: int) -> None:
        self.used_bytes += delta
        if node.name in self._small:
            self._small_bytes += delta

    def _evict_small(self, exempt: Callable[[Name], bool]) -> Node | None:
        """One pass: exempt objects go round, used ones go to main, the first other one is evicted."""
        for _ in range(len(self._small)):
            name, node = next(iter(self._small.items()))
            if exempt(name):
                self._small.move_to_end(name)
            elif node.frequency >= PROMOTE_AT:
                del self._small[name]
                self._small_bytes -= node.size
                node.frequency = 0
                self._main[name] = node
            else:
                self.discard(name)
                self._remember(node)
                return node
        return None

    def _evict_main(self, exempt: Callable[[Name], bool]) -> Node | None:
        """After FREQUENCY_MAX + 1 passes everything that is not exempt has used its rounds up."""
        for _ in range((FREQUENCY_MAX + 1) * len(self._main)):
            name, node = next(iter(self._main.items()))
            if exempt(name) or node.frequency > 0:
                node.frequency = max(0, node.frequency - 1)
                self._main.move_to_end(name)
            else:
                self.discard(name)
                return node
        return None

    def _remember(self, node: Node) -> None:
        """Ghosts stand for as many bytes as main may hold."""
        self._ghost_bytes += node.size - self._ghost.pop(node.name, 0)
        self._ghost[node.name] = node.size
        while self._ghost_bytes > (1 - SMALL_SHARE) * self.capacity_bytes:
            _, size = self._ghost.popitem(last=False)
            self._ghost_bytes -= size
