"""Accounts in memory, for endpoints that several of them talk to; boto3 clients of each, and of nobody."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import boto3
import trio
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from appliance.auth.credentials import Credentials, account_of, make_credentials
from appliance.auth.identity import Account, Identity, Role

T = TypeVar("T")


def credentials_of(name: str, role: Role = Role.USER) -> Credentials:
    """Of an account of that name; its access key follows from it, its secret is "secret-of-NAME"."""
    identity = Identity(
        account_id=hashlib.sha256(name.encode()).hexdigest(),
        display_name=name,
        access_key=f"AK{name.upper()}",
        role=role,
    )
    return Credentials(identity.access_key, f"secret-of-{name}", identity)


class People:
    """A store of credentials: the root, and these. E-mail addresses are NAME@example.org."""

    def __init__(self, root: Credentials, others: Sequence[Credentials]) -> None:
        self.root = root
        self.uses: dict[str, int] = {}
        self._keys = {one.access_key: one for one in (root, *others)}

    def lookup(self, access_key: str) -> Credentials | None:
        return self._keys.get(access_key)

    def account(self, account_id: str) -> Account | None:
        return self._first(lambda identity: identity.account_id == account_id)

    def named(self, display_name: str) -> Account | None:
        return self._first(lambda identity: identity.display_name == display_name)

    def with_email(self, email: str) -> Account | None:
        return self._first(lambda one: f"{one.display_name}@example.org" == email.lower())

    def _first(self, fits: Callable[[Identity], bool]) -> Account | None:
        found = [one.identity for one in self._keys.values() if fits(one.identity)]
        return account_of(found[0]) if found else None


ALICE, BOB = credentials_of("alice"), credentials_of("bob")
READER = credentials_of("reader", Role.READONLY)
ADMIN = credentials_of("admin", Role.ADMIN)


def people(access_key: str, secret_key: str) -> People:
    """Root with this key, Alice and Bob who are users, a read-only reader, an admin."""
    return People(make_credentials(access_key, secret_key), (ALICE, BOB, READER, ADMIN))


class As:
    """A boto3 client of somebody (None: without credentials) whose calls run in threads: `await alice.put_object(...)`."""

    def __init__(self, url: str, who: Credentials | None) -> None:
        keys = {}
        if who is not None:
            keys = {"aws_access_key_id": who.access_key, "aws_secret_access_key": who.secret_key}
            self.id = who.identity.account_id
        config = Config(
            s3={"addressing_style": "path"},
            retries={"max_attempts": 1, "mode": "standard"},
            signature_version="s3v4" if who is not None else UNSIGNED,
        )
        self.client = _session().client(
            "s3", endpoint_url=url, region_name="us-east-1", config=config, **keys
        )

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = getattr(self.client, name)

        async def call(**kwargs: Any) -> Any:
            return await trio.to_thread.run_sync(functools.partial(function, **kwargs))

        return call

    async def code(self, name: str, **kwargs: Any) -> str:
        """The error code of a call that fails, "" of one that does not. HEAD has no code but its status."""
        try:
            answer = await getattr(self, name)(**kwargs)
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        if "Body" in answer:
            await trio.to_thread.run_sync(answer["Body"].read)
        return ""


@functools.cache
def _session() -> boto3.Session:
    """One for all: it remembers the API's description, which takes 0.1 s to load."""
    return boto3.Session()
