"""What of a request is passed on to an S3 service behind the appliance, and what of its answer to the client. Pure.

Only what S3 interprets goes on; what is about this connection, this signature or the accounts here does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from appliance.s3.wire.options import system_headers
from appliance.s3.wire.response import Headers

_PLAIN = frozenset(
    ["cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires",
     "if-match", "if-modified-since", "if-none-match", "if-unmodified-since", "range"]
)  # fmt: skip
# Of the signature and the body's coding (the body goes on decoded and verified), and of owners and grants, which are accounts here. The
# way past a retention goes on only with what was judged for it.
_OWN = frozenset(
    f"x-amz-{name}"
    for name in (
        "acl", "algorithm", "bypass-governance-retention", "content-sha256", "credential", "date", "decoded-content-length",
        "expected-bucket-owner", "expires", "sdk-checksum-algorithm", "security-token", "signature", "signedheaders",
        "source-expected-bucket-owner", "trailer",
    )
)  # fmt: skip
_OWN_PREFIXES = ("x-amz-grant-", "x-amz-copy-source", "x-amz-checksum-")
_SIGNATURE_V2 = frozenset({"AWSAccessKeyId", "Signature", "Expires"})


def forwarded_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Request headers (lower-case names) that go on. Raises as `system_headers`."""
    found = {
        name: value
        for name, value in headers.items()
        if name in _PLAIN
        or (name.startswith("x-amz-") and name not in _OWN and not name.startswith(_OWN_PREFIXES))
    }
    if "content-encoding" in found:
        encoding = system_headers({"content-encoding": found.pop("content-encoding")})
        found.update(encoding)
    # It asks for checksums in the answer.
    if "x-amz-checksum-mode" in headers:
        found["x-amz-checksum-mode"] = headers["x-amz-checksum-mode"]
    return found


def forwarded_query(query: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Parameters that go on: all but the signature's."""
    old = "Signature" in query
    return tuple(
        (name, value)
        for name, value in query.items()
        if not name.lower().startswith("x-amz-") and not (old and name in _SIGNATURE_V2)
    )


def answered_headers(headers: Iterable[tuple[str, str]]) -> Headers:
    """Headers of the answer that the client gets; line breaks, which could split ours, are none any more."""
    return [
        (name, value.replace("\r", " ").replace("\n", " "))
        for name, value in headers
        if name.isascii()
    ]
