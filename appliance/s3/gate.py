"""The gate: every request is judged by `policy.access.decide` here, before its operation and, where the object matters, within it.

What is decided when, and by what:

1. `verdict`, at once, from memory: role, policy, ownership, the bucket's ACL. For most callers of a bucket all requests come to the same
   (`settled`): that is remembered per key and bucket for as long as account and settings stay the same objects, and costs two lookups.
2. Where the object's owner or ACL matters, by the very version that is read: operations that read it call `check_object` with its info;
   for the others `admit` looks it up. Between that and the operation somebody may replace the object: the new one is judged by the old.
3. What is refused although the bucket may not exist, or what is missing although the caller may not know, is answered as S3 does: who may
   not list a bucket learns nothing about which of its keys exist.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, MutableMapping
from urllib.parse import quote, urlencode
from weakref import WeakValueDictionary

import msgspec
import trio

from appliance.auth.credentials import AccountDirectory
from appliance.auth.identity import Authentication, Identity, Role
from appliance.cache.api import Cache
from appliance.journal.bucket_settings import Settings
from appliance.model.errors import (
    AccessDeniedError,
    ApplianceError,
    DeleteMarkerError,
    NoSuchBucketError,
    NoSuchKeyError,
    NoSuchVersionError,
    UnsupportedError,
)
from appliance.model.objects import ObjectInfo
from appliance.policy.access.acl import decode_acl
from appliance.policy.access.bucket import BucketAccess, bucket_access
from appliance.policy.access.conditions import Condition
from appliance.policy.access.decide import (
    ALLOW,
    Allow,
    Caller,
    Deny,
    Facts,
    Need,
    ObjectAccess,
    conceivable,
    decide,
    settled,
)
from appliance.policy.access.keys import EXISTING_TAG, REQUEST_TAG
from appliance.s3.bucket_settings import BucketSettings
from appliance.s3.wire.actions import LIST_NEED, OF_ACCOUNTS, OF_OBJECTS, UNJUDGED, needs_of
from appliance.s3.wire.operations import Operation
from appliance.s3.wire.request import S3Request
from appliance.s3.wire.request_keys import RequestKeys
from appliance.world import World

logger = logging.getLogger(__name__)

_REMEMBERED_MAX = 16_384
_EXPECTED_OWNER = "x-amz-expected-bucket-owner"
_EXPECTED_SOURCE_OWNER = "x-amz-source-expected-bucket-owner"
# These look at the object themselves, with `check_object`.
SELF_CHECKED = frozenset(
    {
        Operation.GetObject,
        Operation.HeadObject,
        Operation.GetObjectAttributes,
        Operation.GetObjectAcl,
    }
)
# Their tags come in the body: they ask again, with `admit`, when they have them.
_TAGS_IN_BODY = frozenset({Operation.PutObjectTagging})

Verdict = Allow | Deny
# Errors that tell what there is and what not.
MISSING = (NoSuchKeyError, NoSuchVersionError, DeleteMarkerError)


class RefusedError(AccessDeniedError):
    """Access Denied."""

    def __init__(self, reason: str, *, bucket: str, key: str) -> None:
        """`reason` is for the log only."""
        super().__init__(bucket=bucket, key=key)
        self.reason = reason


class Asked(msgspec.Struct, frozen=True):
    """A request and who makes it: what is judged. `held`: see `Facts`."""

    request: S3Request
    authentication: Authentication
    now_ns: int
    held: MutableMapping[Condition, bool] | None = None


class _Standing(msgspec.Struct, frozen=True):
    """How a key stands to a bucket: valid while both objects it was made from are the current ones."""

    identity: Identity
    settings: Settings
    caller: Caller
    bucket: BucketAccess
    settled: Allow | None


class Gate:
    """See the module. `root_id` owns the buckets that nobody else does."""

    def __init__(
        self,
        cache: Cache,
        settings: BucketSettings,
        accounts: AccountDirectory,
        world: World,
        root_id: str,
    ) -> None:
        self._cache = cache
        self._settings = settings
        self._accounts = accounts
        self._world = world
        self.root_id = root_id
        self._standings: dict[tuple[str, str], _Standing] = {}
        self._buckets: dict[str, tuple[Settings, BucketAccess]] = {}
        self._refused = 0
        self._namings: WeakValueDictionary[str, trio.Lock] = WeakValueDictionary()

    def statistics(self) -> dict[str, float]:
        return {"refused_total": self._refused, "standings": len(self._standings)}

    # --- what is set on a bucket -----------------------------------------------------------

    def bucket(self, bucket: str) -> BucketAccess:
        """What is set about access to a bucket, whether or not it exists."""
        settings = self._settings.of(bucket)
        known = self._buckets.get(bucket)
        if known is not None and known[0] is settings:
            return known[1]
        try:
            acls = self._cache.keeps_acls(bucket)
        except NoSuchBucketError:
            acls = False
        made = bucket_access(bucket, settings.values, self.root_id, acls=acls)
        if len(self._buckets) >= _REMEMBERED_MAX:
            self._buckets.clear()
        self._buckets[bucket] = (settings, made)
        return made

    def may_see(self, identity: Identity, bucket: str) -> bool:
        """Whether ListBuckets tells somebody of a bucket: its owner, and those who may do all."""
        return identity.role is Role.ADMIN or self.bucket(bucket).owner == identity.account_id

    def resolve(self, name: str) -> str:
        """The canonical id of an account, by that or by its name; "" if there is none."""
        account = self._accounts.account(name) or self._accounts.named(name)
        return account.account_id if account is not None else ""

    def naming(self, bucket: str) -> trio.Lock:
        """To be held by who makes or removes a bucket: the bucket and what is set on it come and go together."""
        return self._namings.setdefault(bucket, trio.Lock())

    # --- judging -----------------------------------------------------------------------------

    def verdict(
        self,
        request: S3Request,
        authentication: Authentication,
        now_ns: int,
        held: MutableMapping[Condition, bool] | None = None,
    ) -> Verdict | None:
        """At once, from memory; None where only `admit` can tell. With `by_object`: as far as it does not depend on the object."""
        operation = request.operation
        identity = authentication.identity
        if operation in OF_ACCOUNTS:
            return _of_account(identity, operation)
        if operation in UNJUDGED:
            return ALLOW
        standing = self._standing(identity, request.bucket)
        if _EXPECTED_OWNER in request.headers and (
            request.headers[_EXPECTED_OWNER] != standing.bucket.owner
        ):
            return Deny("the bucket has another owner than the request expects")
        if standing.settled is not None:
            return standing.settled if operation in OF_OBJECTS else ALLOW
        if _needs_tags(standing.bucket, request):
            return None
        return self._judge(standing, Asked(request, authentication, now_ns, held))

    def _judge(
        self,
        standing: _Standing,
        asked: Asked,
        found: ObjectInfo | None = None,
        *,
        existing_tags: Mapping[str, str] | None = None,
        request_tags: Mapping[str, str] | None = None,
    ) -> Verdict:
        """All needs of a request; the first refusal, if any, else what is least certain."""
        request = asked.request
        keys = RequestKeys(
            request=request,
            authentication=asked.authentication,
            now_ns=asked.now_ns,
            bucket_owner=standing.bucket.owner,
            existing_tags=existing_tags or {},
            request_tags=request_tags,
        )
        verdict: Verdict = ALLOW
        for need in needs_of(request):
            one = self._decide(standing, need, request.key, keys, found, asked.held)
            if not one:
                return one
            if one.by_object:
                verdict = one
        return verdict

    def _decide(
        self,
        standing: _Standing,
        need: Need,
        key: str,
        keys: RequestKeys,
        found: ObjectInfo | None,
        held: MutableMapping[Condition, bool] | None = None,
    ) -> Verdict:
        bucket = keys.request.bucket
        return decide(
            Facts(
                caller=standing.caller,
                need=need,
                resource=f"{bucket}/{key}" if key else bucket,
                bucket=standing.bucket,
                keys=keys,
                object=None if found is None else ObjectAccess(found.owner, decode_acl(found.acl)),
                held=held,
            )
        )

    async def admit(
        self,
        request: S3Request,
        authentication: Authentication,
        *,
        request_tags: Mapping[str, str] | None = None,
    ) -> None:
        """Raise RefusedError unless a request may go on, with all that can be known about it; NoSuchBucketError where that is why not.

        `request_tags` are those that it would set, where they are in its body.
        """
        verdict = await self.judgement(request, authentication, request_tags=request_tags)
        if verdict:
            return
        if request.bucket and request.operation not in OF_ACCOUNTS:
            await self._cache.head_bucket(request.bucket)
        implicit = isinstance(verdict, Deny) and not verdict.explicit
        about_object = request.operation in OF_OBJECTS
        if implicit and about_object and self._listing(request, authentication):
            # Who may list hears of what is not there that it is not there.
            await self._cache.head(request.bucket, request.key, version_id=_version_id(request))
        raise self._refused_error(request, verdict)

    async def judgement(
        self,
        request: S3Request,
        authentication: Authentication,
        *,
        request_tags: Mapping[str, str] | None = None,
        held: MutableMapping[Condition, bool] | None = None,
    ) -> Verdict:
        """What `admit` goes by. Raises what `missing` says of an object that is not there, where that is to be known."""
        asked = Asked(request, authentication, self._world.now_ns(), held)
        verdict = self.verdict(*asked_of(asked))
        if verdict is ALLOW:
            return verdict
        standing = self._standing(authentication.identity, request.bucket)
        tags: Mapping[str, str] = {}
        if verdict is None:
            tags = await self._tags_of(request)
            verdict = self._judge(standing, asked, existing_tags=tags, request_tags=request_tags)
            if request.operation in _TAGS_IN_BODY and request_tags is None:
                return ALLOW  # it will ask again
        if verdict.by_object:
            info = await self._info_of(request, asked)
            verdict = self._judge(
                standing, asked, info, existing_tags=tags, request_tags=request_tags
            )
        return verdict

    async def admit_deletes(self, request: S3Request, authentication: Authentication) -> None:
        """Before the keys of a DeleteObjects are read: raise RefusedError, or NoSuchBucketError, if none of them can be allowed."""
        standing = self._standing(authentication.identity, request.bucket)
        if standing.settled is not None:
            return
        for version_id in ("", "any"):
            # The deletion itself: what else a key may need is told for the key.
            need = needs_of(_deletes_key(request, "any", version_id))[0]
            if _conceivable(standing, need):
                return
        await self._cache.head_bucket(request.bucket)
        raise self._refused_error(request, Deny("nothing allows it to delete anything here"))

    async def refusal_of_key(
        self,
        request: S3Request,
        authentication: Authentication,
        key: str,
        version_id: str,
        held: MutableMapping[Condition, bool] | None = None,
    ) -> RefusedError | None:
        """Why a DeleteObjects may not have one of its keys, None if it may. `held` is one for all keys of a request: see `Facts`."""
        if self._standing(authentication.identity, request.bucket).settled is not None:
            return None
        # A thousand keys and a long policy: others have their turn between any two.
        await trio.lowlevel.checkpoint()
        one = _deletes_key(request, key, version_id)
        verdict = await self.judgement(one, authentication, held=held)
        return None if verdict else self._refused_error(one, verdict)

    def check_object(
        self, request: S3Request, authentication: Authentication, verdict: Verdict, info: ObjectInfo
    ) -> None:
        """Raise RefusedError unless a request with this `verdict` so far may have this very version of its object."""
        if not verdict.by_object or (verdict and not info.owner):
            return
        standing = self._standing(authentication.identity, request.bucket)
        asked = Asked(request, authentication, self._world.now_ns())
        final = self._judge(standing, asked, info)
        if not final:
            raise self._refused_error(request, final)

    async def check_source(
        self, request: S3Request, authentication: Authentication, source: ObjectInfo
    ) -> None:
        """Raise RefusedError unless who makes a request may read this version of what it copies (`request` as `reads_source` makes it)."""
        asked = Asked(request, authentication, self._world.now_ns())
        verdict = self.verdict(*asked_of(asked))
        if verdict is None:
            standing = self._standing(authentication.identity, request.bucket)
            tags = await self._tags_of(request)
            verdict = self._judge(standing, asked, source, existing_tags=tags)
        if not verdict and not verdict.by_object:
            raise self._refused_error(request, verdict)
        self.check_object(request, authentication, verdict, source)

    async def check_carried_tags(
        self, copy: S3Request, source: S3Request, authentication: Authentication, info: ObjectInfo
    ) -> None:
        """Raise RefusedError unless who makes a copy may read the tags that come along from its source, and set them on what it makes.

        `source` is as `reads_source` makes it, `info` what it is. Who may do all with both is not asked; nor is anybody, if there are none.
        """
        if self._all_theirs(copy, source, authentication.identity, info):
            return
        tags = await self._tags_of(source)
        if not tags:
            return
        read = msgspec.structs.replace(source, operation=Operation.GetObjectTagging)
        await self.check_source(read, authentication, info)
        headers = {**copy.headers, "x-amz-tagging": urlencode(tags, quote_via=quote)}
        tagged = msgspec.structs.replace(copy, headers=headers)
        verdict = await self.judgement(tagged, authentication)
        if not verdict:
            raise self._refused_error(tagged, verdict)

    def _all_theirs(
        self, copy: S3Request, source: S3Request, identity: Identity, info: ObjectInfo
    ) -> bool:
        """Whether somebody may do anything to both ends of a copy."""
        settled_source = self._standing(identity, source.bucket).settled
        if settled_source is None or self._standing(identity, copy.bucket).settled is None:
            return False
        return not settled_source.by_object or info.owner in {"", identity.account_id}

    def missing(
        self, request: S3Request, authentication: Authentication, error: ApplianceError
    ) -> ApplianceError:
        """What to say of a key that is not there (`error` is in MISSING): that, to those who may list it; to others, that they may not."""
        verdict = self._listing(request, authentication)
        return error if verdict else self._refused_error(request, verdict)

    def _listing(self, request: S3Request, authentication: Authentication) -> Verdict:
        """Whether this caller may list the key that is asked for."""
        standing = self._standing(authentication.identity, request.bucket)
        if standing.settled is not None:
            return ALLOW
        keys = RequestKeys(
            request=request,
            authentication=authentication,
            now_ns=self._world.now_ns(),
            bucket_owner=standing.bucket.owner,
            set_keys={"s3:prefix": request.key},
        )
        return self._decide(standing, LIST_NEED, "", keys, None)

    # --- parts -------------------------------------------------------------------------------------

    def _standing(self, identity: Identity, bucket: str) -> _Standing:
        settings = self._settings.of(bucket)
        place = (identity.access_key, bucket)
        known = self._standings.get(place)
        if known is not None and known.identity is identity and known.settings is settings:
            return known
        access = self.bucket(bucket)
        caller = Caller(
            identity.account_id,
            admin=identity.role is Role.ADMIN,
            read_only=identity.role is Role.READONLY,
        )
        made = _Standing(identity, settings, caller, access, settled(caller, access))
        if len(self._standings) >= _REMEMBERED_MAX:
            self._standings.clear()
        self._standings[place] = made
        return made

    async def _tags_of(self, request: S3Request) -> Mapping[str, str]:
        version_id = _version_id(request)
        with contextlib.suppress(*MISSING, UnsupportedError):
            return await self._cache.get_tags(request.bucket, request.key, version_id=version_id)
        return {}

    async def _info_of(self, request: S3Request, asked: Asked) -> ObjectInfo:
        """Of the object that a request is about. Raises what `missing` says of one that is not there."""
        try:
            return await self._cache.head(
                request.bucket, request.key, version_id=_version_id(request)
            )
        except MISSING as error:
            raise self.missing(request, asked.authentication, error) from None

    def _refused_error(self, request: S3Request, verdict: Verdict) -> RefusedError:
        self._refused += 1
        reason = verdict.reason if isinstance(verdict, Deny) else "nothing allows it"
        return RefusedError(reason, bucket=request.bucket, key=request.key)


def _conceivable(standing: _Standing, need: Need) -> bool:
    bucket = standing.bucket
    return conceivable(
        Facts(caller=standing.caller, need=need, resource="", bucket=bucket, keys=lambda _: ())
    )


def _version_id(request: S3Request) -> str:
    return request.query.get("versionId", "")


def asked_of(
    asked: Asked,
) -> tuple[S3Request, Authentication, int, MutableMapping[Condition, bool] | None]:
    return asked.request, asked.authentication, asked.now_ns, asked.held


def reads_source(request: S3Request, bucket: str, key: str, version_id: str) -> S3Request:
    """A copy's reading, as if it were a GetObject of its own."""
    headers = dict(request.headers)
    headers.pop(_EXPECTED_OWNER, None)
    if _EXPECTED_SOURCE_OWNER in headers:
        headers[_EXPECTED_OWNER] = headers[_EXPECTED_SOURCE_OWNER]
    return msgspec.structs.replace(
        request,
        operation=Operation.GetObject,
        bucket=bucket,
        key=key,
        query={"versionId": version_id} if version_id else {},
        headers=headers,
    )


def _deletes_key(request: S3Request, key: str, version_id: str) -> S3Request:
    """One key of a DeleteObjects, as if it were a DeleteObject of its own."""
    return msgspec.structs.replace(
        request,
        operation=Operation.DeleteObject,
        key=key,
        query={"versionId": version_id} if version_id else {},
    )


def _of_account(identity: Identity, operation: Operation) -> Verdict:
    if not identity.account_id:
        return Deny("only accounts may do this")
    if identity.role is Role.READONLY and operation is Operation.CreateBucket:
        return Deny("the account may only read")
    return ALLOW


def _needs_tags(bucket: BucketAccess, request: S3Request) -> bool:
    """Whether the policy asks for tags, which are not in memory."""
    if bucket.policy is None or not request.key:
        return False
    if request.operation in _TAGS_IN_BODY and bucket.policy.asks(REQUEST_TAG):
        return True
    return bucket.policy.asks(EXISTING_TAG)
