"""The upstream as the backend calls it: boto3 in worker threads, with bounded concurrency, retries, a circuit breaker and domain errors.

A call is a plain function that runs in a thread and may raise anything botocore raises. It is bound by the connect and read timeouts, so a
cancelled caller, which waits for its thread, does not wait for long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import boto3
import botocore.loaders
import botocore.session
import trio
from botocore.config import Config

from appliance.model.errors import BackendUnavailableError
from appliance.plugin import Host
from appliance_s3 import breaker as breakers
from appliance_s3.failures import Failure, Repeat, Where, classify
from appliance_s3.fastpath import FastReads
from appliance_s3.ordering import keep_order
from appliance_s3.requests import EXTRA_HEADERS
from appliance_s3.settings import Settings

T = TypeVar("T")
# Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
BACKOFF_S = 0.1
BACKOFF_MAX_S = 5.0


def backoff_s(attempt: int, chance: float) -> float:
    """Seconds to wait after the failure of `attempt` (from 1); `chance` in [0, 1)."""
    return chance * min(BACKOFF_MAX_S, BACKOFF_S * 2.0 ** (attempt - 1))


def may_repeat(failure: Failure, *, idempotent: bool) -> bool:
    """Whether doing the call again cannot do harm."""
    return failure.repeat is Repeat.SAFE or (idempotent and failure.repeat is Repeat.AMBIGUOUS)


class Upstream:
    """One S3 service. `client` is boto3's, once `start` has made it."""

    def __init__(self, name: str, settings: Settings, host: Host) -> None:
        self.name = name
        self.settings = settings
        self.host = host
        self.client: Any = None
        self.credentials: Any = None
        self._fast: FastReads | None = None
        self._breaker = breakers.Breaker()
        # An upload whose client is slow keeps its thread: such ones must not keep all of them.
        uploads = settings.max_connections // 2
        self._uploads = trio.CapacityLimiter(uploads)
        self._calls = trio.CapacityLimiter(settings.max_connections - uploads)
        self.counts = dict.fromkeys(
            ("requests", "retries", "failures", "refused_calls", "read_bytes", "written_bytes"), 0.0
        )

    async def start(self) -> None:
        """Make the client: reads boto3's configuration files, does not touch the network (instance credentials aside)."""
        self.client, self.credentials = await self.host.run_blocking(make_client, self.settings)
        if self.settings.fast_reads:
            self._fast = FastReads(self.client, self.credentials, self.settings, self.host.now_ns)

    def operation(self, name: str) -> Callable[..., dict[str, Any]]:
        """boto3's operation `name`, by its fast path if it has one."""
        return getattr(self._fast, name, None) or getattr(self.client, name)  # type: ignore[no-any-return]  # boto3 makes its methods up

    async def stop(self) -> None:
        if self._fast is not None:
            self._fast.close()
        if self.client is not None:
            await self.host.run_blocking(self.client.close)

    def statistics(self) -> dict[str, float]:
        state = ("closed", "half-open", "open").index(self._breaker.state)
        return {
            **{f"{name}_total": count for name, count in self.counts.items()},
            "breaker_state": float(state),
            "calls_in_progress": float(self._calls.borrowed_tokens + self._uploads.borrowed_tokens),
        }

    async def call(
        self,
        where: Where,
        function: Callable[[], T],
        *,
        idempotent: bool = True,
        once: bool = False,
        uploading: bool = False,
    ) -> T:
        """What `function` returns, run in a thread; domain errors only.

        It is called again where that cannot do harm: it is `idempotent`, or the upstream certainly did not carry it out; never if it may
        be called only `once`, because it consumes a body.
        """
        attempts = 1 if once else self.settings.max_attempts
        for attempt in range(1, attempts + 1):
            try:
                return await self._once(where, function, uploading=uploading)
            except _FailedError as failed:
                failure = failed.failure
                if attempt == attempts or not may_repeat(failure, idempotent=idempotent):
                    raise failure.error from failed.__cause__
            self.counts["retries"] += 1
            await trio.sleep(backoff_s(attempt, self.host.random()))
        raise AssertionError("max_attempts is at least 1")

    async def _once(self, where: Where, function: Callable[[], T], *, uploading: bool) -> T:
        """One attempt. Raises _FailedError; BackendUnavailableError while the breaker is open."""
        limiter = self._uploads if uploading else self._calls
        async with limiter:
            self._admit(where)
            settled = False
            try:
                self.counts["requests"] += 1
                result = await self.host.run_blocking(function)
                self._breaker = breakers.succeeded()
                settled = True
                return result
            except Exception as error:
                failure = classify(error, where)
                self._record(failure)
                settled = True
                self.host.logger.debug("backend %s: %s: %s", self.name, where.action, error)
                raise _FailedError(failure) from error
            finally:
                if not settled:
                    self._breaker = breakers.withdrawn(self._breaker)

    def _admit(self, where: Where) -> None:
        before = self._breaker.state
        self._breaker, wait_s = breakers.admit(self._breaker, self.host.boot_s())
        if wait_s is not None:
            self.counts["refused_calls"] += 1
            raise BackendUnavailableError(
                f"The upstream of backend {self.name} does not answer; it is tried again shortly.",
                bucket=where.bucket,
                key=where.key,
                retry_after_s=max(1, round(wait_s + 0.5)),
            )
        self._log_change(before)

    def _record(self, failure: Failure) -> None:
        before = self._breaker.state
        self.counts["failures"] += 1
        if failure.unavailable:
            self._breaker = breakers.failed(self._breaker, self.host.boot_s())
        else:
            self._breaker = breakers.succeeded()
        self._log_change(before, str(failure.error))

    def _log_change(self, before: str, reason: str = "") -> None:
        if (state := self._breaker.state) != before:
            self.host.logger.warning(
                "backend %s: circuit breaker %s -> %s %s", self.name, before, state, reason
            )


