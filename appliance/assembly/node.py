"""A node's life: construct the parts in order, serve, and on SIGTERM or SIGINT stop them in the opposite order.

Start: data directory, plugins and backends, journal, cache, S3 endpoint, mount, admin listener; then ready.
Stop: not ready, requests in flight finish (bounded), unmount, background work ends, journal closes clean, backends stop.
"""

from __future__ import annotations

import functools
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import trio

from appliance.assembly import buckets, wiring
from appliance.assembly.accounts import TOPIC, open_accounts, respond
from appliance.assembly.hangup import reload_on_hangup
from appliance.auth.accounts import AccountStore
from appliance.auth.credentials import FILE_NAME, Credentials
from appliance.cache.checked import CheckedCache
from appliance.cache.object_cache import ObjectCache
from appliance.cache.store import Store
from appliance.config import Config
from appliance.config.values import Address
from appliance.journal.bucket_settings import JournalBucketSettings
from appliance.journal.journal import Journal
from appliance.model.errors import ApplianceError, ConfigError
from appliance.mount.mount import Mount
from appliance.plugin import Backend
from appliance.plugin.registry import Plugins
from appliance.s3.endpoint import S3Endpoint
from appliance.s3.http.server import listen
from appliance.s3.redirect import HttpsRedirect
from appliance.status import admin, control
from appliance.status.pages import NodePages
from appliance.world import RealWorld, World

logger = logging.getLogger("appliance.node")

_MAINTENANCE_S = 3600.0


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """What a person wants to know once a node serves. `generated_secret` is "" unless it was made just now."""

    endpoint: str
    admin: str
    access_key: str
    generated_secret: str = ""


class Foundations(msgspec.Struct, frozen=True, kw_only=True):
    """What the front ends stand on."""

    config: Config
    world: World
    data: Path
    credentials: Credentials
    generated: bool
    plugins: Plugins
    backends: Sequence[Backend]
    journal: Journal
    bucket_settings: JournalBucketSettings
    accounts: AccountStore
    cache: ObjectCache


async def run(config: Config, announce: Callable[[Started], None]) -> None:
    """Serve until SIGTERM or SIGINT; a second signal ends it at once. Raises domain errors if it cannot start."""
    shown = False

    def show(started: Started) -> None:
        nonlocal shown
        announce(started)
        shown = True

    credentials = Path(config.node.data) / FILE_NAME
    known = credentials.exists()
    try:
        async with _foundations(config) as parts:
            await _serve(parts, show)
    finally:
        if not known and not shown:
            # A secret is shown once, when it is made: nobody has seen this one.
            with suppress(OSError):
                credentials.unlink()


@asynccontextmanager
async def _foundations(config: Config) -> AsyncIterator[Foundations]:
    world = RealWorld()
    plugins = Plugins()
    plugins.load()
    backends = wiring.make_backends(config, plugins, world)
    data = wiring.prepare_data(config)
    credentials, generated = wiring.root_credentials(config, data, world)
    async with (
        _started(backends),
        _journal(data / "appliance.db", world, plugins) as journal,
        trio.open_nursery() as background,
    ):
        routes = wiring.make_routes(config, backends)
        limits = wiring.cache_limits(config)
        cache = CheckedCache(world, journal, Store(data), routes, limits=limits)
        accounts = open_accounts(config, data, journal, credentials, world)
        accounts.check_readable()
        background.start_soon(accounts.run)
        await background.start(cache.run)
        background.start_soon(_maintain, backends)
        plugins.start(config.node.name)
        try:
            yield Foundations(
                config=config,
                world=world,
                data=data,
                credentials=credentials,
                generated=generated,
                plugins=plugins,
                backends=backends,
                journal=journal,
                bucket_settings=JournalBucketSettings(journal),
                accounts=accounts,
                cache=cache,
            )
        finally:
            plugins.stop(config.node.name)
            background.cancel_scope.cancel()


@asynccontextmanager
async def _started(backends: Sequence[Backend]) -> AsyncIterator[None]:
    running: list[Backend] = []
    try:
        for backend in backends:
            await backend.start()
            running.append(backend)
        yield
    finally:
        with trio.CancelScope(shield=True):
            for backend in reversed(running):
                await backend.stop()


@asynccontextmanager
async def _journal(path: Path, world: World, plugins: Plugins) -> AsyncIterator[Journal]:
    journal = Journal.open(path, world, on_event=plugins.event)
    try:
        async with journal.running():
            yield journal
    finally:
        journal.close()


async def _maintain(backends: Sequence[Backend]) -> None:
    """Backends' periodic work (reaping what was abandoned), at start and then every hour."""
    while True:
        for backend in backends:
            try:
                await backend.maintain()
            except ApplianceError as error:
                logger.warning("maintenance of backend %s failed: %s", backend.name, error)
        await trio.sleep(_MAINTENANCE_S)


