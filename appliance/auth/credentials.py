"""Access keys and secrets: the interface that verification asks, and the root account, which is all there is so far.

The root's keys come from the environment (APPLIANCE_ACCESS_KEY, APPLIANCE_SECRET_KEY), else from the configuration, else from a file in
the data directory that is made on first start. A secret never appears in a repr, a log or an argument list.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from appliance.auth import private_file
from appliance.auth.identity import Account, Identity, Role
from appliance.model.errors import ConfigError

ACCESS_KEY_VARIABLE = "APPLIANCE_ACCESS_KEY"
SECRET_KEY_VARIABLE = "APPLIANCE_SECRET_KEY"  # noqa: S105  # a name, not a secret
ROOT_NAME = "root"  # the display name of the account that the configuration has
FILE_NAME = "root-credentials.json"

# Signed requests carry access keys between "/" and "," (or percent-encoded in URLs): keep them plain.
_ACCESS_KEY = re.compile(r"[A-Za-z0-9_.+=@-]{3,128}\Z")
_SECRET_KEY = re.compile(r"[\x21-\x7e]{8,256}\Z")


class Credentials(msgspec.Struct, frozen=True):
    """An access key with its secret, and whose they are."""

    access_key: str
    secret_key: str
    identity: Identity

    def __repr__(self) -> str:
        return f"Credentials({self.access_key!r}, secret_key=…)"


def account_of(identity: Identity) -> Account:
    """What an identity says of its account."""
    return Account(
        account_id=identity.account_id,
        display_name=identity.display_name,
        role=identity.role,
        root=identity.root,
        uid=identity.uid,
        gids=identity.gids,
    )


class AccountDirectory(Protocol):
    """Who exists, root included, disabled ones too: for owners, grants and policies. Answers from memory."""

    def account(self, account_id: str) -> Account | None:
        """By canonical id."""
        ...

    def named(self, display_name: str) -> Account | None:
        """By display name, which no two accounts share."""
        ...

    def with_email(self, email: str) -> Account | None:
        """By e-mail address, in any case, which no two accounts share."""
        ...


class CredentialStore(AccountDirectory, Protocol):
    """Where secrets are looked up. On the hot path of every request: answer from memory.

    The same object is returned until the key, its secret or its account changes: verification caches what it derived by identity.
    `uses` is verification's to write: access key -> seconds since the epoch of the newest request whose signature held.
    """

    uses: dict[str, int]

    def lookup(self, access_key: str) -> Credentials | None:
        """None where no such key exists or its account is disabled."""
        ...


def check_pair(access_key: str, secret_key: str) -> None:
    """Raise ConfigError, which never repeats the secret, where one of them cannot be."""
    if not _ACCESS_KEY.match(access_key):
        raise ConfigError(
            f"The access key {access_key!r} is not valid: use 3 to 128 letters, digits and _ . + = @ -."
        )
    if not _SECRET_KEY.match(secret_key):
        raise ConfigError(
            f"The secret key of {access_key!r} is not valid: use 8 to 256 printable ASCII characters without spaces."
        )


def make_credentials(
    access_key: str, secret_key: str, *, display_name: str = ROOT_NAME, role: Role = Role.ADMIN
) -> Credentials:
    """Validated credentials of the root. The canonical id follows from the display name, so it stays when keys change.

    Raises ConfigError, which never repeats the secret.
    """
    check_pair(access_key, secret_key)
    identity = Identity(
        account_id=hashlib.sha256(f"appliance account {display_name}".encode()).hexdigest(),
        display_name=display_name,
        access_key=access_key,
        role=role,
        root=True,
    )
    return Credentials(access_key, secret_key, identity)


def generate_pair(token_bytes: Callable[[int], bytes]) -> tuple[str, str]:
    """A new access key and its secret in AWS's shapes: 20 characters, and 40 of 240 random bits. `token_bytes` is `World.token_bytes`."""
    access_key = "AK" + base64.b32encode(token_bytes(15)).decode("ascii")[:18]
    return access_key, base64.urlsafe_b64encode(token_bytes(30)).decode("ascii")


def generate_credentials(token_bytes: Callable[[int], bytes]) -> Credentials:
    """New root credentials."""
    access_key, secret_key = generate_pair(token_bytes)
    return make_credentials(access_key, secret_key)


def from_environment(environment: Mapping[str, str]) -> Credentials | None:
    """Root credentials from the two variables; None if neither is set. Raises ConfigError if only one is."""
    access_key = environment.get(ACCESS_KEY_VARIABLE, "")
    secret_key = environment.get(SECRET_KEY_VARIABLE, "")
    if not access_key and not secret_key:
        return None
    if not access_key or not secret_key:
        missing = SECRET_KEY_VARIABLE if access_key else ACCESS_KEY_VARIABLE
        raise ConfigError(
            f"{missing} is not set: {ACCESS_KEY_VARIABLE} and {SECRET_KEY_VARIABLE} belong together."
        )
    return make_credentials(access_key, secret_key)


class _Stored(msgspec.Struct, forbid_unknown_fields=True):
    access_key: str
    secret_key: str


def load_or_create(
    directory: Path, token_bytes: Callable[[int], bytes]
) -> tuple[Credentials, bool]:
    """Root credentials kept in `directory`, made there on first use; True if they are new (show them once).

    Raises ConfigError (file unreadable, broken, or open to others), OSError.
    """
    path = directory / FILE_NAME
    if not path.exists():
        created = generate_credentials(token_bytes)
        stored = msgspec.json.encode(_Stored(created.access_key, created.secret_key))
        if private_file.publish(path, stored + b"\n", token_bytes):
            return created, True
    return _load(path), False


def _load(path: Path) -> Credentials:
    raw = private_file.read(path)
    try:
        stored = msgspec.json.decode(raw, type=_Stored)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: not a credentials file; remove it to have new keys made."
        ) from error
    return make_credentials(stored.access_key, stored.secret_key)
