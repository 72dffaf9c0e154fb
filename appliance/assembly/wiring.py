"""From a checked configuration to what each part wants to know. Mostly pure; what touches disk or environment says so."""

from __future__ import annotations

import hmac
import logging
import os
import ssl
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar
from urllib.parse import urlsplit

from appliance.auth import credentials as auth
from appliance.auth import sealing
from appliance.auth.credentials import Credentials
from appliance.auth.sealing import Sealer
from appliance.cache.limits import Limits
from appliance.cache.routes import Route, Routes
from appliance.config import Config
from appliance.config.schema import AccountEntry, BackendEntry, BucketEntry
from appliance.config.schema import Limits as LimitsTable
from appliance.model.errors import ConfigError
from appliance.mount.guarded import end_former_mount
from appliance.mount.settings import MountSettings
from appliance.plugin import Backend, BackendConfig
from appliance.plugin.registry import Plugins
from appliance.policy.buckets import BucketPolicy
from appliance.policy.limits import AccountLimit, Limit
from appliance.s3.settings import HttpSettings, S3Settings
from appliance.world import Lane, RealWorld, World

P = ParamSpec("P")
T = TypeVar("T")


class PluginHost:
    """What a plugin may use of this process: see `appliance.plugin.Host`."""

    def __init__(self, world: World, name: str) -> None:
        self.logger = logging.getLogger(f"appliance.backend.{name}")
        self.now_ns = world.now_ns
        self.boot_s = world.boot_s
        self.token_bytes = world.token_bytes
        self.random = world.random
        self._world = world

    async def run_blocking(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._world.run_blocking(Lane.BACKEND, function, *args, **kwargs)


def prepare_data(config: Config) -> Path:
    """Create the data directory, for this user only. Raises ConfigError."""
    data = Path(config.node.data)
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        (data / "staging").mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"The data directory {data} cannot be used: {error.strerror}.") from None
    if not os.access(data, os.W_OK | os.X_OK):
        raise ConfigError(f"The data directory {data} is not writable for this user.")
    # Before the journal's lock and the ports are wanted: a killed process that is stuck in its mount holds them until that ends.
    end_former_mount(str(data / "staging"))
    return data


def root_credentials(config: Config, data: Path, world: World) -> tuple[Credentials, bool]:
    """Root credentials and whether they were just generated: environment, then configuration, then `data`. Raises ConfigError."""
    found = auth.from_environment(os.environ)
    if found is not None:
        return found, False
    given = config.credentials
    if not given.access_key:
        return auth.load_or_create(data, world.token_bytes)
    return auth.make_credentials(given.access_key, given_secret(config)), False


def known_root(config: Config, data: Path, world: World) -> Credentials:
    """As `root_credentials` where they are known, which they need not be to a command; none are made that nobody would be shown."""
    file = data / auth.FILE_NAME
    if auth.from_environment(os.environ) or config.credentials.access_key or file.exists():
        return root_credentials(config, data, world)[0]
    return auth.generate_credentials(world.token_bytes)


def given_secret(config: Config) -> str:
    """The root's secret key as configured, "" if it is not. Raises ConfigError."""
    given = config.credentials
    if not given.secret_key_file:
        return given.secret_key
    return _secret_in(given.secret_key_file, "credentials.secret_key_file")


def given_cluster_secret(config: Config) -> str:
    """The cluster secret of the environment or as configured, "" if it is neither. Raises ConfigError."""
    found = sealing.from_environment(os.environ)
    if found is not None:
        return found
    given, key = config.cluster.secret, "cluster.secret"
    if config.cluster.secret_file:
        key = "cluster.secret_file"
        given = _secret_in(config.cluster.secret_file, key)
    elif not given:
        return ""
    return sealing.check_secret(given, key)


def sealer(config: Config, data: Path, world: World) -> Sealer:
    """What seals accounts' secrets: with the given cluster secret, else with the one kept (or now made) in `data`. Raises ConfigError."""
    secret = given_cluster_secret(config) or sealing.load_or_create(data, world.token_bytes)
    return Sealer(secret, world.token_bytes)


def _secret_in(path: str, key: str) -> str:
    try:
        return Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{key}: {path} cannot be read: {error}.") from None


def tls_context(config: Config) -> ssl.SSLContext | None:
    """What the S3 endpoint serves TLS with, None if it does not. Raises ConfigError."""
    table = config.s3
    if not table.tls_certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Without a password an encrypted key would ask the terminal for one, and everything would wait.
        context.load_cert_chain(table.tls_certificate, table.tls_key, password="")
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"s3.tls_certificate: certificate and key cannot be loaded: {error}"
        ) from None
    return context


def token_secret(config: Config, credentials: Credentials) -> bytes:
    """What seals continuation tokens and upload ids: from the cluster secret where one is given, else from the root's.

    Either way it is the same on every node that is configured alike, and after every restart. Root keys change, and uploads take days: so a
    given cluster secret, which need not, comes first.
    """
    secret = given_cluster_secret(config) or credentials.secret_key
    return hmac.digest(secret.encode(), b"appliance tokens", "sha256")


