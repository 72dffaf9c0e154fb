"""The live accounts of a node: answers from memory, changes through the journal, learns of changes from the journal only.

Interleavings: commands run one after the other, each planned on what all before it left. Memory follows the journal's announcements, which
come after an event is durable and before `append` returns: a key is disabled for every request that arrives after the answer was given,
and a command that was cancelled takes effect as a whole or not at all, in memory as on the disk.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec
import trio

from appliance.auth.accounts import records
from appliance.auth.accounts.commands import Answer, Command, Issued, Pair, Refused
from appliance.auth.accounts.directory import Directory
from appliance.auth.accounts.plan import Fresh, owner, plan
from appliance.auth.accounts.records import AccountRecord, KeyRecord
from appliance.auth.credentials import Credentials, generate_pair
from appliance.auth.identity import Account
from appliance.auth.sealing import Sealer, UnsealError
from appliance.model.errors import ConfigError
from appliance.model.events import Change, Event, Kind
from appliance.world import World

logger = logging.getLogger("appliance.accounts")

SAVE_USES_S = 60.0


class Ledger(Protocol):
    """Where records are kept: `appliance.journal.Journal` is one."""

    async def append(self, *changes: Change) -> object:
        """All or nothing, durable when it returns."""
        ...

    def subscribe(self, listener: Callable[[Event], None]) -> None:
        """Tell `listener` each event once it is durable, before its `append` returns."""
        ...

    def values(self, kind: Kind) -> Mapping[str, Any]:
        """The value of every name of this kind."""
        ...

    def key_uses(self) -> Mapping[str, int]:
        """Access key -> seconds since the epoch, as saved."""
        ...

    def save_key_uses(self, uses: Mapping[str, int]) -> None:
        """Remember, with the next commit. 0 forgets a key. May be lost."""
        ...


class AccountStore:
    """A `CredentialStore`. `uses` is written by verification: access key -> seconds since the epoch of the newest good signature."""

    def __init__(self, ledger: Ledger, root: Credentials, sealer: Sealer, world: World) -> None:
        """`load` what there is before the first use."""
        self._ledger = ledger
        self._sealer = sealer
        self._world = world
        self._unreadable: set[str] = set()
        self._directory = Directory(root, self._unseal)
        self._changing = trio.Lock()
        self._saved: dict[str, int] = {}
        self._commands = 0
        self.uses: dict[str, int] = {}
        # The hot path: straight to the dict.
        self.lookup = self._directory.lookup

    def load(self) -> None:
        """Blocking, milliseconds. Raises ConfigError where secrets were sealed with another cluster secret: none of those keys works."""
        for account_id, value in self._ledger.values(Kind.ACCOUNT).items():
            self._directory.put_account(account_id, records.decode(value, AccountRecord))
        for access_key, value in self._ledger.values(Kind.ACCESS_KEY).items():
            self._directory.put_key(access_key, records.decode(value, KeyRecord))
        self._saved = dict(self._ledger.key_uses())
        self.uses.update(self._saved)
        self._ledger.subscribe(self._heard)

    def check_readable(self) -> None:
        """Raise ConfigError if a key's secret does not open."""
        if self._unreadable:
            some = ", ".join(sorted(self._unreadable)[:5])
            raise ConfigError(
                f"{len(self._unreadable)} access key(s) were sealed with another cluster secret ({some}): give the appliance"
                " the one they were made with ([cluster] secret_file, or cluster-secret in the data directory), or replace them"
                " with `appliance accounts rotate` or `remove` while it is stopped."
            )

    # --- who there is -----------------------------------------------------------------------

    def account(self, account_id: str) -> Account | None:
        return self._directory.account(account_id)

    def named(self, display_name: str) -> Account | None:
        return self._directory.named(display_name)

    def with_email(self, email: str) -> Account | None:
        return self._directory.with_email(email)

    # --- changing -----------------------------------------------------------------------------

    async def perform(self, command: Command) -> Answer:
        """Plan it, journal it, answer it. Raises ConfigError with the reason why not, JournalError, StorageFullError."""
        async with self._changing:
            fresh = Fresh(
                account_id=self._world.token_bytes(32).hex(),
                pair=_fresh_pair(self._world),
                now_ns=self._world.now_ns(),
            )
            changes, answer = plan(self._directory, self._sealer, self.uses, command, fresh)
            if changes:
                await self._ledger.append(*changes)
                self._commands += 1
                logger.info("accounts: %s", _told(command, answer))
        return answer

    async def answer(self, command: Command) -> Answer:
        """As `perform`, with a refusal in place of ConfigError."""
        try:
            return await self.perform(command)
        except ConfigError as error:
            return Refused(reason=str(error))

    def _heard(self, event: Event) -> None:
        """The journal has something new: of this node's commands, or (later) of another's."""
        if event.kind is Kind.ACCOUNT:
            self._directory.put_account(event.key, _value(event, AccountRecord))
        elif event.kind is Kind.ACCESS_KEY:
            record = _value(event, KeyRecord)
            self._unreadable.discard(event.key)
            self._directory.put_key(event.key, record)
            if record is None:
                self.uses.pop(event.key, None)

    def _unseal(self, access_key: str, record: KeyRecord) -> str | None:
        try:
            return self._sealer.open(record.sealed, owner(record.account, access_key))
        except UnsealError:
            self._unreadable.add(access_key)
            return None

    # --- last use -------------------------------------------------------------------------------

    async def run(self) -> None:
        """Save last uses now and then, until cancelled, and once more then."""
        try:
            while True:
                await trio.sleep(SAVE_USES_S)
                self.save_uses()
        finally:
            self.save_uses()

    def save_uses(self) -> None:
        """Hand what changed to the journal, which writes it with its next commit."""
        new = {key: when for key, when in self.uses.items() if self._saved.get(key) != when}
        gone = {key: 0 for key in self._saved if key not in self.uses}
        if new or gone:
            self._ledger.save_key_uses({**new, **gone})
            self._saved = dict(self.uses)

    def statistics(self) -> dict[str, float]:
        return {
            **self._directory.statistics(),
            "unreadable_keys": len(self._unreadable),
            "changes_total": self._commands,
        }


def _fresh_pair(world: World) -> Pair:
    access_key, secret_key = generate_pair(world.token_bytes)
    return Pair(access_key=access_key, secret_key=secret_key)


def _value(event: Event, kind: type[records.R]) -> records.R | None:
    value = msgspec.msgpack.decode(event.detail).get("value") if event.detail else None
    return None if value is None else records.decode(value, kind)


def _told(command: Command, answer: Answer) -> str:
    """For the log: what was done, to whom; no secret."""
    verb = type(command).__name__.lower()
    key = answer.access_key if isinstance(answer, Issued) else getattr(command, "access_key", "")
    return f"{verb} {command.name}" + (f" ({key})" if key else "")
