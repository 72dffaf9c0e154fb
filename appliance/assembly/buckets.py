"""Whose the buckets of a running node are: told, and given to others, through its control socket.

S3 has no operation that changes a bucket's owner. An operator needs one: for directories that were there before the appliance, which are
the root's, and for what an account that was removed has left. Messages travel as JSON, as those about accounts do.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from appliance.auth.credentials import ROOT_NAME, AccountDirectory
from appliance.cache.api import Cache
from appliance.journal.bucket_settings import JournalBucketSettings
from appliance.model.errors import ApplianceError, ConfigError
from appliance.policy.access.bucket import ACL, OWNER, BucketAccess, bucket_access
from appliance.status import control

TOPIC = "buckets"


class _Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all."""


class List(_Message, frozen=True, kw_only=True, tag="list"):
    """All buckets."""


class Give(_Message, frozen=True, kw_only=True, tag="give"):
    """Give a bucket to the account of this name or canonical id."""

    bucket: str
    account: str


Command = List | Give


class BucketView(_Message, frozen=True, kw_only=True):
    """`owner_name` is "" where that account is gone. `public`: as GetBucketPolicyStatus says."""

    name: str
    owner: str
    owner_name: str
    policy: bool
    public: bool


class Listed(_Message, frozen=True, kw_only=True, tag="listed"):
    """By name."""

    buckets: tuple[BucketView, ...]


class Done(_Message, frozen=True, kw_only=True, tag="done"):
    """What was done, as a sentence."""

    sentence: str


class Refused(_Message, frozen=True, kw_only=True, tag="refused"):
    """Nothing was changed: why, as a sentence."""

    reason: str


Answer = Listed | Done | Refused

_decode_command = msgspec.json.Decoder(Command).decode
_decode_answer = msgspec.json.Decoder(Answer).decode


class Buckets:
    """What a node answers."""

    def __init__(
        self, cache: Cache, settings: JournalBucketSettings, accounts: AccountDirectory
    ) -> None:
        self._cache = cache
        self._settings = settings
        self._accounts = accounts

    async def respond(self, line: bytes) -> bytes:
        """See `control.Respond`."""
        answer: Answer
        try:
            command = _decode_command(line)
            answer = await (self._give(command) if isinstance(command, Give) else self._list())
        except msgspec.MsgspecError as error:
            answer = Refused(reason=f"The node does not know this command: {error}.")
        except ApplianceError as error:
            answer = Refused(reason=str(error))
        return msgspec.json.encode(answer)

    async def _list(self) -> Listed:
        names = sorted(bucket.name for bucket in await self._cache.list_buckets())
        return Listed(buckets=tuple(self._view(name) for name in names))

    def _view(self, name: str) -> BucketView:
        access = self._access(name)
        owner = self._accounts.account(access.owner)
        return BucketView(
            name=name,
            owner=access.owner,
            owner_name=owner.display_name if owner else "",
            policy=access.policy is not None,
            public=access.public,
        )

    def _access(self, name: str) -> BucketAccess:
        root = self._accounts.named(ROOT_NAME)
        values = self._settings.of(name).values
        acls = self._cache.keeps_acls(name)
        return bucket_access(name, values, root.account_id if root else "", acls=acls)

    async def _give(self, command: Give) -> Done:
        """Its ACL, which names the former owner, becomes private; its policy stays, and speaks of the new owner as owner."""
        name = command.account
        account = self._accounts.named(name) or self._accounts.account(name)
        if account is None:
            raise ConfigError(f"There is no account {name!r}: `appliance accounts list` shows all.")
        await self._cache.head_bucket(command.bucket)
        change = {OWNER: account.account_id.encode(), ACL: None}
        await self._settings.change(command.bucket, change)
        return Done(sentence=f"The bucket {command.bucket} belongs to {account.display_name}.")


def ask(data: Path, command: Command) -> Answer:
    """Blocking. What the node that runs on `data` answers. Raises ConfigError if none does."""
    try:
        line = control.ask(data, TOPIC, msgspec.json.encode(command))
    except PermissionError:
        raise ConfigError(
            f"Only root and the user that runs the appliance may ask the node on {data}."
        ) from None
    except OSError as error:
        raise ConfigError(f"The node on {data} did not answer ({error}).") from None
    if line is None:
        raise ConfigError(
            f"No node runs on {data}: name its data directory with --data, or start it."
        )
    answer: Answer = _decode_answer(line)
    return answer
