"""Accounts and keys in memory: the root, and what the records say. Lookups are one dict access.

`lookup` returns the same object until something about it changes, and None from the moment a key or its account is disabled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from appliance.auth.accounts.records import AccountRecord, KeyRecord
from appliance.auth.credentials import Credentials, account_of
from appliance.auth.identity import Account, Identity

Unseal = Callable[[str, KeyRecord], str | None]


class Directory:
    """`root` wins over a record that claims its id, name or key. `unseal` gives a key's secret, None if it cannot."""

    def __init__(self, root: Credentials, unseal: Unseal) -> None:
        self.root = root
        self._root_account = account_of(root.identity)
        self._unseal = unseal
        self._accounts: dict[str, Account] = {}
        self._keys: dict[str, KeyRecord] = {}
        self._keys_of: dict[str, set[str]] = {}
        self._names: dict[str, str] = {}
        self._emails: dict[str, str] = {}
        self._live: dict[str, Credentials] = {root.access_key: root}
        # On the hot path of every request: no Python between it and the dict.
        self.lookup: Callable[[str], Credentials | None] = self._live.get

    # --- asking ---------------------------------------------------------------------

    def account(self, account_id: str) -> Account | None:
        if account_id == self._root_account.account_id:
            return self._root_account
        return self._accounts.get(account_id)

    def named(self, display_name: str) -> Account | None:
        if display_name == self._root_account.display_name:
            return self._root_account
        return self._accounts.get(self._names.get(display_name, ""))

    def with_email(self, email: str) -> Account | None:
        return self._accounts.get(self._emails.get(email.lower(), ""))

    def accounts(self) -> Iterator[Account]:
        """By name, without the root."""
        yield from sorted(self._accounts.values(), key=lambda account: account.display_name)

    def key(self, access_key: str) -> KeyRecord | None:
        return self._keys.get(access_key)

    def keys_of(self, account_id: str) -> list[tuple[str, KeyRecord]]:
        """Oldest first."""
        found = [(key, self._keys[key]) for key in self._keys_of.get(account_id, ())]
        return sorted(found, key=lambda item: (item[1].created_ns, item[0]))

    def statistics(self) -> dict[str, float]:
        """Numbers now; usable keys include the root's."""
        return {"accounts": len(self._accounts), "usable_keys": len(self._live)}

    # --- learning ---------------------------------------------------------------------

    def put_account(self, account_id: str, record: AccountRecord | None) -> None:
        """There is an account, it changed, or (None) it is gone."""
        former = self._accounts.pop(account_id, None)
        if former is not None:
            self._forget_names(account_id, former)
        if record is not None:
            account = self._accounts[account_id] = record.account(account_id)
            self._names[account.display_name] = account_id
            if account.email:
                self._emails[account.email.lower()] = account_id
        for access_key in self._keys_of.get(account_id, ()):
            self._refresh(access_key)

    def put_key(self, access_key: str, record: KeyRecord | None) -> None:
        """There is a key, it changed, or (None) it is gone."""
        former = self._keys.pop(access_key, None)
        if former is not None:
            of_account = self._keys_of[former.account]
            of_account.discard(access_key)
            if not of_account:
                del self._keys_of[former.account]
        if record is not None:
            self._keys[access_key] = record
            self._keys_of.setdefault(record.account, set()).add(access_key)
        self._refresh(access_key)

    def _forget_names(self, account_id: str, account: Account) -> None:
        # Two nodes may have given one name at a time: then the other account bears it now.
        if self._names.get(account.display_name) == account_id:
            del self._names[account.display_name]
            for other in self._accounts.values():
                if other.display_name == account.display_name:
                    self._names[other.display_name] = other.account_id
        email = account.email.lower()
        if email and self._emails.get(email) == account_id:
            del self._emails[email]
            for other in self._accounts.values():
                if other.email.lower() == email:
                    self._emails[email] = other.account_id

    def _refresh(self, access_key: str) -> None:
        if access_key == self.root.access_key:
            return
        self._live.pop(access_key, None)
        record = self._keys.get(access_key)
        account = self._accounts.get(record.account) if record is not None else None
        if record is None or account is None or record.disabled or account.disabled:
            return
        secret = self._unseal(access_key, record)
        if secret is None:
            return
        identity = Identity(
            account_id=account.account_id,
            display_name=account.display_name,
            access_key=access_key,
            role=account.role,
            uid=account.uid,
            gids=account.gids,
        )
        self._live[access_key] = Credentials(access_key, secret, identity)
