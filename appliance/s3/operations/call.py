"""One authorised request on its way through an operation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

import msgspec

from appliance.auth.credentials import AccountDirectory
from appliance.auth.identity import Authentication, Identity
from appliance.cache.api import Cache
from appliance.model.objects import ObjectInfo
from appliance.plugin import Caller, acting_as
from appliance.policy.access.decide import ALLOW
from appliance.s3.bucket_settings import BucketSettings
from appliance.s3.document_budget import DocumentBudget
from appliance.s3.gate import Gate, Verdict
from appliance.s3.http.incoming import IncomingBody
from appliance.s3.http.response import Response, render_fields
from appliance.s3.operations.decoded import FormFile
from appliance.s3.settings import S3Settings
from appliance.s3.wire.options import DEFAULT_CHECKSUM
from appliance.s3.wire.request import S3Request
from appliance.s3.wire.response import XML, Headers
from appliance.s3.wire.versions import checked_version_id
from appliance.world import World


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What all operations share. `secret` seals tokens and upload ids; all nodes must have the same. `accounts`: everybody there is.

    `spawn` runs a function beside the requests, until it ends or the endpoint does. `gate` judges; `admit` raises unless whoever makes the
    call may do so: for operations that learn who asks, or what for, only on their way. `verify_form` tells who signed a form with these
    fields.
    """

    cache: Cache
    world: World
    settings: S3Settings
    secret: bytes
    host_id: str
    accounts: AccountDirectory
    bucket_settings: BucketSettings
    spawn: Callable[[Callable[[], Awaitable[None]]], None]
    gate: Gate
    documents: DocumentBudget
    admit: Callable[[Call], Awaitable[None]]
    verify_form: Callable[[Mapping[str, str]], Identity]


class Call(msgspec.Struct, frozen=True):
    """A request, who asks, and its body."""

    context: Context
    request: S3Request
    authentication: Authentication
    body: IncomingBody
    request_id: str
    cache: Cache
    bucket: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    form: FormFile | None = None  # where the body is a form, whose fields have been read
    verdict: Verdict | None = ALLOW  # of the gate, so far: None where it has admitted the call
    # To be told who asks by an operation that finds out itself: from then on it is that account's request, in limits and log.
    identified: Callable[[Authentication], None] | None = None

    @property
    def identity(self) -> Identity:
        return self.authentication.identity

    @property
    def secret(self) -> bytes:
        return self.context.secret

    @property
    def version_id(self) -> str:
        """The version that is asked for, "" where none is. Raises InvalidArgumentValueError for what can be none."""
        if not self.query or "versionId" not in self.query:
            return ""
        return checked_version_id(self.query["versionId"])

    @property
    def default_checksum(self) -> str:
        """Of what is written without one of the client's: as at AWS, or "" where the backend keeps none."""
        return DEFAULT_CHECKSUM if self.cache.keeps_checksum(self.bucket, DEFAULT_CHECKSUM) else ""

    def check_object(self, info: ObjectInfo) -> None:
        """Raise RefusedError unless this caller may have this very version of the object. Operations in `gate.SELF_CHECKED` must ask."""
        verdict = self.verdict
        if verdict is not None and verdict.by_object:
            self.context.gate.check_object(self.request, self.authentication, verdict, info)


Operate = Callable[[Call], Awaitable[Response]]


def as_user(identity: Identity) -> AbstractContextManager[None]:
    """Around what is done for an account: as its user of the system, if it has one."""
    if identity.uid is None:
        return nullcontext()
    return acting_as(Caller(identity.uid, identity.gids))


def xml(document: bytes, headers: Headers | None = None) -> Response:
    """200 with a document."""
    return Response(200, render_fields([XML, *(headers or [])]), document)


def empty(status: int = 200, headers: Headers | None = None) -> Response:
    """No body."""
    return Response(status, render_fields(headers or []))


def etag_header(etag: str) -> tuple[str, str]:
    return ("ETag", f'"{etag}"')
