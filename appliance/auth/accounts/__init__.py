"""Accounts and their access keys: kept in the journal, secrets sealed, answered from memory.

`records` is what the journal holds, `directory` what follows from it in memory, `commands` what an operator may ask, `plan` what comes of
it (pure), `store` the live thing: it plans, appends to the journal, and learns of every change from there, whoever made it.
"""

from appliance.auth.accounts.store import AccountStore, Ledger

__all__ = ["AccountStore", "Ledger"]
