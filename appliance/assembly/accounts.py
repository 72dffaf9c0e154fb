"""The accounts of a node: live in one that runs, or opened for a moment in the data directory of one that does not."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from appliance.assembly import wiring
from appliance.auth.accounts import AccountStore
from appliance.auth.accounts import commands as accounts
from appliance.auth.accounts.commands import Add, Answer, Command, Refused
from appliance.auth.credentials import Credentials
from appliance.config import Config
from appliance.journal.journal import Journal
from appliance.model.errors import ApplianceError, ConfigError, JournalError
from appliance.status import control
from appliance.world import RealWorld, World

TOPIC = "accounts"


def open_accounts(
    config: Config, data: Path, journal: Journal, root: Credentials, world: World
) -> AccountStore:
    """Blocking, for milliseconds. Raises ConfigError."""
    store = AccountStore(journal, root, wiring.sealer(config, data, world), world)
    store.load()
    return store


async def respond(store: AccountStore, line: bytes) -> bytes:
    """What the control socket answers."""
    try:
        answer = await store.answer(accounts.decode_command(line))
    except msgspec.MsgspecError as error:
        # Of what was sent, this names a field at most, never a value.
        answer = Refused(reason=f"The node does not know this command (another version?): {error}.")
    except ApplianceError as error:
        answer = Refused(reason=str(error))
    return accounts.encode(answer)


def ask_running(data: Path, command: Command) -> Answer | None:
    """Blocking. What the node that runs on `data` answers; None if none runs. Raises ConfigError."""
    try:
        line = control.ask(data, TOPIC, accounts.encode(command))
    except PermissionError:
        raise ConfigError(
            f"Only root and the user that runs the appliance may change it: {data} belongs to {_owner(data)}."
        ) from None
    except OSError as error:
        raise ConfigError(
            f"The node on {data} did not answer ({error}); `appliance accounts list` shows whether the change was made."
        ) from None
    return None if line is None else accounts.decode_answer(line)


async def perform_offline(config: Config, command: Command) -> Answer:
    """In the data directory of a node that is stopped, which stays so meanwhile. Raises ConfigError, JournalError, StorageFullError."""
    data = _stopped_data(config)
    world = RealWorld()
    try:
        journal = Journal.open(data / "appliance.db", world)
    except JournalError:
        # A node that has been starting meanwhile, and answers now?
        answer = ask_running(data, command)
        if answer is None:
            raise
        return answer
    try:
        async with journal.running():
            root = wiring.known_root(config, data, world)
            store = open_accounts(config, data, journal, root, world)
            if isinstance(command, Add):
                store.check_readable()
            return await store.answer(command)
    finally:
        journal.close(mark_clean=journal.clean_stop)


def _stopped_data(config: Config) -> Path:
    """The data directory, if this process may work in it. Raises ConfigError."""
    data = Path(config.node.data)
    if not data.is_dir():
        raise ConfigError(
            f"There is no data directory {data}: name the node's with --data, or start the node once."
        )
    if data.stat().st_uid != os.geteuid():
        raise ConfigError(
            f"The data directory {data} belongs to {_owner(data)}, and no node runs: use that user, or the files made now"
            " would be in its way."
        )
    if not (data / "appliance.db").exists() and any(data.iterdir()):
        raise ConfigError(
            f"{data} is not the data directory of a node: it has no appliance.db, and is not empty. Name the node's with --data."
        )
    return data


def _owner(path: Path) -> str:
    try:
        return f"user {path.owner()}"
    except (OSError, KeyError):
        return "another user"
