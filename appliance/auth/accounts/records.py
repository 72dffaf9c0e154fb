"""What the journal holds of accounts and keys: one record each, the newest event of a name wins, an event without value removes it.

A key names its account; an account does not name its keys. So two nodes that change different keys of one account never overwrite each
other's change, and a key whose account is gone is no key.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from appliance.auth.identity import Account, Role
from appliance.model.errors import JournalError
from appliance.model.events import Change, Kind

R = TypeVar("R", "AccountRecord", "KeyRecord")


class AccountRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The event's key is the canonical id. Fields as in `appliance.auth.identity.Account`."""

    name: str
    role: Role
    email: str = ""
    disabled: bool = False
    uid: int | None = None
    gids: tuple[int, ...] = ()
    created_ns: int = 0

    def account(self, account_id: str) -> Account:
        return Account(
            account_id=account_id,
            display_name=self.name,
            role=self.role,
            disabled=self.disabled,
            email=self.email,
            uid=self.uid,
            gids=self.gids,
            created_ns=self.created_ns,
        )


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The event's key is the access key. `account` is the canonical id, `sealed` the secret (`appliance.auth.sealing`)."""

    account: str
    sealed: bytes
    disabled: bool = False
    created_ns: int = 0


def account_change(account_id: str, record: AccountRecord | None) -> Change:
    """None: there is no such account any more."""
    return _change(Kind.ACCOUNT, account_id, record)


def key_change(access_key: str, record: KeyRecord | None) -> Change:
    """None: there is no such key any more."""
    return _change(Kind.ACCESS_KEY, access_key, record)


def decode(value: Any, kind: type[R]) -> R:
    """A record from the value in an event. Raises JournalError."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise JournalError(
            f"The journal holds an account or access key that this version cannot read ({error}): run the version that wrote it."
        ) from error


def _change(kind: Kind, key: str, record: AccountRecord | KeyRecord | None) -> Change:
    if record is None:
        return Change(kind=kind, bucket="", key=key)
    value = msgspec.to_builtins(record, builtin_types=(bytes,))
    return Change(kind=kind, bucket="", key=key, detail={"value": value})
