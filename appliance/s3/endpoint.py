"""The S3 endpoint: request -> who asks -> operation -> response, with errors, request ids, counters and the request log around it.

`serve` runs the HTTP server; `drain` lets it end. An error of the domain is answered by the table in `wire.errors`; anything else that
escapes an operation is a bug: it is logged with its request id and answered InternalError.
"""

from __future__ import annotations

import base64
import functools
import logging
import os
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import formatdate

import msgspec
import trio

from appliance.auth.anonymous import anonymous
from appliance.auth.credentials import ROOT_NAME, CredentialStore
from appliance.auth.errors import AnonymousError
from appliance.auth.forms import verify_form
from appliance.auth.identity import ANONYMOUS, Authentication, Identity, unsigned
from appliance.auth.sigv4 import UNSIGNED_PAYLOAD, Verifier
from appliance.cache.api import Cache
from appliance.model.errors import (
    ApplianceError,
    BackendDeniedError,
)
from appliance.plugin import acting_as
from appliance.policy.access.decide import ALLOW
from appliance.policy.limits import Meter
from appliance.s3.access_log import AccessLog, LogLine
from appliance.s3.bucket_settings import BucketSettings, MemoryBucketSettings
from appliance.s3.document_budget import DocumentBudget
from appliance.s3.gate import MISSING, SELF_CHECKED, Gate, RefusedError, Verdict
from appliance.s3.http.connection import Answer
from appliance.s3.http.errors import ClientGoneError
from appliance.s3.http.head import Head
from appliance.s3.http.incoming import IncomingBody
from appliance.s3.http.response import Response, render_fields
from appliance.s3.http.server import HttpServer
from appliance.s3.metrics import RequestMetrics
from appliance.s3.operations.call import Call, Context, Operate, as_user
from appliance.s3.operations.sharing import cors_rules
from appliance.s3.operations.table import NOWAIT, OPERATIONS, UNSIGNED, operation_of
from appliance.s3.settings import S3Settings
from appliance.s3.throttle import ThrottledError, make_throttle
from appliance.s3.wire.actions import OF_OBJECTS
from appliance.s3.wire.cors import shared_with
from appliance.s3.wire.encryption import asks_for_customer_key
from appliance.s3.wire.errors import error_response, row_of
from appliance.s3.wire.operations import Operation
from appliance.s3.wire.request import S3Request, parse_request
from appliance.world import World

logger = logging.getLogger(__name__)

# The status of a request whose client left before there was an answer, in metrics and log, as nginx has it.
_CLIENT_GONE = 499
# What is not an operation, in metrics and log.
_NONE = "-"


class _Exchange(msgspec.Struct):
    """What is remembered of a request until its response is out."""

    request_id: str
    began_s: float
    peer: str
    body: IncomingBody | None = None
    operation: str = _NONE
    request: S3Request | None = None
    access_key: str = ""
    authentication: Authentication | None = None
    error: str = ""
    reason: str = ""
    meters: tuple[Meter, ...] = ()


