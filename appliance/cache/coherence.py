"""What may be believed: which names have a write in progress, and until when this node may trust its cache at all.

A write is an intent, made durable before the backend is touched, and a commit or abort afterwards. Between them the name is *suspect*: each
use of it is validated with the backend. A write whose outcome is unknown (timeout, crash) stays suspect until no request of it can still be
on its way (`settle_s`), and is then resolved with what the backend says.

    crash before the intent is durable      nothing happened anywhere
    crash between intent and commit         the name is suspect after the restart, so an old cached version is never believed unasked
    crash after the commit                  the journal dropped the old version in the same transaction

`Coherence` is the seam where a cluster comes in: it tells its peers in `begin`, and renews `trusted_until_s`.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Protocol

import trio

from appliance.cache.plan.s3fifo import Name
from appliance.journal import Journal
from appliance.model.errors import ApplianceError
from appliance.model.events import Change, Kind
from appliance.world import World

logger = logging.getLogger(__name__)

SETTLE_S = 60.0


class Ticket:
    """One write of one name in progress."""

    __slots__ = ("name", "overlapped", "seq", "settled_s")

    def __init__(self, name: Name, seq: int = 0) -> None:
        self.name = name
        self.seq = seq  # of the intent; 0 if the journal could not take it
        self.overlapped = False  # another write of this name was in progress at the same time
        self.settled_s: float | None = (
            None  # boot time from which an unknown outcome can be asked for
        )

    @property
    def journalled(self) -> bool:
        return self.seq > 0


class Coherence(Protocol):
    """See the module."""

    trusted_until_s: float  # boot time; beyond it every use is validated

    @property
    def suspects(self) -> Collection[Name]:
        """Names with a write in progress. Looked at on each hit: membership must be a hash lookup."""
        ...

    async def begin(self, names: Sequence[Name], op: str) -> list[Ticket]:
        """Intents for all names, durable; from here on they are suspect. Tickets are not `journalled` if the journal is full."""
        ...

    async def commit(self, outcomes: Sequence[tuple[Ticket, str]], *more: Change) -> bool:
        """These writes succeeded, each with its new version ("" for a delete); `more` goes into the same transaction.

        False if that could not be recorded: then the names stay suspect, and `more` did not happen.
        """
        ...

    async def abort(self, *tickets: Ticket) -> None:
        """These writes are known not to have happened."""
        ...

    def leave_open(self, ticket: Ticket) -> None:
        """Nobody knows whether this write happened."""
        ...

    def resolve(self, name: Name, version: str, asked_s: float) -> None:
        """The backend, asked at boot time `asked_s`, has `version` ("" for none): outcomes that had settled by then are known."""
        ...

    def settled(self, now_s: float) -> list[Name]:
        """Names that `resolve` would clear now."""
        ...


class LocalCoherence:
    """The coherence of a single node: its journal."""

    def __init__(self, world: World, journal: Journal, *, settle_s: float = SETTLE_S) -> None:
        self.trusted_until_s = float("inf")
        self.suspects: dict[Name, list[Ticket]] = {}
        self._world = world
        self._journal = journal
        self._settle_s = settle_s
        for event in journal.open_intents():
            ticket = Ticket((event.bucket, event.key), event.seq)
            self.suspects.setdefault(ticket.name, []).append(ticket)
            self.leave_open(ticket)

    async def begin(self, names: Sequence[Name], op: str) -> list[Ticket]:
        tickets = [self._suspect(name) for name in names]
        changes = [
            Change(kind=Kind.INTENT, bucket=bucket, key=key, detail={"op": op})
            for bucket, key in names
        ]
        with trio.CancelScope(shield=True):  # half a second at worst; else nobody knows the seqs
            try:
                events = await self._journal.append(*changes)
            except ApplianceError as error:
                logger.warning("The journal cannot take an intent: %s", error)
                return tickets
            except BaseException:
                self._clear(tickets)
                raise
        for ticket, event in zip(tickets, events, strict=True):
            ticket.seq = event.seq
        return tickets

    async def commit(self, outcomes: Sequence[tuple[Ticket, str]], *more: Change) -> bool:
        tickets = [ticket for ticket, _ in outcomes]
        if not all(ticket.journalled for ticket in tickets):
            self._clear(tickets)
            return False
        changes = [self._outcome(Kind.COMMIT, ticket, version) for ticket, version in outcomes]
        with trio.CancelScope(shield=True):
            try:
                await self._journal.append(*changes, *more)
            except ApplianceError as error:
                logger.warning("The journal cannot take a commit: %s", error)
                for ticket in tickets:
                    self.leave_open(ticket)
                return False
        self._clear(tickets)
        return True

    async def abort(self, *tickets: Ticket) -> None:
        changes = [self._outcome(Kind.ABORT, ticket) for ticket in tickets if ticket.journalled]
        with trio.CancelScope(shield=True):
            try:
                if changes:
                    await self._journal.append(*changes)
            except ApplianceError as error:
                logger.warning("The journal cannot take an abort: %s", error)
                for ticket in tickets:
                    self.leave_open(ticket)
                return
        self._clear(tickets)

    def leave_open(self, ticket: Ticket) -> None:
        ticket.settled_s = self._world.boot_s() + self._settle_s

    def resolve(self, name: Name, version: str, asked_s: float) -> None:
        tickets = [ticket for ticket in self.suspects.get(name, ()) if _settled_by(ticket, asked_s)]
        changes = [
            self._outcome(Kind.COMMIT, ticket, version) for ticket in tickets if ticket.journalled
        ]
        try:
            if changes:
                self._journal.append_soon(*changes)
        except ApplianceError as error:
            logger.warning("The journal cannot take a commit: %s", error)
            return
        self._clear(tickets)

    def settled(self, now_s: float) -> list[Name]:
        return [
            name
            for name, tickets in self.suspects.items()
            if any(_settled_by(ticket, now_s) for ticket in tickets)
        ]

    def statistics(self) -> dict[str, float]:
        unknown = sum(
            ticket.settled_s is not None for tickets in self.suspects.values() for ticket in tickets
        )
        return {"suspect_names": len(self.suspects), "unresolved_writes": unknown}

    def _suspect(self, name: Name) -> Ticket:
        ticket = Ticket(name)
        others = self.suspects.setdefault(name, [])
        for other in others:
            other.overlapped = ticket.overlapped = True
        others.append(ticket)
        return ticket

    def _clear(self, tickets: Sequence[Ticket]) -> None:
        for ticket in tickets:
            others = self.suspects.get(ticket.name)
            if others is not None and ticket in others:
                others.remove(ticket)
                if not others:
                    del self.suspects[ticket.name]

    def _outcome(self, kind: Kind, ticket: Ticket, version: str = "") -> Change:
        bucket, key = ticket.name
        detail: dict[str, object] = {"intent": ticket.seq}
        return Change(kind=kind, bucket=bucket, key=key, version=version, detail=detail)


def _settled_by(ticket: Ticket, now_s: float) -> bool:
    return ticket.settled_s is not None and ticket.settled_s <= now_s
