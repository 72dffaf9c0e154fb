"""Names of buckets and keys, and what makes one valid.

A key is a `str` that holds the key's bytes as UTF-8; bytes that are not UTF-8 (they can come from a filesystem) are carried as
surrogate escapes, so every byte string round-trips. S3 order is the order of the encoded bytes: sort by `key_bytes`.
"""

from __future__ import annotations

import re

from appliance.model.errors import InvalidBucketNameError, InvalidKeyError, KeyTooLongError

KEY_BYTES_MAX = 1024

# What CreateBucket accepts: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_NEW_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z")
_IP_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+\Z")
_RESERVED_PREFIXES = ("xn--", "sthree-", "amzn-s3-demo-")
_RESERVED_SUFFIXES = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")
# What an existing directory or an old us-east-1 bucket may be called.
_KNOWN_BUCKET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{2,254}\Z")


def key_bytes(key: str) -> bytes:
    """The key as S3 orders and measures it."""
    return key.encode("utf-8", "surrogateescape")


def key_text(raw: bytes) -> str:
    """Inverse of `key_bytes`."""
    return raw.decode("utf-8", "surrogateescape")


def check_new_bucket_name(bucket: str) -> None:
    """Raise InvalidBucketNameError unless CreateBucket may create `bucket`."""
    if (
        not _NEW_BUCKET.match(bucket)
        or any(pair in bucket for pair in ("..", ".-", "-."))
        or _IP_ADDRESS.match(bucket)
        or bucket.startswith(_RESERVED_PREFIXES)
        or bucket.endswith(_RESERVED_SUFFIXES)
    ):
        raise InvalidBucketNameError(
            f"The specified bucket is not valid: {bucket!r} breaks the bucket naming rules.",
            bucket=bucket,
        )


def is_bucket_name(bucket: str) -> bool:
    """True if a bucket that exists already may be called so (laxer than what CreateBucket accepts)."""
    return _KNOWN_BUCKET.match(bucket) is not None and ".." not in bucket


def check_bucket_name(bucket: str) -> None:
    """Raise InvalidBucketNameError unless `bucket` may name an existing bucket."""
    if not is_bucket_name(bucket):
        raise InvalidBucketNameError(
            f"The specified bucket is not valid: {bucket!r}.", bucket=bucket
        )


def check_key(key: str) -> None:
    """Raise KeyTooLongError or InvalidKeyError unless S3 allows `key` (1 to 1,024 bytes, no NUL)."""
    if not key:
        raise InvalidKeyError("The key is empty.")
    if not key.isascii():
        _check_encodable(key)
    # A cheap bound first: a character has at most 4 bytes.
    if len(key) > KEY_BYTES_MAX // 4 and len(key_bytes(key)) > KEY_BYTES_MAX:
        raise KeyTooLongError(key=key[:64] + "…")
    if "\0" in key:
        raise InvalidKeyError("A key with a NUL byte cannot be stored.", key=key)


def _check_encodable(key: str) -> None:
    """Half a surrogate pair stands for no bytes; it cannot come from any, but a caller could make one."""
    try:
        key_bytes(key)
    except UnicodeEncodeError:
        raise InvalidKeyError("A key with half a surrogate pair cannot be stored.") from None