class S3Endpoint:
    """See the module. `secret` seals continuation tokens and upload ids: the same on all nodes and after a restart;
    without it they live as long as this object.

    Without `bucket_settings`, what accounts set on buckets is forgotten with this object. `log_write` takes the request log's lines where
    `settings.access_log` (standard error if not given).
    """

    def __init__(
        self,
        cache: Cache,
        credentials: CredentialStore,
        world: World,
        settings: S3Settings,
        *,
        secret: bytes | None = None,
        bucket_settings: BucketSettings | None = None,
        tls: ssl.SSLContext | None = None,
        log_write: Callable[[bytes], object] | None = None,
        operations: Mapping[Operation, Operate] = OPERATIONS,
    ) -> None:
        self._world = world
        self._settings = settings
        self._host_id = base64.b64encode(world.token_bytes(24)).decode("ascii")
        bucket_settings = bucket_settings or MemoryBucketSettings()
        root = credentials.named(ROOT_NAME)
        root_id = root.account_id if root else ""
        self._documents = DocumentBudget(settings.documents_bytes_max)
        self._gate = Gate(cache, bucket_settings, credentials, world, root_id)
        self._context = self._make_context(cache, credentials, secret, bucket_settings)
        self._background: trio.Nursery | None = None
        self._operations = operations
        self._verifier = Verifier(credentials, region=settings.region)
        self._throttle = make_throttle(settings.node_limit, settings.account_limits)
        self._server = HttpServer(self, settings.http, world, tls)
        self.metrics = RequestMetrics()
        self._log = AccessLog(world, log_write or _to_stderr) if settings.access_log else None
        self._id_prefix = world.token_bytes(4).hex().upper()
        self._count = 0
        self._second = -1
        self._common = b""
        self._serving = False
        self._ended = trio.Event()

    def _make_context(
        self,
        cache: Cache,
        credentials: CredentialStore,
        secret: bytes | None,
        bucket_settings: BucketSettings,
    ) -> Context:
        """What operations get of this endpoint."""
        return Context(
            cache=cache,
            world=self._world,
            settings=self._settings,
            secret=secret or self._world.token_bytes(32),
            host_id=self._host_id,
            accounts=credentials,
            bucket_settings=bucket_settings,
            gate=self._gate,
            documents=self._documents,
            spawn=self._spawn,
            admit=self._admit,
            verify_form=functools.partial(self._verify_form, credentials),
        )

    def replace_tls(self, tls: ssl.SSLContext) -> None:
        """Use this certificate from the next connection on; those that are open keep theirs. Only where the endpoint speaks TLS."""
        if self._server.tls is None:
            raise ValueError("this endpoint does not speak TLS")
        self._server.tls = tls

    @property
    def ready(self) -> bool:
        """Accepting requests, and not about to stop."""
        return self._serving and not self._server.draining

    async def serve(
        self,
        listeners: Sequence[socket.socket],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve on listening sockets (`http.server.listen` makes them), which this takes over, until drained."""
        async with trio.open_nursery() as nursery:
            self._background = nursery
            if self._log is not None:
                nursery.start_soon(self._log.run)
            self._serving = True
            try:
                await self._server.serve(listeners, task_status=task_status)
            finally:
                self._serving = False
                self._ended.set()
                nursery.cancel_scope.cancel()

    async def drain(self, timeout_s: float | None = None) -> None:
        """Stop accepting; return, as `serve` does, when what is in flight has finished, or after `timeout_s` (default: the setting's)."""
        self._server.drain(timeout_s)
        if self._serving:
            await self._ended.wait()

    def statistics(self) -> dict[str, float]:
        found = {**self.metrics.statistics(), **self._server.statistics()}
        found.update({f"signatures_{k}": v for k, v in self._verifier.statistics().items()})
        found.update({f"access_{k}": v for k, v in self._gate.statistics().items()})
        for part in (self._documents, self._log, self._throttle):
            if part is not None:
                found.update(part.statistics())
        return found

    # --- what the HTTP server asks ------------------------------------------------

    def handle(self, head: Head, body: IncomingBody) -> Answer:
        """See `http.connection.Handler`."""
        request = head.request
        exchange = self._begin(request.peer, body)
        now_ns = self._world.now_ns()
        try:
            exchange.request = parsed = parse_request(request, self._settings.domains)
            operation = parsed.operation
            exchange.operation = operation.name
            call = self._authorise(exchange, parsed, body, now_ns)
            answer_nowait = NOWAIT.get(operation)
            verdict = call.verdict
            if (
                answer_nowait is not None
                and call.identity.uid is None  # else the storage is asked, which may block
                and verdict is not None
                and (verdict or verdict.by_object)
                and not asks_for_customer_key(parsed.headers)
            ):
                response = answer_nowait(call)
                if response is not None:
                    if exchange.meters:
                        _release_unless_streaming(exchange, response)
                    return self._finish(response, exchange, now_ns)
        except Exception as error:  # noqa: BLE001  # every error is an answer
            _release(exchange)
            return self._finish(self._failure(exchange, error, head), exchange, now_ns)
        return functools.partial(self._perform, exchange, head, call)

    def refuse(self, error: ApplianceError, peer: str) -> Response:
        """See `http.connection.Handler`."""
        exchange = self._begin(peer)
        response = self._error(exchange, error, b"", head=False)
        return self._finish(response, exchange, self._world.now_ns())

    def sent(self, response: Response, sent_bytes: int, error: Exception | None) -> None:
        """See `http.connection.Handler`."""
        exchange = response.notes
        if not isinstance(exchange, _Exchange):
            return
        if exchange.meters:
            _release(exchange)
        self._record(exchange, response.status, sent_bytes, error)

    # --- steps ---------------------------------------------------------------------

    def _authorise(
        self, exchange: _Exchange, parsed: S3Request, body: IncomingBody, now_ns: int
    ) -> Call:
        """Who asks, and may they. Raises AuthError, AccessDeniedError."""
        request = parsed.request
        if parsed.operation in UNSIGNED:
            self._share(exchange, ANONYMOUS)
            call = self._call(exchange, parsed, unsigned(UNSIGNED_PAYLOAD), body)
            return msgspec.structs.replace(
                call, identified=functools.partial(self._identified, exchange)
            )
        try:
            authentication = self._verifier.verify(
                request.method,
                request.target,
                request.headers,
                now_ns=now_ns,
                host_bucket=parsed.bucket if parsed.virtual_host else "",
            )
        except AnonymousError:
            authentication = anonymous(request.headers)
        exchange.authentication = authentication
        exchange.access_key = authentication.identity.access_key
        self._share(exchange, authentication.identity)
        verdict = self._gate.verdict(parsed, authentication, now_ns)
        return self._call(exchange, parsed, authentication, body, verdict)

    def _share(self, exchange: _Exchange, identity: Identity) -> None:
        """One more request of this account and node. Raises ThrottledError."""
        if self._throttle is not None:
            exchange.meters = self._throttle.admit(identity, exchange.began_s)

    def _identified(self, exchange: _Exchange, authentication: Authentication) -> None:
        """See `Call.identified`."""
        exchange.authentication = authentication
        exchange.access_key = authentication.identity.access_key
        _release(exchange)
        self._share(exchange, authentication.identity)

    def _verify_form(self, credentials: CredentialStore, fields: Mapping[str, str]) -> Identity:
        """See `Context.verify_form`."""
        identity = verify_form(credentials, fields, self._settings.region)
        if identity.access_key:
            credentials.uses[identity.access_key] = self._world.now_ns() // 10**9
        return identity

    async def _admit(self, call: Call) -> None:
        """See `Context.admit`."""
        with acting_as(None):
            await self._gate.admit(call.request, call.authentication)

    def _call(
        self,
        exchange: _Exchange,
        parsed: S3Request,
        authentication: Authentication,
        body: IncomingBody,
        verdict: Verdict | None = ALLOW,
    ) -> Call:
        return Call(
            self._context,
            parsed,
            authentication,
            body,
            exchange.request_id,
            self._context.cache,
            parsed.bucket,
            parsed.key,
            parsed.query,
            parsed.headers,
            verdict=verdict,
        )

    async def _perform(self, exchange: _Exchange, head: Head, call: Call) -> Response:
        """The operation, and whatever comes of it."""
        self.metrics.in_flight += 1
        try:
            verdict, operation = call.verdict, call.request.operation
            asks_itself = verdict is not None and verdict.by_object and operation in SELF_CHECKED
            if verdict is not ALLOW and not (verdict and asks_itself):
                await self._gate.admit(call.request, call.authentication)
                if not asks_itself:
                    call = msgspec.structs.replace(call, verdict=None)
            with as_user(call.identity):
                response = await operation_of(call, self._operations)(call)
        except ClientGoneError as error:
            _release(exchange)
            self._record(exchange, _CLIENT_GONE, 0, error)
            raise
        except Exception as error:  # noqa: BLE001  # every error is an answer
            response = self._failure(exchange, error, head)
        except BaseException:
            _release(exchange)
            raise
        finally:
            self.metrics.in_flight -= 1
        _release_unless_streaming(exchange, response)
        return self._finish(response, exchange, self._world.now_ns())

    def _spawn(self, function: Callable[[], Awaitable[None]]) -> None:
        if self._background is None:
            raise RuntimeError("the endpoint does not serve yet")
        self._background.start_soon(function)

    def _begin(self, peer: str, body: IncomingBody | None = None) -> _Exchange:
        self._count += 1
        return _Exchange(f"{self._id_prefix}{self._count:08X}", self._world.boot_s(), peer, body)

    def _finish(self, response: Response, exchange: _Exchange, now_ns: int) -> Response:
        if now_ns // 10**9 != self._second:
            self._second = now_ns // 10**9
            self._common = render_fields(
                [
                    ("Server", "cache-appliance"),
                    ("Date", formatdate(self._second, usegmt=True)),
                    ("x-amz-id-2", self._host_id),
                    ("x-amz-request-id", ""),
                ]
            ).removesuffix(b"\r\n")
        identified = self._common + exchange.request_id.encode() + b"\r\n"
        response.fields = identified + response.fields
        request = exchange.request
        if request is not None and "origin" in request.headers:
            response.fields += self._shared_with(request)
        response.notes = exchange
        return response

    def _shared_with(self, request: S3Request) -> bytes:
        """What a browser is to know about who may see this answer."""
        rules = cors_rules(self._context.bucket_settings.of(request.bucket))
        if rules is None or request.request.method == "OPTIONS":
            return b""
        return render_fields(shared_with(rules, request.request.method, request.headers))

    def _failure(self, exchange: _Exchange, error: Exception, head: Head) -> Response:
        """The answer to a request that failed; a bug goes to the log."""
        error = self._told(exchange, error)
        if not isinstance(error, ApplianceError):
            logger.error("request %s failed: internal error", exchange.request_id, exc_info=error)
        request = head.request
        return self._error(exchange, error, request.target, head=request.method == "HEAD")

    def _told(self, exchange: _Exchange, error: Exception) -> Exception:
        """What the caller is told instead, who may not know what there is and what not."""
        request, authentication = exchange.request, exchange.authentication
        if not isinstance(error, MISSING) or request is None or authentication is None:
            return error
        if request.operation not in OF_OBJECTS:
            return error
        return self._gate.missing(request, authentication, error)

    def _error(
        self, exchange: _Exchange, error: Exception, target: bytes, *, head: bool
    ) -> Response:
        path = target.split(b"?", 1)[0].decode("latin-1")
        answer = error_response(
            error,
            resource=path,
            request_id=exchange.request_id,
            host_id=self._host_id,
            head=head,
        )
        exchange.error = row_of(error).code
        if isinstance(error, RefusedError):
            exchange.reason = error.reason
        # 501 is the client's business, not the operator's, and limits are meant; what a backend denies is the operator's.
        broken = answer.status >= 500 and not (
            answer.status == 501 or isinstance(error, ThrottledError)
        )
        if (broken or isinstance(error, BackendDeniedError)) and isinstance(error, ApplianceError):
            logger.warning("request %s: %s", exchange.request_id, error)
        return Response(answer.status, render_fields(answer.headers), answer.body)

    def _record(
        self, exchange: _Exchange, status: int, sent_bytes: int, error: Exception | None
    ) -> None:
        """Count a request, and log it."""
        seconds = self._world.boot_s() - exchange.began_s
        body = exchange.body
        received = body.received_bytes if body is not None else 0
        self.metrics.finished(exchange.operation, status, seconds, received, sent_bytes)
        if error is not None:
            self._cut(exchange, error)
        if self._log is not None:
            self._log.add(_log_line(exchange, status, seconds, sent_bytes, error, self._world))

    def _cut(self, exchange: _Exchange, error: Exception) -> None:
        self.metrics.aborted += 1
        if not isinstance(error, ClientGoneError):
            logger.warning(
                "request %s (%s): the response was cut off: %s",
                exchange.request_id,
                exchange.operation,
                str(error) or type(error).__name__,
            )


def _release(exchange: _Exchange) -> None:
    for meter in exchange.meters:
        meter.release()
    exchange.meters = ()


def _release_unless_streaming(exchange: _Exchange, response: Response) -> None:
    """A body that streams is in flight until `sent` is told that it is out, however it ends; the rest of a small one is the kernel's."""
    if isinstance(response.body, bytes):
        _release(exchange)


def _log_line(
    exchange: _Exchange,
    status: int,
    seconds: float,
    sent_bytes: int,
    error: Exception | None,
    world: World,
) -> LogLine:
    parsed = exchange.request
    return LogLine(
        time=_iso(world.now_ns()),
        request_id=exchange.request_id,
        peer=exchange.peer,
        operation=exchange.operation,
        status=status,
        duration_ms=round(seconds * 1000, 3),
        method=parsed.request.method if parsed else "",
        bucket=parsed.bucket if parsed else "",
        key=parsed.key if parsed else "",
        access_key=exchange.access_key,
        received_bytes=exchange.body.received_bytes if exchange.body else 0,
        sent_bytes=sent_bytes,
        error=exchange.error,
        reason=exchange.reason,
        cut=type(error).__name__ if error is not None else "",
        user_agent=parsed.headers.get("user-agent", "") if parsed else "",
    )


def _iso(now_ns: int) -> str:
    """UTC, with milliseconds."""
    seconds, rest = divmod(now_ns, 10**9)
    return f"{_iso_second(seconds)}.{rest // 10**6:03d}Z"


@functools.lru_cache(maxsize=4)
def _iso_second(unix_s: int) -> str:
    return f"{datetime.fromtimestamp(unix_s, UTC):%Y-%m-%dT%H:%M:%S}"


def _to_stderr(data: bytes) -> None:
    """Past Python's buffer, which would keep what could not be written."""
    sys.stderr.flush()
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(sys.stderr.fileno(), rest) :]
