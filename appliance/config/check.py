"""Values that have the right type and still cannot be: each problem is (key, reason)."""

from __future__ import annotations

import os
from collections.abc import Iterator

from appliance.config.schema import BackendEntry, BucketEntry, CacheSection, Config

_CAPACITY_MIN = 16 * 1024**2


def problems(config: Config) -> Iterator[tuple[str, str]]:
    """Everything that is impossible in `config`, in the order of the file."""
    if not os.path.isabs(config.node.data):
        yield "node.data", f"{config.node.data!r} is not an absolute path"
    yield from _cache(config.cache)
    if bool(config.s3.tls_certificate) != bool(config.s3.tls_key):
        yield "s3.tls_certificate", "TLS needs both tls_certificate and tls_key"
    if config.s3.connections_max < 1:
        yield "s3.connections_max", "must be at least 1"
    if config.s3.listen == config.admin.listen and config.s3.listen.port:
        yield "admin.listen", f"is the same address as s3.listen ({config.s3.listen})"
    if config.mount.path and not os.path.isabs(config.mount.path):
        yield "mount.path", f"{config.mount.path!r} is not an absolute path"
    if config.mount.bucket and not config.mount.path:
        yield "mount.bucket", "needs mount.path"
    yield from _credentials(config)
    yield from _backends(config.backend)
    for index, bucket in enumerate(config.bucket):
        yield from _bucket(f"bucket[{index}]", bucket)


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
        if not entry.buckets:
            yield f"{where}.buckets", 'is empty: no bucket would ever reach it; write ["*"] for all'
        if entry.name and names.count(entry.name) > 1:
            yield f"{where}.name", f"{entry.name!r} names two backends"


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
