"""What comes of a command: changes for the journal and an answer, or a reason why not. Pure; chance and time are arguments.

Names, e-mail addresses and access keys are each one account's. The root is the configuration's and cannot be changed here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from appliance.auth.accounts.commands import (
    AccountView,
    Add,
    Answer,
    Command,
    Done,
    Issued,
    KeyView,
    List,
    Listed,
    Modify,
    Pair,
    Remove,
    Rotate,
    Switch,
)
from appliance.auth.accounts.directory import Directory
from appliance.auth.accounts.records import (
    AccountRecord,
    KeyRecord,
    account_change,
    key_change,
)
from appliance.auth.credentials import check_pair
from appliance.auth.identity import Account
from appliance.auth.sealing import Sealer
from appliance.model.errors import ConfigError
from appliance.model.events import Change

KEYS_MAX = 16
GROUPS_MAX = 1024
ANONYMOUS_NAME = "anonymous"  # in policies and limits
ID_MAX = 2**32 - 2  # (uid_t) -1 means "none" to the kernel

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9 _.+=,@-]{0,62}[A-Za-z0-9_.+=@-])?\Z")
_EMAIL = re.compile(r"[^\s@]{1,64}@[^\s@]{1,190}\Z", re.ASCII)
_ACCOUNT_ID = re.compile(r"[0-9a-f]{64}\Z")


class AccountError(ConfigError):
    """What was asked of the accounts cannot be done; nothing was changed."""


class Fresh(NamedTuple):
    """What a plan may need and cannot make: a random id and key pair, and the time."""

    account_id: str
    pair: Pair
    now_ns: int


class Plan(NamedTuple):
    """`changes` go into the journal together; then `answer` is true."""

    changes: tuple[Change, ...]
    answer: Answer


def plan(
    directory: Directory,
    sealer: Sealer,
    uses: Mapping[str, int],
    command: Command,
    fresh: Fresh,
) -> Plan:
    """Raises AccountError, ConfigError. `uses`: access key -> when it was last used, in seconds since the epoch."""
    match command:
        case Add():
            return _add(directory, sealer, command, fresh)
        case List():
            return Plan((), _list(directory, uses, command.name))
        case Modify():
            return _modify(directory, command)
        case Switch():
            return _switch(directory, command)
        case Rotate():
            return _rotate(directory, sealer, command, fresh)
        case Remove():
            return _remove(directory, command)


# --- one function a command -------------------------------------------------------------------


def _add(directory: Directory, sealer: Sealer, command: Add, fresh: Fresh) -> Plan:
    _check_new_account(directory, command)
    account_id = command.account_id or fresh.account_id
    if directory.account(account_id) is not None:
        raise AccountError(f"An account with the id {account_id} exists already.")
    record = AccountRecord(
        name=command.name,
        role=command.role,
        email=command.email,
        uid=command.uid,
        gids=command.gids,
        created_ns=fresh.now_ns,
    )
    pair = _new_pair(directory, command.pair, fresh)
    changes = (account_change(account_id, record), _sealed(sealer, account_id, pair, fresh.now_ns))
    return Plan(changes, _issued(account_id, command.name, pair))


def _list(directory: Directory, uses: Mapping[str, int], name: str) -> Listed:
    if name:
        return Listed(accounts=(_view(directory, _known(directory, name), uses),))
    root = directory.account(directory.root.identity.account_id)
    everybody = [*([root] if root else []), *directory.accounts()]
    return Listed(accounts=tuple(_view(directory, account, uses) for account in everybody))


def _modify(directory: Directory, command: Modify) -> Plan:
    account = _changeable(directory, command.name)
    record = _record(account)
    if command.role is not None:
        record = msgspec.structs.replace(record, role=command.role)
    if command.email is not None:
        if command.email:
            _check_email(directory, command.email, account)
        record = msgspec.structs.replace(record, email=command.email)
    if command.user is not None:
        uid, gids = (command.user[0], command.user[1:]) if command.user else (None, ())
        _check_user(uid, gids)
        record = msgspec.structs.replace(record, uid=uid, gids=gids)
    if record == _record(account):
        return Plan((), Done(sentence=f"Account {account.display_name} is so already."))
    sentence = f"Account {account.display_name} is changed."
    return Plan((account_change(account.account_id, record),), Done(sentence=sentence))


def _switch(directory: Directory, command: Switch) -> Plan:
    account = _changeable(directory, command.name)
    state = "disabled" if command.disabled else "enabled"
    if not command.access_key:
        record = msgspec.structs.replace(_record(account), disabled=command.disabled)
        sentence = f"Account {account.display_name} is {state}."
        return Plan((account_change(account.account_id, record),), Done(sentence=sentence))
    key = _key_of(directory, account, command.access_key)
    key = msgspec.structs.replace(key, disabled=command.disabled)
    sentence = f"Access key {command.access_key} of account {account.display_name} is {state}."
    return Plan((key_change(command.access_key, key),), Done(sentence=sentence))


def _rotate(directory: Directory, sealer: Sealer, command: Rotate, fresh: Fresh) -> Plan:
    account = _changeable(directory, command.name)
    keys = [access_key for access_key, _ in directory.keys_of(account.account_id)]
    if command.access_key:
        _key_of(directory, account, command.access_key)
        retired = [command.access_key]
    else:
        retired = keys
    if command.keep:
        retired = []
    if len(keys) - len(retired) >= KEYS_MAX:
        raise AccountError(
            f"Account {account.display_name} has {len(keys)} access keys, which is the most: remove one first."
        )
    pair = _new_pair(directory, command.pair, fresh)
    changes = [_sealed(sealer, account.account_id, pair, fresh.now_ns)]
    changes += [key_change(access_key, None) for access_key in retired]
    return Plan(tuple(changes), _issued(account.account_id, account.display_name, pair, retired))


def _remove(directory: Directory, command: Remove) -> Plan:
    account = _changeable(directory, command.name)
    if command.access_key:
        _key_of(directory, account, command.access_key)
        sentence = f"Access key {command.access_key} of account {account.display_name} is removed."
        return Plan((key_change(command.access_key, None),), Done(sentence=sentence))
    keys = [access_key for access_key, _ in directory.keys_of(account.account_id)]
    changes = [key_change(access_key, None) for access_key in keys]
    changes.append(account_change(account.account_id, None))
    sentence = f"Account {account.display_name} is removed, with {len(keys)} access key(s)."
    return Plan(tuple(changes), Done(sentence=sentence))


# --- checks ---------------------------------------------------------------------------------------


def _check_new_account(directory: Directory, command: Add) -> None:
    if not _NAME.match(command.name):
        raise AccountError(
            f"The name {command.name!r} is not valid: use up to 64 letters, digits, spaces and _ . + = , @ -,"
            " with a letter or digit first."
        )
    if _ACCOUNT_ID.match(command.name.lower()):
        raise AccountError(
            f"The name {command.name!r} looks like a canonical id, by which policies and grants name accounts, too:"
            " choose another."
        )
    if command.name == ANONYMOUS_NAME:
        raise AccountError(
            f"{ANONYMOUS_NAME} is whoever sends no credentials: choose another name."
        )
    if directory.named(command.name) is not None:
        raise AccountError(f"There is an account {command.name} already.")
    if command.email:
        _check_email(directory, command.email)
    if command.account_id and not _ACCOUNT_ID.match(command.account_id):
        raise AccountError("The account's id is not valid: it has 64 hexadecimal digits.")
    _check_user(command.uid, command.gids)


def _check_user(uid: int | None, gids: tuple[int, ...]) -> None:
    if uid is None and gids:
        raise AccountError("Groups need a user id: give both, or neither.")
    if uid is not None and not gids:
        raise AccountError("A user id needs a group id: give both, or neither.")
    numbers = [*gids, *([] if uid is None else [uid])]
    if len(numbers) > GROUPS_MAX or not all(0 <= number <= ID_MAX for number in numbers):
        raise AccountError(
            f"User and group ids lie between 0 and {ID_MAX}, and {GROUPS_MAX - 1} groups are the most."
        )


def _check_email(directory: Directory, email: str, of: Account | None = None) -> None:
    if not _EMAIL.match(email):
        raise AccountError(f"{email!r} is not an e-mail address.")
    taken = directory.with_email(email)
    if taken is not None and taken != of:
        raise AccountError(f"The e-mail address {email} is that of account {taken.display_name}.")


def _known(directory: Directory, name: str) -> Account:
    account = directory.named(name)
    if account is None:
        raise AccountError(f"There is no account {name}; `appliance accounts list` shows them all.")
    return account


def _changeable(directory: Directory, name: str) -> Account:
    account = _known(directory, name)
    if account.root:
        raise AccountError(
            f"The account {name} comes from the configuration (or from root-credentials.json in the data directory):"
            " change its keys there."
        )
    return account


def _key_of(directory: Directory, account: Account, access_key: str) -> KeyRecord:
    key = directory.key(access_key)
    if key is None or key.account != account.account_id:
        raise AccountError(f"Account {account.display_name} has no access key {access_key}.")
    return key


def _new_pair(directory: Directory, given: Pair, fresh: Fresh) -> Pair:
    pair = Pair(
        access_key=given.access_key or fresh.pair.access_key,
        secret_key=given.secret_key or fresh.pair.secret_key,
    )
    check_pair(pair.access_key, pair.secret_key)
    if pair.access_key == directory.root.access_key or directory.key(pair.access_key) is not None:
        raise AccountError(f"The access key {pair.access_key} is in use already: choose another.")
    return pair


# --- values ---------------------------------------------------------------------------------------


def _sealed(sealer: Sealer, account_id: str, pair: Pair, now_ns: int) -> Change:
    sealed = sealer.seal(pair.secret_key, owner(account_id, pair.access_key))
    record = KeyRecord(account=account_id, sealed=sealed, created_ns=now_ns)
    return key_change(pair.access_key, record)


def owner(account_id: str, access_key: str) -> str:
    """What a sealed secret is bound to."""
    return f"{account_id}/{access_key}"


def _issued(account_id: str, name: str, pair: Pair, retired: list[str] | None = None) -> Issued:
    return Issued(
        account_id=account_id,
        name=name,
        access_key=pair.access_key,
        secret_key=pair.secret_key,
        retired=tuple(retired or ()),
    )


def _record(account: Account) -> AccountRecord:
    return AccountRecord(
        name=account.display_name,
        role=account.role,
        email=account.email,
        disabled=account.disabled,
        uid=account.uid,
        gids=account.gids,
        created_ns=account.created_ns,
    )


def _view(directory: Directory, account: Account, uses: Mapping[str, int]) -> AccountView:
    keys = [
        KeyView(
            access_key=access_key,
            disabled=key.disabled,
            created_ns=key.created_ns,
            used_ns=uses.get(access_key, 0) * 10**9,
        )
        for access_key, key in directory.keys_of(account.account_id)
    ]
    if account.root:
        used_ns = uses.get(directory.root.access_key, 0) * 10**9
        key = KeyView(
            access_key=directory.root.access_key, disabled=False, created_ns=0, used_ns=used_ns
        )
        keys = [key]
    return AccountView(
        account_id=account.account_id,
        name=account.display_name,
        role=account.role,
        root=account.root,
        disabled=account.disabled,
        email=account.email,
        uid=account.uid,
        gids=account.gids,
        created_ns=account.created_ns,
        keys=tuple(keys),
    )
