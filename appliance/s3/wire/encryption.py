"""SSE-C, encryption with the customer's key: whether a request asks for it, and whether what it says can be. Pure.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/specifying-s3-c-encryption.html
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping

from appliance.s3.wire.errors import InvalidArgumentValueError

_PREFIX = "x-amz-server-side-encryption-customer-"
ALGORITHM, KEY, KEY_MD5 = f"{_PREFIX}algorithm", f"{_PREFIX}key", f"{_PREFIX}key-md5"
_KEY_BYTES = 32


def asks_for_customer_key(headers: Mapping[str, str]) -> bool:
    """On every request's way: two lookups."""
    return KEY in headers or ALGORITHM in headers


def check_customer_key(headers: Mapping[str, str]) -> None:
    """Raise InvalidArgumentValueError unless algorithm, key and its MD5 are there and fit. The key appears in no error."""
    if headers.get(ALGORITHM) != "AES256":
        raise _wrong("must provide a valid encryption algorithm", ALGORITHM)
    if not headers.get(KEY):
        raise _wrong("must provide an appropriate secret key", KEY)
    if not headers.get(KEY_MD5):
        raise _wrong("must provide the client calculated MD5 of the secret key", KEY_MD5)
    key, digest = _decoded(headers[KEY]), _decoded(headers[KEY_MD5])
    if len(key) != _KEY_BYTES:
        raise InvalidArgumentValueError(
            "The secret key was invalid for the specified algorithm.", KEY, ""
        )
    if not hmac.compare_digest(hashlib.md5(key).digest(), digest):
        raise InvalidArgumentValueError(
            "The calculated MD5 hash of the key did not match the hash that was provided.",
            KEY_MD5,
            "",
        )


def _wrong(what: str, name: str) -> InvalidArgumentValueError:
    return InvalidArgumentValueError(
        f"Requests specifying Server Side Encryption with Customer provided keys {what}.", name, ""
    )


def _decoded(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        return b""
