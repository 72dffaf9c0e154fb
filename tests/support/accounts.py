"""A store of accounts on a journal of its own, for tests that need one or more accounts."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from appliance.auth.accounts import AccountStore
from appliance.auth.credentials import make_credentials
from appliance.auth.sealing import Sealer
from appliance.journal import Journal
from appliance.world import RealWorld

ROOT = make_credentials("AKROOT0000000000TEST", "a-secret-of-some-length")
CLUSTER_SECRET = "cluster-secret-of-throw-away-tests"


@asynccontextmanager
async def account_store(
    directory: Path, *, cluster_secret: str = CLUSTER_SECRET
) -> AsyncIterator[AccountStore]:
    """A store with what `directory` holds; closed in order at the end."""
    world = RealWorld()
    journal = Journal.open(directory / "appliance.db", world)
    try:
        async with journal.running():
            store = AccountStore(journal, ROOT, Sealer(cluster_secret, os.urandom), world)
            store.load()
            yield store
            store.save_uses()
    finally:
        journal.close()
