"""Requests beyond what node or account may have are answered 503 SlowDown, after the signature was verified and before anything is done.

After, because nobody may use up the share of another account, or keep the node from knowing its root: the root has no share of its own
and is held to the node's limit only. Who sends no credentials shares the account name "anonymous". So do browsers' forms until their
signer is known, which is when most of the request is here; then they are charged to the signer, too. A request is in flight until its
operation has ended, and one whose body streams until the last byte is out.
"""

from __future__ import annotations

from collections.abc import Sequence

from appliance.auth.identity import Identity
from appliance.model.errors import SlowDownError
from appliance.policy.limits import AccountLimit, Limit, Meter, limit_of

ANONYMOUS_NAME = "anonymous"


class ThrottledError(SlowDownError):
    """Please reduce your request rate."""


def make_throttle(node: Limit, accounts: Sequence[AccountLimit]) -> Throttle | None:
    """None where nothing is limited: then it costs nothing."""
    return Throttle(node, accounts) if node or any(entry.limit for entry in accounts) else None


class Throttle:
    """Meters of the node and of every account that has asked for something."""

    def __init__(self, node: Limit, accounts: Sequence[AccountLimit]) -> None:
        self._node = Meter(node) if node else None
        self._limits = accounts
        self._accounts: dict[str, tuple[str, Meter | None]] = {}
        self._refused_by_account = 0
        self._refused_by_node = 0

    def admit(self, identity: Identity, now_s: float) -> tuple[Meter, ...]:
        """The meters to release when the request has ended. Raises ThrottledError."""
        account = self._account(identity)
        meters = []
        if account is not None:
            reason = account.refusal(now_s)
            if reason:
                self._refused_by_account += 1
                raise ThrottledError(f"Please reduce your request rate: {reason} of this account.")
            meters.append(account)
        if self._node is not None:
            reason = self._node.refusal(now_s)
            if reason:
                self._refused_by_node += 1
                raise ThrottledError(f"Please reduce your request rate: {reason} of this node.")
            meters.append(self._node)
        for meter in meters:
            meter.admit(now_s)
        return tuple(meters)

    def statistics(self) -> dict[str, float]:
        return {
            'throttled_total{by="account"}': self._refused_by_account,
            'throttled_total{by="node"}': self._refused_by_node,
        }

    def _account(self, identity: Identity) -> Meter | None:
        if identity.root:
            return None
        name = identity.display_name or ANONYMOUS_NAME
        known = self._accounts.get(identity.account_id)
        if known is None or known[0] != name:
            limit = limit_of(name, self._limits)
            known = (name, Meter(limit) if limit else None)
            self._accounts[identity.account_id] = known
        return known[1]