async def _serve(parts: Foundations, announce: Callable[[Started], None]) -> None:
    config, cache = parts.config, parts.cache
    endpoint = S3Endpoint(
        cache,
        parts.accounts,
        parts.world,
        wiring.s3_settings(config),
        secret=wiring.token_secret(config, parts.credentials),
        bucket_settings=parts.bucket_settings,
        tls=wiring.tls_context(config),
    )
    mount = (
        Mount(cache, parts.world, wiring.mount_settings(config, parts.data))
        if config.mount.path
        else None
    )
    s3_listeners = _listen(config.s3.listen, "s3.listen")
    redirect, redirect_listeners = _redirect(parts, s3_listeners)
    pages = _pages(parts, endpoint, mount, redirect)
    admin_listeners = _listen(config.admin.listen, "admin.listen")
    async with trio.open_nursery() as serving:
        await serving.start(_until_signal, serving, endpoint, pages)
        await serving.start(reload_on_hangup, config, endpoint, parts.world)
        if mount:
            await serving.start(mount.serve)
        await serving.start(admin.serve, _trio_listeners(admin_listeners), pages.pages())
        await serving.start(control.serve, parts.data, _topics(parts))
        await serving.start(endpoint.serve, s3_listeners)
        if redirect:
            await serving.start(redirect.serve, redirect_listeners)
        pages.state = "ready"
        announce(
            Started(
                endpoint=_url(s3_listeners, "https" if config.s3.tls_key else "http"),
                admin=_url(admin_listeners, "http"),
                access_key=parts.credentials.access_key,
                generated_secret=parts.credentials.secret_key if parts.generated else "",
            )
        )


def _redirect(
    parts: Foundations, s3_listeners: Sequence[socket.socket]
) -> tuple[HttpsRedirect | None, list[socket.socket]]:
    """What sends clients of plain HTTP to the endpoint, and where it listens; None where nobody wants it."""
    address = parts.config.s3.redirect_listen
    if address is None:
        return None, []
    settings = wiring.s3_settings(parts.config).http
    redirect = HttpsRedirect(s3_listeners[0].getsockname()[1], settings, parts.world)
    listeners = _listen(address, "s3.redirect_listen")
    logger.info("%s sends clients to HTTPS", _url(listeners, "http"))
    return redirect, listeners


def _topics(parts: Foundations) -> control.Topics:
    """What the control socket answers."""
    owners = buckets.Buckets(parts.cache, parts.bucket_settings, parts.accounts)
    return {TOPIC: functools.partial(respond, parts.accounts), buckets.TOPIC: owners.respond}


def _pages(
    parts: Foundations,
    endpoint: S3Endpoint,
    mount: Mount | None,
    redirect: HttpsRedirect | None,
) -> NodePages:
    statistics = {
        "s3": endpoint.statistics,
        "cache": parts.cache.statistics,
        "journal": parts.journal.statistics,
        "accounts": parts.accounts.statistics,
        "bucket_settings": parts.bucket_settings.statistics,
        "plugin": parts.plugins.statistics,
    }
    if mount:
        statistics["mount"] = mount.statistics
    if redirect:
        statistics["redirect"] = redirect.statistics
    for backend in parts.backends:
        statistics[f"backend_{backend.name.replace('-', '_')}"] = backend.statistics
    return NodePages(
        wiring.facts(parts.config, parts.backends),
        statistics,
        parts.backends,
        parts.plugins.metrics,
        parts.world.boot_s,
    )


async def _until_signal(
    serving: trio.Nursery,
    endpoint: S3Endpoint,
    pages: NodePages,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        first = await anext(signals)
        pages.state = "draining"
        logger.info("%s: draining", signal.Signals(first).name)
        async with trio.open_nursery() as draining:
            draining.start_soon(_drain, endpoint, draining.cancel_scope)
            second = await anext(signals)
            logger.warning("%s again: stopping at once", signal.Signals(second).name)
            draining.cancel_scope.cancel()
        # The mount ends with the rest: cancelled, it publishes what is being written (bounded) and unmounts.
        serving.cancel_scope.cancel()


async def _drain(endpoint: S3Endpoint, done: trio.CancelScope) -> None:
    await endpoint.drain()
    done.cancel()


def _listen(address: Address, key: str) -> list[socket.socket]:
    try:
        return listen(address.host, address.port)
    except OSError as error:
        raise ConfigError(f"{key}: cannot listen on {address}: {error.strerror}.") from None


def _trio_listeners(sockets: Sequence[socket.socket]) -> list[trio.SocketListener]:
    return [trio.SocketListener(trio.socket.from_stdlib_socket(sock)) for sock in sockets]


def _url(sockets: Sequence[socket.socket], scheme: str) -> str:
    host, port = sockets[0].getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104  # compared, not bound
    return f"{scheme}://{f'[{shown}]' if ':' in shown and '[' not in shown else shown}:{port}"
