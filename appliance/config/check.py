"""Values that have the right type and still cannot be: each problem is (key, reason)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from appliance.config.schema import (
    AccountEntry,
    BackendEntry,
    BucketEntry,
    CacheSection,
    Config,
    Limits,
    MountSection,
    S3Section,
)
from appliance.config.secrets import carries_secret
from appliance.config.values import Duration
from appliance.model.names import is_bucket_name

_CAPACITY_MIN = 16 * 1024**2
_HEADER_BYTES_MIN = 8 * 1024
_HEADER_BYTES_MAX = 1024**2
_TIMEOUT_MAX_S = 86_400.0
_REQUESTS_MAX = 1_000_000
_REGION = re.compile(r"[a-z0-9-]{1,64}\Z")
_DOMAIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?\Z")


def problems(config: Config) -> Iterator[tuple[str, str]]:
    """Everything that is impossible in `config`, in the order of the file."""
    if not os.path.isabs(config.node.data):
        yield "node.data", f"{config.node.data!r} is not an absolute path"
    yield from _cache(config.cache)
    yield from _s3(config.s3)
    if config.s3.listen == config.admin.listen and config.s3.listen.port:
        yield "admin.listen", f"is the same address as s3.listen ({config.s3.listen})"
    yield from _mount(config.mount)
    yield from _credentials(config)
    if config.cluster.secret and config.cluster.secret_file:
        yield "cluster.secret_file", "give secret or secret_file, not both"
    yield from _backends(config.backend)
    for index, bucket in enumerate(config.bucket):
        yield from _bucket(f"bucket[{index}]", bucket)
    yield from _limits("limits", config.limits)
    for index, account in enumerate(config.account):
        yield from _limits(f"account[{index}]", account)


def _s3(table: S3Section) -> Iterator[tuple[str, str]]:
    if bool(table.tls_certificate) != bool(table.tls_key):
        yield "s3.tls_certificate", "TLS needs both tls_certificate and tls_key"
    if table.redirect_listen is not None:
        if not table.tls_key:
            yield (
                "s3.redirect_listen",
                "sends clients to HTTPS, which needs tls_certificate and tls_key",
            )
        if table.redirect_listen == table.listen and table.listen.port:
            yield "s3.redirect_listen", f"is the same address as s3.listen ({table.listen})"
    if table.connections_per_address_max < 0:
        yield "s3.connections_per_address_max", "must be at least 0, which is no limit"
    if table.connections_max < 1:
        yield "s3.connections_max", "must be at least 1"
    if not _REGION.match(table.region):
        yield "s3.region", f'{table.region!r} is not a region name such as "us-east-1"'
    for domain in table.domains:
        if not _DOMAIN.match(domain):
            yield "s3.domains", f"{domain!r} is not a domain name"
    if not _HEADER_BYTES_MIN <= table.header_bytes_max <= _HEADER_BYTES_MAX:
        yield "s3.header_bytes_max", f"{table.header_bytes_max} is not between 8KiB and 1MiB"
    for name in ("header_timeout", "idle_timeout", "body_timeout", "drain_timeout"):
        seconds: Duration = getattr(table, name)
        if not 0 < seconds <= _TIMEOUT_MAX_S:
            yield f"s3.{name}", f"{seconds} is not between 1ms and 1d"


def _mount(table: MountSection) -> Iterator[tuple[str, str]]:
    if table.path and not os.path.isabs(table.path):
        yield "mount.path", f"{table.path!r} is not an absolute path"
    if table.bucket and not table.path:
        yield "mount.bucket", "needs mount.path"
    if table.bucket and not is_bucket_name(table.bucket):
        yield "mount.bucket", f"{table.bucket!r} is not a bucket name"
    for name in ("uid", "gid"):
        number: int = getattr(table, name)
        if not -1 <= number < 2**32 - 1:
            yield f"mount.{name}", f"{number} is not a user or group id; -1 is the appliance's own"
    if not 0 <= table.umask <= 0o777:
        yield "mount.umask", f"{table.umask:#o} is not between 0 and 0o777"


def _cache(cache: CacheSection) -> Iterator[tuple[str, str]]:
    if cache.capacity and cache.capacity < _CAPACITY_MIN:
        yield "cache.capacity", f"{cache.capacity} is less than 16MiB"
    if not 0.0 < cache.low < cache.high <= 1.0:
        yield "cache.high", f"needs 0 < low < high <= 1, not low = {cache.low}, high = {cache.high}"


def _credentials(config: Config) -> Iterator[tuple[str, str]]:
    given = config.credentials
    if given.secret_key and given.secret_key_file:
        yield "credentials.secret_key_file", "give secret_key or secret_key_file, not both"
    if bool(given.access_key) != bool(given.secret_key or given.secret_key_file):
        yield "credentials.access_key", "give both an access key and its secret, or neither"
    if given.secret_key and len(given.secret_key) < 8:
        yield "credentials.secret_key", "is shorter than 8 characters"


def _backends(backends: tuple[BackendEntry, ...]) -> Iterator[tuple[str, str]]:
    names = [entry.name for entry in backends if entry.name]
    for index, entry in enumerate(backends):
        where = f"backend[{index}]"
        if "://" not in entry.url:
            yield (
                f"{where}.url",
                f"{entry.url!r} is not a URL such as posix:///srv/data or s3://bucket",
            )
        if carries_secret(entry.url):
            yield f"{where}.url", "holds a secret: put it into options, where it is not shown"
        if not entry.buckets:
            yield f"{where}.buckets", 'is empty: no bucket would ever reach it; write ["*"] for all'
        if entry.name and names.count(entry.name) > 1:
            yield f"{where}.name", f"{entry.name!r} names two backends"


def _limits(where: str, table: Limits | AccountEntry) -> Iterator[tuple[str, str]]:
    if not 0 <= table.requests_per_s <= _REQUESTS_MAX:
        yield f"{where}.requests_per_s", f"{table.requests_per_s} is not between 0 and 1,000,000"
    if not 0 <= table.requests_in_flight <= _REQUESTS_MAX:
        yield (
            f"{where}.requests_in_flight",
            f"{table.requests_in_flight} is not between 0 and 1,000,000",
        )


def _bucket(where: str, bucket: BucketEntry) -> Iterator[tuple[str, str]]:
    if bucket.write != "through":
        yield (
            f"{where}.write",
            f'"{bucket.write}" needs a cluster, which this version does not have; write "through"',
        )
    if bucket.copies != 1:
        yield (
            f"{where}.copies",
            f"{bucket.copies!r} copies need as many nodes, and this node is alone; write 1",
        )
