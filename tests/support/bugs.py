"""The register of backends with one bug each, and of the checks that must find it."""

from __future__ import annotations

from collections.abc import Callable

from appliance_example.backend import MemoryBackend

BUGS: list[tuple[type[MemoryBackend], str]] = []


def caught_by(check: str) -> Callable[[type[MemoryBackend]], type[MemoryBackend]]:
    def register(bug: type[MemoryBackend]) -> type[MemoryBackend]:
        BUGS.append((bug, check))
        return bug

    return register
