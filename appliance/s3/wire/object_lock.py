"""What request headers say of object lock: how long a new object is kept, and whether a request may go past what keeps one.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html
"""

from __future__ import annotations

from collections.abc import Mapping

LEGAL_HOLD = "x-amz-object-lock-legal-hold"
RETENTION = frozenset({"x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date"})
OBJECT_LOCK = RETENTION | {LEGAL_HOLD}
BYPASS = "x-amz-bypass-governance-retention"


def asks_for_bypass(headers: Mapping[str, str]) -> bool:
    """Whether a request means to go past retention in governance mode. All but "false" do: services differ in what they take for true."""
    return headers.get(BYPASS, "false").strip().lower() != "false"