def make_backends(config: Config, plugins: Plugins, world: World) -> list[Backend]:
    """One backend an entry, not yet started. Raises ConfigError, PluginError."""
    return [
        _make_backend(index, entry, name, plugins, world)
        for index, (entry, name) in enumerate(
            zip(config.backend, backend_names(config.backend), strict=True)
        )
    ]


def _make_backend(
    index: int, entry: BackendEntry, name: str, plugins: Plugins, world: World
) -> Backend:
    settings = BackendConfig(name=name, host=PluginHost(world, name), options=entry.options)
    try:
        return plugins.backend(entry.url, settings)
    except ConfigError as error:
        raise ConfigError(f"backend[{index}]: {error}") from None


def check_places(config: Config, backends: Sequence[Backend]) -> None:
    """Raise ConfigError where the appliance's own files, or its mount, would lie among a backend's files, or these in the mount."""
    for backend in backends:
        local = backend.local_root()
        if local is None:
            continue
        root = Path(local).resolve()
        places = [("node.data", Path(config.node.data).resolve())]
        if config.mount.path:
            # The last component is not followed: it may be a dead mount.
            path = Path(config.mount.path)
            places.append(("mount.path", path.parent.resolve() / path.name))
        for key, place in places:
            if place.is_relative_to(root) or root.is_relative_to(place):
                raise ConfigError(
                    f"{key}: {place} and the directory of backend {backend.name}, {root}, lie within each other;"
                    " clients would see one in the other. Keep them apart."
                )


def check(config: Config) -> None:
    """Everything that can be told without starting: plugins, their options, certificates, secrets. Raises ConfigError, PluginError."""
    plugins = Plugins()
    plugins.load()
    check_places(config, make_backends(config, plugins, RealWorld()))
    tls_context(config)
    given_secret(config)
    given_cluster_secret(config)


def backend_names(entries: Sequence[BackendEntry]) -> list[str]:
    """Given names, else the scheme, numbered where it repeats."""
    taken = {entry.name for entry in entries if entry.name}
    names = []
    for entry in entries:
        name = base = entry.name or urlsplit(entry.url).scheme
        number = 2
        while not entry.name and name in taken:
            name = f"{base}{number}"
            number += 1
        taken.add(name)
        names.append(name)
    return names


def make_routes(config: Config, backends: Sequence[Backend]) -> Routes:
    """Every backend pattern with every policy pattern, in order: the first pair that matches a bucket decides."""
    policies = [*config.bucket, BucketEntry(match="*")]
    return Routes(
        [
            Route(pattern, backend, bucket_policy(policy), policy.match)
            for entry, backend in zip(config.backend, backends, strict=True)
            for pattern in entry.buckets
            for policy in policies
        ]
    )


def bucket_policy(entry: BucketEntry) -> BucketPolicy:
    """The policy that a `[[bucket]]` table describes."""
    copies = entry.copies if isinstance(entry.copies, int) else 1
    return BucketPolicy(
        write=entry.write,
        freshness_s=None if entry.freshness is None else float(entry.freshness),
        copies=copies,
        on_outage=entry.on_outage,
    )


def cache_limits(config: Config) -> Limits:
    """The `[cache]` table as the cache takes it."""
    table = config.cache
    return Limits(
        capacity_bytes=int(table.capacity),
        high=table.high,
        low=table.low,
        min_free_bytes=None if table.min_free is None else int(table.min_free),
        read_ahead_bytes=int(table.read_ahead),
        scrub_bytes_per_s=float(table.scrub_rate),
    )


def s3_settings(config: Config) -> S3Settings:
    """The `[s3]` table as the endpoint takes it."""
    table = config.s3
    return S3Settings(
        region=table.region,
        domains=table.domains,
        # A line a request is news of level info.
        access_log=config.log.requests and config.log.level in {"debug", "info"},
        node_limit=_limit(config.limits),
        account_limits=tuple(
            AccountLimit(match=entry.match, limit=_limit(entry)) for entry in config.account
        ),
        http=HttpSettings(
            connections_max=table.connections_max,
            connections_per_address_max=table.connections_per_address_max,
            head_bytes_max=int(table.header_bytes_max),
            head_timeout_s=float(table.header_timeout),
            idle_timeout_s=float(table.idle_timeout),
            stall_timeout_s=float(table.body_timeout),
            drain_timeout_s=float(table.drain_timeout),
        ),
    )


def _limit(table: LimitsTable | AccountEntry) -> Limit:
    return Limit(requests_per_s=table.requests_per_s, requests_in_flight=table.requests_in_flight)


def mount_settings(config: Config, data: Path) -> MountSettings:
    """The `[mount]` table as the mount takes it."""
    table = config.mount
    return MountSettings(
        path=table.path,
        staging=str(data / "staging"),
        bucket=table.bucket,
        allow_other=table.allow_other,
        read_only=table.read_only,
        uid=None if table.uid < 0 else table.uid,
        gid=None if table.gid < 0 else table.gid,
        umask=table.umask,
    )


def facts(config: Config, backends: Sequence[Backend]) -> Mapping[str, object]:
    """What /status tells besides numbers."""
    return {
        "node": config.node.name,
        "backends": [
            {"name": backend.name, "url": entry.url, "buckets": list(entry.buckets)}
            for backend, entry in zip(backends, config.backend, strict=True)
        ],
        "mount": config.mount.path,
    }
