"""Who a request is from, and what verifying it yielded."""

from __future__ import annotations

import enum

import msgspec


class Role(enum.StrEnum):
    """What an account may do where no policy says otherwise."""

    ADMIN = "admin"
    USER = "user"
    READONLY = "readonly"


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """An account, and the access key it used. `account_id` is S3's canonical user id: 64 hex digits.

    `root`: the account of the configuration, which nothing can lock out. `uid` and `gids` (the first is the primary group): the user as
    whom files are touched where the backend is a filesystem; None is the appliance's own.
    """

    account_id: str
    display_name: str
    access_key: str
    role: Role = Role.ADMIN
    root: bool = False
    uid: int | None = None
    gids: tuple[int, ...] = ()


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who may have access keys. Fields as in `Identity`; `email` "" where none is known. A disabled account's keys do not work;
    what it owns stays its own.
    """

    account_id: str
    display_name: str
    role: Role = Role.USER
    root: bool = False
    disabled: bool = False
    email: str = ""
    uid: int | None = None
    gids: tuple[int, ...] = ()
    created_ns: int = 0


class Authentication(msgspec.Struct, frozen=True, kw_only=True):
    """A request whose signature holds.

    `payload` is x-amz-content-sha256 as sent: a hex SHA-256 of the body, or one of the constants in `appliance.auth.sigv4`;
    presigned requests have UNSIGNED_PAYLOAD. The last four are what the signatures of aws-chunked bodies build on.
    """

    identity: Identity
    payload: str
    presigned: bool
    signature: str
    signing_key: bytes
    scope: str
    timestamp: str

    def __repr__(self) -> str:
        return f"Authentication({self.identity.access_key}, payload={self.payload})"


# Whoever sends no credentials.
ANONYMOUS = Identity(account_id="", display_name="", access_key="", role=Role.USER)


def unsigned(payload: str) -> Authentication:
    """Of a request without a signature: anybody's. `payload` as in `Authentication`."""
    return Authentication(
        identity=ANONYMOUS,
        payload=payload,
        presigned=False,
        signature="",
        signing_key=b"",
        scope="",
        timestamp="",
    )
