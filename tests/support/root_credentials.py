"""A store of credentials that knows one account."""

from __future__ import annotations

from appliance.auth.credentials import Credentials, account_of
from appliance.auth.identity import Account


class RootCredentials:
    """The store that knows one account."""

    def __init__(self, root: Credentials) -> None:
        self.root = root
        self.uses: dict[str, int] = {}

    def lookup(self, access_key: str) -> Credentials | None:
        return self.root if access_key == self.root.access_key else None

    def account(self, account_id: str) -> Account | None:
        root = account_of(self.root.identity)
        return root if account_id == root.account_id else None

    def named(self, display_name: str) -> Account | None:
        root = account_of(self.root.identity)
        return root if display_name == root.display_name else None

    def with_email(self, email: str) -> Account | None:
        return None
