"""Opaque tokens for clients: values of ours that come back to us, and cannot be forged.

A token is base64url(HMAC-SHA256(secret, purpose and context)[:16] + value). The context (bucket, key) is not in the token but under its
HMAC: a token of one object does not open another's. It hides nothing; it only proves that we made it. All nodes of a cluster share
`secret`, so that any of them takes any token.
"""

from __future__ import annotations

import base64
import hmac

_MAC_BYTES = 16
_TOKEN_CHARS_MAX = 8192


def seal(value: str, secret: bytes, purpose: str, *context: str) -> str:
    """A token for `value`; always the same for the same arguments."""
    raw = value.encode("utf-8", "surrogateescape")
    token = _mac(raw, secret, purpose, context) + raw
    return base64.urlsafe_b64encode(token).rstrip(b"=").decode("ascii")


def unseal(token: str, secret: bytes, purpose: str, *context: str) -> str | None:
    """The value in `token`; None unless we made it, for this purpose and context."""
    if len(token) > _TOKEN_CHARS_MAX or not token.isascii():
        return None
    try:
        decoded = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    mac, raw = decoded[:_MAC_BYTES], decoded[_MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(raw, secret, purpose, context)):
        return None
    value = raw.decode("utf-8", "surrogateescape")
    # Base64 has several spellings of the same bytes; only ours counts, so that tokens can be compared.
    return value if seal(value, secret, purpose, *context) == token else None


def _mac(raw: bytes, secret: bytes, purpose: str, context: tuple[str, ...]) -> bytes:
    fields = [raw, *(field.encode("utf-8", "surrogateescape") for field in (purpose, *context))]
    # Lengths first: no two lists of fields give the same message.
    message = b"".join(len(field).to_bytes(4, "big") + field for field in fields)
    return hmac.digest(secret, message, "sha256")[:_MAC_BYTES]
