"""What an operator may ask of the accounts, and what is answered: values that travel as JSON between `appliance accounts` and a node.

A secret is in two of them: in what a command brings, and in `Issued`, the one time it is shown. Neither shows it in a repr.
"""

from __future__ import annotations

import msgspec

from appliance.auth.identity import Role


class _Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all."""


class Pair(_Message, frozen=True, kw_only=True):
    """An access key and its secret; each "" where it is to be made."""

    access_key: str = ""
    secret_key: str = ""

    def __repr__(self) -> str:
        return f"Pair({self.access_key!r}, secret_key=…)"


# --- asked ---------------------------------------------------------------------------------


class Add(_Message, frozen=True, kw_only=True, tag="add"):
    """A new account with one key. `account_id`: to have the same one on several nodes; "" makes a random one."""

    name: str
    role: Role = Role.USER
    email: str = ""
    account_id: str = ""
    uid: int | None = None
    gids: tuple[int, ...] = ()
    pair: Pair = Pair()


class List(_Message, frozen=True, kw_only=True, tag="list"):
    """All accounts, or the one of this name."""

    name: str = ""


class Switch(_Message, frozen=True, kw_only=True, tag="switch"):
    """Disable or enable an account, or one of its keys."""

    name: str
    access_key: str = ""
    disabled: bool


class Modify(_Message, frozen=True, kw_only=True, tag="modify"):
    """Change what is given of an account; `user` is its uid and groups, and no number at all takes them away."""

    name: str
    role: Role | None = None
    email: str | None = None
    user: tuple[int, ...] | None = None


class Rotate(_Message, frozen=True, kw_only=True, tag="rotate"):
    """A new key for an account. It replaces `access_key`, or all keys; none if `keep`."""

    name: str
    access_key: str = ""
    keep: bool = False
    pair: Pair = Pair()


class Remove(_Message, frozen=True, kw_only=True, tag="remove"):
    """Remove an account with its keys, or one key."""

    name: str
    access_key: str = ""


Command = Add | List | Modify | Switch | Rotate | Remove


# --- answered --------------------------------------------------------------------------------


class KeyView(_Message, frozen=True, kw_only=True):
    """Times in ns since the epoch; 0: never used (to the minute, if the node was killed)."""

    access_key: str
    disabled: bool
    created_ns: int
    used_ns: int


class AccountView(_Message, frozen=True, kw_only=True):
    """An account as people see it: no secret."""

    account_id: str
    name: str
    role: Role
    root: bool = False
    disabled: bool = False
    email: str = ""
    uid: int | None = None
    gids: tuple[int, ...] = ()
    created_ns: int = 0
    keys: tuple[KeyView, ...] = ()


class Listed(_Message, frozen=True, kw_only=True, tag="listed"):
    """By name, the root first."""

    accounts: tuple[AccountView, ...]


class Issued(_Message, frozen=True, kw_only=True, tag="issued"):
    """A new key; the secret is shown here and never again. `retired`: keys that stopped working."""

    account_id: str
    name: str
    access_key: str
    secret_key: str
    retired: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Issued({self.name!r}, {self.access_key!r}, secret_key=…)"


class Done(_Message, frozen=True, kw_only=True, tag="done"):
    """A sentence."""

    sentence: str


class Refused(_Message, frozen=True, kw_only=True, tag="refused"):
    """Nothing was changed, for this reason."""

    reason: str


Answer = Listed | Issued | Done | Refused

_encoder = msgspec.json.Encoder()
_commands: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)
_answers: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)


def encode(message: Command | Answer) -> bytes:
    """One line of JSON without its end."""
    return _encoder.encode(message)


def decode_command(line: bytes) -> Command:
    """Raises msgspec.MsgspecError."""
    return _commands.decode(line)


def decode_answer(line: bytes) -> Answer:
    """Raises msgspec.MsgspecError."""
    return _answers.decode(line)
