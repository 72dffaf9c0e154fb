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
    """An account, and the access key it used. `account_id` is S3's canonical user id: 64 hex digits."""

    account_id: str
    display_name: str
    access_key: str
    role: Role = Role.ADMIN


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