class _FailedError(Exception):
    def __init__(self, failure: Failure) -> None:
        super().__init__()
        self.failure = failure


# boto3's descriptions of S3, read once for all backends: that takes most of the time of making a client.
_LOADER = botocore.loaders.create_loader()


def make_client(settings: Settings) -> tuple[Any, Any]:
    """boto3's S3 client for these settings, and its credentials. We retry ourselves (we know what may be repeated), so it does not."""
    session = _session(settings)
    client = session.client(
        "s3",
        endpoint_url=settings.endpoint_url,
        verify=settings.ca_bundle or settings.verify,
        config=_client_config(settings),
    )
    # Typed as if handlers returned nothing; this event's may return new parameters.
    client.meta.events.register("provide-client-params.s3", _take_headers)  # type: ignore[arg-type]
    client.meta.events.register("before-call.s3", _add_headers)
    client.meta.events.register("after-call.s3.ListObjectVersions", keep_order)
    return client, session.get_credentials()


def _session(settings: Settings) -> boto3.session.Session:
    keys = settings.credentials
    core = botocore.session.get_session()
    core.register_component("data_loader", _LOADER)
    return boto3.session.Session(
        botocore_session=core,
        aws_access_key_id=keys.access_key or None,
        aws_secret_access_key=keys.secret_key or None,
        aws_session_token=keys.session_token or None,
        profile_name=keys.profile or None,
        region_name=settings.region,
    )


def _client_config(settings: Settings) -> Config:
    return Config(
        connect_timeout=settings.connect_timeout_s,
        read_timeout=settings.read_timeout_s,
        max_pool_connections=settings.max_connections * 2,
        retries={"total_max_attempts": 1},
        # Our parameters are typed already; checking them again costs 0.1 ms a call.
        parameter_validation=False,
        # We send checksums of our own where bytes are at hand; botocore would want to read a stream twice.
        request_checksum_calculation="when_required",
        response_checksum_validation=settings.checksums,  # type: ignore[arg-type]  # one of its words
        tcp_keepalive=True,
        user_agent_extra="cache-appliance",
        s3={  # type: ignore[arg-type]  # the addressing style is one of its words
            "addressing_style": settings.addressing_style,
            # Signing a payload means reading it before it is sent. Small bodies carry a signed Content-MD5.
            "payload_signing_enabled": False,
        },
    )


def _take_headers(params: dict[str, Any], context: dict[str, Any], **_: object) -> dict[str, Any]:
    """Set extra headers aside before boto3 looks at the parameters."""
    if EXTRA_HEADERS not in params:
        return params
    rest = dict(params)
    context[EXTRA_HEADERS] = rest.pop(EXTRA_HEADERS)
    return rest


def _add_headers(params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    """And put them into the request before it is signed."""
    params["headers"].update(context.get(EXTRA_HEADERS, {}))
    if "Range" in params["headers"]:
        # S3 sends no checksum with a part of an object; upstreams that send the whole object's with it must not make the part look corrupt.
        context.get("checksum", {}).pop("response_algorithms", None)
