"""Whether a delete may go past object lock's retention in governance mode: who asks for it has leave (s3:BypassGovernanceRetention).

The front end sets it around an operation, as it does the caller (caller.py). A backend whose storage locks objects tells that storage;
where nothing is ever locked there is nothing to go past, and it is ignored.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

BYPASS_GOVERNANCE: ContextVar[bool] = ContextVar("bypass_governance", default=False)


@contextlib.contextmanager
def bypassing_governance(asked: bool) -> Iterator[None]:
    """Within one task, around whatever it awaits."""
    token = BYPASS_GOVERNANCE.set(asked)
    try:
        yield
    finally:
        BYPASS_GOVERNANCE.reset(token)
