"""What can be set about the S3 endpoint. Frozen values; the configuration file's tables map onto them."""

from __future__ import annotations

import msgspec

from appliance.policy.limits import AccountLimit, Limit

KIB = 1024
MIB = 1024**2


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of the HTTP engine. Times in seconds, sizes in bytes.

    A client that sends or takes a body is dropped when nothing moves for `stall_timeout_s`, or when, over all the time the server spent
    waiting for it beyond `grace_s`, it moved less than `minimum_bytes_per_s`.
    """

    connections_max: int = 4096
    # Of one IPv4 address or IPv6 network of 64 bits, so that no single client takes all; 0: no limit of its own.
    connections_per_address_max: int = 2048
    head_bytes_max: int = 64 * KIB
    head_timeout_s: float = 20.0
    idle_timeout_s: float = 75.0
    stall_timeout_s: float = 60.0
    grace_s: float = 60.0
    minimum_bytes_per_s: float = 1024.0
    # After a response that left request bytes unread: read at most so much, so long, so that the response is not lost to a TCP reset.
    linger_bytes_max: int = 1 * MIB
    linger_timeout_s: float = 5.0
    drain_timeout_s: float = 30.0


class S3Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`domains`: host names under which buckets are addressed as `bucket.domain` (path style always works)."""

    region: str = "us-east-1"
    domains: tuple[str, ...] = ()
    access_log: bool = False
    # Bodies of documents (DeleteObjects, CompleteMultipartUpload, tags ...): 10,000 parts with checksums are about 1.5 MiB.
    document_bytes_max: int = 2 * MIB
    # Of all that are being received, but small ones: document_budget.
    documents_bytes_max: int = 64 * MIB
    put_bytes_max: int = 5 * KIB * MIB
    # Request bodies: up to `inline_body_bytes` are received whole and hashed inline; larger ones stream through buffers.
    inline_body_bytes: int = 64 * KIB
    body_buffer_bytes: int = 1 * MIB
    body_buffers: int = 3
    # An operation that takes longer is answered 200, then white space at this interval, then its outcome.
    patient_after_s: float = 10.0
    # What the whole node and each account may ask; the first pattern that matches an account's name decides.
    node_limit: Limit = Limit()
    account_limits: tuple[AccountLimit, ...] = ()
    http: HttpSettings = HttpSettings()
