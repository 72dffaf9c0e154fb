"""As whom files are touched: the user and groups of the account that asked, where it has any.

The front end sets the caller around an operation; tasks started in it and functions run in threads for it inherit it. A backend on a
filesystem (`Capabilities.callers`) makes files as that user, and refuses with AccessDeniedError what that user may not do there. Backends
that know no users of this system ignore it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import msgspec


class Caller(msgspec.Struct, frozen=True):
    """`gids`: the primary group, then the others; never empty."""

    uid: int
    gids: tuple[int, ...]


# None: the appliance itself.
CALLER: ContextVar[Caller | None] = ContextVar("caller", default=None)


@contextlib.contextmanager
def acting_as(caller: Caller | None) -> Iterator[None]:
    """Within one task, around whatever it awaits."""
    token = CALLER.set(caller)
    try:
        yield
    finally:
        CALLER.reset(token)
