"""Where the user's names lie upstream: the one bucket and prefix of the configuration, and names kept for the appliance itself. Pure."""

from __future__ import annotations

from appliance.model.errors import (
    AccessDeniedError,
    InvalidKeyError,
    KeyTooLongError,
    NoSuchBucketError,
    NoSuchKeyError,
)
from appliance.model.names import KEY_BYTES_MAX, check_key, is_bucket_name
from appliance_s3.settings import Settings

# Below the configured prefix: registers, and probes of what the upstream can do. Neither listed nor read nor written as objects.
RESERVED = ".appliance/s3/"


class Names:
    """Translates names of one backend."""

    def __init__(self, settings: Settings) -> None:
        self.only_bucket = settings.bucket
        self.root = settings.prefix

    def bucket(self, bucket: str) -> str:
        """Raises NoSuchBucketError for one that is not served here (or cannot exist)."""
        if (self.only_bucket and bucket != self.only_bucket) or not is_bucket_name(bucket):
            raise NoSuchBucketError(bucket=bucket)
        return bucket

    def existing(self, bucket: str, key: str) -> dict[str, str]:
        """Bucket and key parameters of an object that is to be read. Raises NoSuchKeyError for reserved names."""
        if key.startswith(RESERVED):
            raise NoSuchKeyError(bucket=bucket, key=key)
        return {"Bucket": self.bucket(bucket), "Key": self.key(key)}

    def written(self, bucket: str, key: str) -> dict[str, str]:
        """The same for an object that is to be written. Raises AccessDeniedError for reserved names."""
        if key.startswith(RESERVED):
            raise AccessDeniedError(
                f"Names that begin with {RESERVED} are kept for the appliance.",
                bucket=bucket,
                key=key,
            )
        return {"Bucket": self.bucket(bucket), "Key": self.key(key)}

    def key(self, key: str) -> str:
        """The key upstream. Raises InvalidKeyError where S3 cannot hold it, KeyTooLongError."""
        check_key(key)
        full = self.root + key
        try:
            size = len(full.encode())
        except UnicodeEncodeError:
            raise InvalidKeyError("An S3 key must be valid UTF-8.") from None
        if size > KEY_BYTES_MAX:
            raise KeyTooLongError(key=key[:64] + "…")
        return full
