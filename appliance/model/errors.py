"""Domain errors: what can go wrong, in the product's own words, knowing neither HTTP nor errno.

Each says what happened and where in one sentence, and carries the facts that a front end needs. They are translated once, at the edge,
by total tables: `appliance.s3.wire.errors` (S3 code and status) and `appliance.mount.errno_map` (errno). A new leaf class here makes
the tests of both tables fail until it has a row in each.
"""

from __future__ import annotations


class ApplianceError(Exception):
    """Base of all domain errors. `str(error)` is a sentence for the user; it holds no secret and no path of the server."""

    def __init__(self, message: str = "", *, bucket: str = "", key: str = "") -> None:
        super().__init__(message or type(self).__doc__ or type(self).__name__)
        self.bucket = bucket
        self.key = key

    @property
    def message(self) -> str:
        return str(self)


# --- what was asked for does not exist, or exists already ---------------------


class NoSuchBucketError(ApplianceError):
    """The specified bucket does not exist."""


class NoSuchKeyError(ApplianceError):
    """The specified key does not exist."""


class DeletedKeyError(NoSuchKeyError):
    """The newest version of this key is a delete marker, whose version id this carries."""

    def __init__(
        self, message: str = "", *, bucket: str = "", key: str = "", version_id: str = ""
    ) -> None:
        super().__init__(message, bucket=bucket, key=key)
        self.version_id = version_id


class NoSuchVersionError(ApplianceError):
    """The specified version does not exist."""

    def __init__(
        self, message: str = "", *, bucket: str = "", key: str = "", version_id: str = ""
    ) -> None:
        super().__init__(message, bucket=bucket, key=key)
        self.version_id = version_id


class DeleteMarkerError(ApplianceError):
    """The specified version is a delete marker: it can be deleted, and nothing else."""

    def __init__(
        self,
        message: str = "",
        *,
        bucket: str = "",
        key: str = "",
        version_id: str = "",
        modified_ns: int = 0,
    ) -> None:
        super().__init__(message, bucket=bucket, key=key)
        self.version_id = version_id
        self.modified_ns = modified_ns


class NoSuchUploadError(ApplianceError):
    """The specified multipart upload does not exist. It may have been completed or aborted, or its id is not valid."""


class NoSuchTagSetError(ApplianceError):
    """There is no tag set on this resource."""


class BucketExistsError(ApplianceError):
    """The bucket exists already and belongs to you."""


class BucketNotEmptyError(ApplianceError):
    """The bucket you tried to delete is not empty."""


# --- conditions ---------------------------------------------------------------


class PreconditionFailedError(ApplianceError):
    """At least one of the preconditions you specified did not hold."""


class NotModifiedError(ApplianceError):
    """The object has not been modified. Carries what a 304 must repeat."""

    def __init__(
        self,
        message: str = "",
        *,
        bucket: str = "",
        key: str = "",
        etag: str = "",
        modified_ns: int = 0,
    ) -> None:
        super().__init__(message, bucket=bucket, key=key)
        self.etag = etag
        self.modified_ns = modified_ns


class ConflictError(ApplianceError):
    """A conflicting operation is in progress on this resource; try again."""


class VersionChangedError(ApplianceError):
    """The object changed while it was being read; this reader's version is gone."""


# --- the request itself is wrong ------------------------------------------------


class InvalidBucketNameError(ApplianceError):
    """The specified bucket is not valid."""


class InvalidKeyError(ApplianceError):
    """The specified key is not valid."""


class KeyTooLongError(ApplianceError):
    """Your key is too long: 1,024 bytes of UTF-8 are allowed."""


class InvalidArgumentError(ApplianceError):
    """An argument is not valid."""


class InvalidRangeError(ApplianceError):
    """The requested range is not satisfiable."""

    def __init__(
        self, message: str = "", *, bucket: str = "", key: str = "", size: int = 0
    ) -> None:
        super().__init__(message, bucket=bucket, key=key)
        self.size = size


class InvalidPartError(ApplianceError):
    """One or more of the specified parts could not be found, or its ETag does not match."""


class InvalidPartOrderError(ApplianceError):
    """The list of parts was not in ascending order."""


class EntityTooSmallError(ApplianceError):
    """Your proposed upload is smaller than the minimum allowed size: parts but the last are at least 5 MiB."""


class EntityTooLargeError(ApplianceError):
    """Your proposed upload exceeds the maximum allowed size."""


class MetadataTooLargeError(ApplianceError):
    """Your metadata headers exceed the maximum allowed metadata size of 2 KiB."""


class InvalidTagError(ApplianceError):
    """The tag provided was not a valid tag."""


# --- the bytes are wrong ----------------------------------------------------------


class BadDigestError(ApplianceError):
    """The Content-MD5 you specified did not match what was received."""


class ChecksumMismatchError(ApplianceError):
    """The checksum you specified did not match the calculated checksum."""


class PayloadHashMismatchError(ApplianceError):
    """The provided 'x-amz-content-sha256' header does not match what was computed."""


class IncompleteBodyError(ApplianceError):
    """You did not provide the number of bytes specified by the Content-Length header."""


# --- may not --------------------------------------------------------------------------


class AccessDeniedError(ApplianceError):
    """Access Denied."""


class ReadOnlyError(ApplianceError):
    """This bucket is read-only here."""


# --- cannot, now or ever ----------------------------------------------------------------


class UnsupportedError(ApplianceError):
    """A header or operation you provided implies functionality that is not implemented."""


class BackendUnavailableError(ApplianceError):
    """The backend cannot be reached at the moment. Please retry."""

    def __init__(
        self, message: str = "", *, bucket: str = "", key: str = "", retry_after_s: int = 5
    ) -> None:
        super().__init__(message, bucket=bucket, key=key)
        self.retry_after_s = retry_after_s


class BackendTimeoutError(BackendUnavailableError):
    """The backend did not answer in time. Please retry."""


class BackendDeniedError(ApplianceError):
    """The backend refused the appliance's own credentials or permissions."""


class BackendError(ApplianceError):
    """The backend answered with an error that the appliance does not know."""


class StorageFullError(ApplianceError):
    """There is no space left on the storage behind this bucket."""


class JournalFullError(StorageFullError):
    """There is no space left for the appliance's own records: what is set on buckets and accounts cannot be changed."""


class SlowDownError(ApplianceError):
    """Please reduce your request rate."""


class CorruptDataError(ApplianceError):
    """Stored bytes do not match their checksum."""


class RegisterConflictError(ApplianceError):
    """The register holds another value than expected: someone else changed it first."""

    def __init__(self, message: str = "", *, actual: bytes | None = None) -> None:
        super().__init__(message)
        self.actual = actual


# --- the operator's side: refused at start ------------------------------------------------


class ConfigError(ApplianceError):
    """The configuration is not valid: file, key and reason."""


class PluginError(ApplianceError):
    """A plugin is missing or broken: its name, and how to install it."""


class JournalError(ApplianceError):
    """The journal cannot be used: where it is, why, and what to do."""


class MountError(ApplianceError):
    """The filesystem cannot be mounted: where, why, and what to do."""
