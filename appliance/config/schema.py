"""What a configuration may say: every key, its type, its default and its meaning. docs/CONFIG.md shows it as a file."""

from __future__ import annotations

import socket
from typing import Any, Literal

import msgspec

from appliance.config.values import Address, Duration, Freshness, Size


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all tables: an unknown key is an error."""


class Node(Section, frozen=True, kw_only=True):
    """This node. `data` holds cache, journal and generated credentials; mode 0700."""

    data: str = "/var/lib/appliance"
    name: str = msgspec.field(default_factory=socket.gethostname)


class CacheSection(Section, frozen=True, kw_only=True):
    """The disk cache. `capacity` 0 means 80 % of the filesystem that holds `node.data`.

    Eviction begins when the cache holds more than `high` of the capacity or the filesystem has less than `min_free` left (by default 5 %
    of it, at most 10 GiB), and ends below `low` of the capacity. `scrub_rate` is bytes a second of background verification; 0 is none.
    """

    capacity: Size = Size(0)
    high: float = 0.95
    low: float = 0.90
    min_free: Size | None = None
    read_ahead: Size = Size(64 * 1024**2)
    scrub_rate: Size = Size(16 * 1024**2)


class S3Section(Section, frozen=True, kw_only=True):
    """The S3 endpoint. `domains`: virtual-host style is understood for BUCKET.DOMAIN. Both TLS files, or none; SIGHUP reads them anew.

    `redirect_listen`: plain HTTP that only sends clients to HTTPS. `connections_per_address_max` 0: no limit but `connections_max`.
    """

    listen: Address = Address("127.0.0.1:9000")
    region: str = "us-east-1"
    domains: tuple[str, ...] = ()
    tls_certificate: str = ""
    tls_key: str = ""
    redirect_listen: Address | None = None
    connections_max: int = 4096
    connections_per_address_max: int = 2048
    header_bytes_max: Size = Size(64 * 1024)
    header_timeout: Duration = Duration(20)
    idle_timeout: Duration = Duration(75)
    body_timeout: Duration = Duration(60)
    drain_timeout: Duration = Duration(30)


class MountSection(Section, frozen=True, kw_only=True):
    """The FUSE mount; an empty `path` means none. `bucket`: mount that bucket instead of all of them as directories."""

    path: str = ""
    bucket: str = ""
    allow_other: bool = False
    read_only: bool = False
    uid: int = -1
    gid: int = -1
    umask: int = 0o022


class AdminSection(Section, frozen=True, kw_only=True):
    """Metrics, health and status, over plain HTTP: keep it on loopback or a management network."""

    listen: Address = Address("127.0.0.1:9001")


class Credentials(Section, frozen=True, kw_only=True):
    """Root credentials. Without them the environment's are used, or a pair is generated on first start and kept in `node.data`."""

    access_key: str = ""
    secret_key: str = ""
    secret_key_file: str = ""


class Cluster(Section, frozen=True, kw_only=True):
    """What nodes of one cluster share. The secret seals accounts' secret keys: 32 characters at least. Without it the environment's is used
    (APPLIANCE_CLUSTER_SECRET), or one is made on first start and kept in `node.data`.
    """

    secret: str = ""
    secret_file: str = ""


class Limits(Section, frozen=True, kw_only=True):
    """What clients may ask of the whole node; 0 is no limit. A second's rate may come at once."""

    requests_per_s: float = 0.0
    requests_in_flight: int = 0


class AccountEntry(Section, frozen=True, kw_only=True):
    """What each account may ask whose name matches: `[[account]]`, first match wins. The root is not limited by these; who sends no
    credentials is "anonymous".
    """

    match: str
    requests_per_s: float = 0.0
    requests_in_flight: int = 0


class Log(Section, frozen=True, kw_only=True):
    """`format` "auto" is text on a terminal, JSON elsewhere. `requests`: one line a request."""

    format: Literal["auto", "text", "json"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"
    requests: bool = True


class BackendEntry(Section, frozen=True, kw_only=True):
    """One backend: `[[backend]]`. It serves the buckets that match one of its patterns, unless an earlier backend does.

    `options` goes to the plugin as it is; secrets belong there (or in boto3's usual places), never in the URL.
    """

    url: str
    name: str = ""
    buckets: tuple[str, ...] = ("*",)
    options: dict[str, Any] = {}


class BucketEntry(Section, frozen=True, kw_only=True):
    """How buckets that match are kept: `[[bucket]]`, first match wins."""

    match: str
    write: Literal["through", "back", "local"] = "through"
    freshness: Freshness | None = None
    copies: int | Literal["all"] = 1
    on_outage: Literal["serve", "refuse"] = "serve"


class Config(Section, frozen=True, kw_only=True):
    """The whole file."""

    node: Node = Node()
    cache: CacheSection = CacheSection()
    s3: S3Section = S3Section()
    mount: MountSection = MountSection()
    admin: AdminSection = AdminSection()
    credentials: Credentials = Credentials()
    cluster: Cluster = Cluster()
    limits: Limits = Limits()
    log: Log = Log()
    backend: tuple[BackendEntry, ...] = ()
    bucket: tuple[BucketEntry, ...] = ()
    account: tuple[AccountEntry, ...] = ()
