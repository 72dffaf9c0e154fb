"""Canonical requests: the text that a client signed, rebuilt from what arrived.

Paths and queries come in two forms. The *plain* one takes the target as it was sent and only sorts the query; it is right for every client
that sends canonical targets, which is all SDKs, and costs nothing. The *normal* one decodes and encodes again as the specification says;
it is tried when the plain one does not match. Both name the same resource, so whoever could sign either may have it.

S3's rules differ from other services': the path is encoded once, and never normalised (`..`, `//` stay).
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote_from_bytes, unquote_to_bytes

_UNRESERVED = "-_.~"
SIGNATURE_PARAMETER = "X-Amz-Signature"


def canonical_request(
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    signed_headers: str,
    payload: str,
) -> str:
    """All six fields; `signed_headers` is the list as the client wrote it, in its order. Characters are bytes, as latin-1."""
    lines = [method, path, query]
    for name in signed_headers.split(";"):
        value = headers.get(name, "")
        # Runs of spaces count as one; header values come without surrounding ones.
        if "  " in value or "\t" in value:
            value = " ".join(value.split())
        lines.append(f"{name}:{value}")
    lines.append("")
    lines.append(signed_headers)
    lines.append(payload)
    return "\n".join(lines)


def plain_query(raw: str) -> str:
    """The raw query, sorted, each parameter with its "=", without the signature."""
    if "&" not in raw:
        return raw if "=" in raw else f"{raw}="
    return _joined([item.partition("=") for item in raw.split("&") if item])


def normal_path(raw: str) -> str:
    """The path encoded exactly once."""
    return quote_from_bytes(unquote_to_bytes(raw.encode("latin-1")), safe="/" + _UNRESERVED)


def normal_query(raw: str) -> str:
    """The query with each name and value encoded exactly once, sorted. A "+" means a space, as it does to the server."""
    pairs = []
    for item in raw.split("&"):
        if item:
            name, _, value = item.partition("=")
            pairs.append((_normal(name), "=", _normal(value)))
    return _joined(pairs)


def _normal(raw: str) -> str:
    plus = raw.replace("+", " ")
    return quote_from_bytes(unquote_to_bytes(plus.encode("latin-1")), safe=_UNRESERVED)


def _joined(items: list[tuple[str, str, str]]) -> str:
    """Sorted by name, then value: not the same as sorting the joined text, where "=" would count."""
    items.sort()
    return "&".join([f"{item[0]}={item[2]}" for item in items if item[0] != SIGNATURE_PARAMETER])
