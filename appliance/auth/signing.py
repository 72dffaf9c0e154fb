"""The arithmetic of AWS Signature Version 4: signing keys, and the signatures that start from them. No parsing, no judgement.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
"""

from __future__ import annotations

import hashlib
import hmac

ALGORITHM = "AWS4-HMAC-SHA256"
TERMINATOR = "aws4_request"
SERVICE = "s3"
_SHA256_OF_NOTHING = hashlib.sha256().hexdigest()


def signing_key(secret_key: str, date: str, region: str, service: str = SERVICE) -> bytes:
    """The key that signs all requests of one access key on one day (`date` is YYYYMMDD) in one region."""
    key = f"AWS4{secret_key}".encode()
    for message in (date, region, service, TERMINATOR):
        key = hmac.digest(key, message.encode("utf-8", "surrogateescape"), "sha256")
    return key


def request_signature(key: bytes, string_to_sign: str) -> str:
    """Signature of anything, in hex."""
    return hmac.digest(key, string_to_sign.encode("latin-1"), "sha256").hex()


def string_to_sign(timestamp: str, scope: str, canonical_request: str) -> str:
    """`canonical_request` holds bytes as latin-1, as header values do."""
    digest = hashlib.sha256(canonical_request.encode("latin-1")).hexdigest()
    return f"{ALGORITHM}\n{timestamp}\n{scope}\n{digest}"


def chunk_signature(
    key: bytes, timestamp: str, scope: str, previous: str, chunk_sha256: str
) -> str:
    """Signature of one chunk of an aws-chunked body; `previous` is that of the chunk before, of the request for the first."""
    return request_signature(
        key,
        f"{ALGORITHM}-PAYLOAD\n{timestamp}\n{scope}\n{previous}\n{_SHA256_OF_NOTHING}\n{chunk_sha256}",
    )


def trailer_signature(
    key: bytes, timestamp: str, scope: str, previous: str, trailers_sha256: str
) -> str:
    """Signature of the trailers (`name:value\\n` each) after the last chunk, whose signature is `previous`."""
    return request_signature(
        key, f"{ALGORITHM}-TRAILER\n{timestamp}\n{scope}\n{previous}\n{trailers_sha256}"
    )


def equal(computed: str, claimed: str) -> bool:
    """In constant time. `compare_digest` takes no `str` beyond ASCII, which no signature holds."""
    return claimed.isascii() and hmac.compare_digest(computed, claimed)
