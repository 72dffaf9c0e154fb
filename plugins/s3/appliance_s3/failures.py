"""What went wrong upstream, in the product's words: one total table from botocore's errors to domain errors, and whether to try again.

Three questions about a failed call, answered here and nowhere else: which domain error is it, may the call be repeated, and does it
say that the upstream is not there (for the circuit breaker).
"""

from __future__ import annotations

import enum
from typing import Any

import botocore.exceptions as boto
import msgspec
from botocore.parsers import ResponseParserError

from appliance.model import errors
from appliance.model.errors import ApplianceError
from appliance_s3.answers import http_time_ns, unquote_etag


class Repeat(enum.Enum):
    """May the call be made again? SAFE: it was not carried out. AMBIGUOUS: perhaps it was, so only if doing it twice is harmless."""

    SAFE = enum.auto()
    AMBIGUOUS = enum.auto()
    NEVER = enum.auto()


class Where(msgspec.Struct, frozen=True):
    """What was attempted, for the error's sentence. Names are the user's, without the configured prefix."""

    backend: str
    action: str
    bucket: str = ""
    key: str = ""


class Failure(msgspec.Struct, frozen=True):
    error: ApplianceError
    repeat: Repeat
    unavailable: bool = False


# S3 error code -> domain error. https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
CODES: dict[str, type[ApplianceError]] = {
    "NoSuchBucket": errors.NoSuchBucketError,
    "NoSuchKey": errors.NoSuchKeyError,
    "NoSuchUpload": errors.NoSuchUploadError,
    "NoSuchVersion": errors.NoSuchVersionError,
    "NoSuchTagSet": errors.NoSuchTagSetError,
    "NoSuchTagSetError": errors.NoSuchTagSetError,
    "BucketAlreadyOwnedByYou": errors.BucketExistsError,
    "BucketAlreadyExists": errors.BucketExistsError,
    "BucketNotEmpty": errors.BucketNotEmptyError,
    "PreconditionFailed": errors.PreconditionFailedError,
    "NotModified": errors.NotModifiedError,
    "ConditionalRequestConflict": errors.ConflictError,
    "OperationAborted": errors.ConflictError,
    "InvalidBucketName": errors.InvalidBucketNameError,
    "InvalidRange": errors.InvalidRangeError,
    "InvalidArgument": errors.InvalidArgumentError,
    "InvalidRequest": errors.InvalidArgumentError,
    # A HEAD has no body to say more: of an object that is encrypted with a key that was not given, for one.
    "400": errors.InvalidArgumentError,
    "InvalidURI": errors.InvalidKeyError,
    "InvalidObjectName": errors.InvalidKeyError,
    "KeyTooLongError": errors.KeyTooLongError,
    "InvalidPart": errors.InvalidPartError,
    "InvalidPartOrder": errors.InvalidPartOrderError,
    "EntityTooSmall": errors.EntityTooSmallError,
    "EntityTooLarge": errors.EntityTooLargeError,
    "MetadataTooLarge": errors.MetadataTooLargeError,
    "InvalidTag": errors.InvalidTagError,
    "BadDigest": errors.BadDigestError,
    "InvalidDigest": errors.BadDigestError,
    "XAmzContentChecksumMismatch": errors.ChecksumMismatchError,
    "XAmzContentSHA256Mismatch": errors.ChecksumMismatchError,
    "IncompleteBody": errors.IncompleteBodyError,
    "NotImplemented": errors.UnsupportedError,
    "MethodNotAllowed": errors.UnsupportedError,
    "QuotaExceeded": errors.StorageFullError,
    "XMinioStorageFull": errors.StorageFullError,
    "InsufficientCapacity": errors.StorageFullError,
    "InvalidObjectState": errors.AccessDeniedError,
    "SlowDown": errors.SlowDownError,
    "Throttling": errors.SlowDownError,
    "ThrottlingException": errors.SlowDownError,
    "RequestLimitExceeded": errors.SlowDownError,
    "TooManyRequests": errors.SlowDownError,
    "BandwidthLimitExceeded": errors.SlowDownError,
    "RequestTimeout": errors.BackendTimeoutError,
    "InternalError": errors.BackendUnavailableError,
    "ServiceUnavailable": errors.BackendUnavailableError,
    "RequestTimeTooSkewed": errors.BackendDeniedError,
    "AccessDenied": errors.BackendDeniedError,
    "AllAccessDisabled": errors.BackendDeniedError,
    "AccountProblem": errors.BackendDeniedError,
    "ExpiredToken": errors.BackendDeniedError,
    "InvalidAccessKeyId": errors.BackendDeniedError,
    "InvalidToken": errors.BackendDeniedError,
    "SignatureDoesNotMatch": errors.BackendDeniedError,
    "AuthorizationHeaderMalformed": errors.BackendDeniedError,
    "PermanentRedirect": errors.BackendError,
}
# HTTP status -> domain error, where the code says nothing (HEAD has no body; proxies send HTML).
STATUSES: dict[int, type[ApplianceError]] = {
    304: errors.NotModifiedError,
    401: errors.BackendDeniedError,
    403: errors.BackendDeniedError,
    404: errors.NoSuchKeyError,
    405: errors.UnsupportedError,
    409: errors.ConflictError,
    411: errors.BackendError,
    412: errors.PreconditionFailedError,
    413: errors.EntityTooLargeError,
    416: errors.InvalidRangeError,
    429: errors.SlowDownError,
    500: errors.BackendUnavailableError,
    501: errors.UnsupportedError,
    502: errors.BackendUnavailableError,
    503: errors.BackendUnavailableError,
    504: errors.BackendTimeoutError,
    507: errors.StorageFullError,
}
# About the storage, not the request: the operator wants to read what it said. All others mean the same whoever answers so, and clients
# read them: the class says it best, and nothing of the upstream shows.
_OF_THE_STORAGE = (
    errors.BackendUnavailableError,
    errors.BackendDeniedError,
    errors.BackendError,
    errors.CorruptDataError,
    errors.StorageFullError,
)
# botocore's own exceptions, most special first. A connection that never was did nothing upstream; a lost one may have.
_TRANSPORT: tuple[tuple[type[Exception], type[ApplianceError], Repeat], ...] = (
    (boto.ConnectTimeoutError, errors.BackendTimeoutError, Repeat.SAFE),
    (boto.SSLError, errors.BackendUnavailableError, Repeat.SAFE),
    (boto.ProxyConnectionError, errors.BackendUnavailableError, Repeat.SAFE),
    (boto.EndpointConnectionError, errors.BackendUnavailableError, Repeat.SAFE),
    (boto.ReadTimeoutError, errors.BackendTimeoutError, Repeat.AMBIGUOUS),
    (boto.FlexibleChecksumError, errors.CorruptDataError, Repeat.AMBIGUOUS),
    (boto.ChecksumError, errors.CorruptDataError, Repeat.AMBIGUOUS),
    (boto.IncompleteReadError, errors.BackendUnavailableError, Repeat.AMBIGUOUS),
    (boto.ResponseStreamingError, errors.BackendUnavailableError, Repeat.AMBIGUOUS),
    (boto.HTTPClientError, errors.BackendUnavailableError, Repeat.AMBIGUOUS),
)
_CREDENTIALS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.TokenRetrievalError,
    boto.UnauthorizedSSOTokenError,
)


def classify(error: Exception, where: Where) -> Failure:
    """The failure that `error` is. Total: whatever is not in the tables becomes BackendError."""
    if isinstance(error, ApplianceError):
        return Failure(error, Repeat.NEVER)
    if isinstance(error, boto.ClientError):
        return _answered(error, where)
    for kind, domain, repeat in _TRANSPORT:
        if isinstance(error, kind):
            return Failure(_lost(domain, error, where), repeat, unavailable=True)
    if isinstance(error, _CREDENTIALS):
        text = "has no credentials for its upstream: set access_key and secret_key, or a profile"
        return Failure(_make(errors.BackendDeniedError, f"{text}.", where), Repeat.NEVER)
    if isinstance(error, ResponseParserError):
        # Something that is no S3 server answered, most likely a proxy's error page.
        text = f"got an answer that is not S3's to {where.action}"
        return Failure(
            _make(errors.BackendUnavailableError, f"{text}.", where), Repeat.AMBIGUOUS, True
        )
    if isinstance(error, OSError):
        text = f"lost the connection during {where.action}"
        return Failure(
            _make(errors.BackendUnavailableError, f"{text}.", where), Repeat.AMBIGUOUS, True
        )
    text = f"could not carry out {where.action} ({type(error).__name__})"
    return Failure(_make(errors.BackendError, f"{text}.", where), Repeat.NEVER)


def named(code: str, message: str, where: Where) -> ApplianceError:
    """The error for one key in the answer to DeleteObjects."""
    domain = CODES.get(code, errors.BackendError)
    return _domain_error(domain, code, 200, {"Error": {"Message": message}}, where)


def _answered(error: boto.ClientError, where: Where) -> Failure:
    """The upstream answered with an error."""
    response: Any = error.response
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    code = str(response.get("Error", {}).get("Code", ""))
    domain = CODES.get(code) or STATUSES.get(status)
    if domain is None:
        domain = errors.BackendUnavailableError if status >= 500 else errors.BackendError
    # 200 with an error inside is what CompleteMultipartUpload and CopyObject answer when they fail late.
    unavailable = issubclass(domain, errors.BackendUnavailableError)
    repeat = Repeat.NEVER
    if domain is errors.SlowDownError or status == 503:
        repeat = Repeat.SAFE
    elif unavailable:
        repeat = Repeat.AMBIGUOUS
    # A 500 is an answer, and may concern one object only: it must not close the way to all the others.
    unavailable = unavailable and status not in (200, 500)
    return Failure(_domain_error(domain, code, status, response, where), repeat, unavailable)


def _domain_error(
    domain: type[ApplianceError], code: str, status: int, response: Any, where: Where
) -> ApplianceError:
    headers: dict[str, str] = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    if headers.get("x-amz-delete-marker") == "true":
        version_id = headers.get("x-amz-version-id", "")
        if status == 404:
            return errors.DeletedKeyError(bucket=where.bucket, key=where.key, version_id=version_id)
        if status == 405:
            return errors.DeleteMarkerError(
                bucket=where.bucket,
                key=where.key,
                version_id=version_id,
                modified_ns=http_time_ns(headers.get("last-modified", "")),
            )
    if domain is errors.NotModifiedError:
        return errors.NotModifiedError(
            bucket=where.bucket,
            key=where.key,
            etag=unquote_etag(headers.get("etag", "")),
            modified_ns=http_time_ns(headers.get("last-modified", "")),
        )
    if domain is errors.InvalidRangeError:
        size = headers.get("content-range", "").rpartition("/")[2]
        return errors.InvalidRangeError(
            bucket=where.bucket, key=where.key, size=int(size) if size.isdigit() else 0
        )
    if not issubclass(domain, _OF_THE_STORAGE):
        return domain(bucket=where.bucket, key=where.key)
    said = str(response.get("Error", {}).get("Message", ""))[:200]
    text = f"{code or 'an error'} (HTTP {status}){f': {said}' if said else ''}"
    if domain is errors.BackendDeniedError:
        return _make(domain, f"was refused {where.action} by its upstream with {text}.", where)
    return _make(domain, f"got {text} to {where.action}.", where)


def _lost(domain: type[ApplianceError], error: Exception, where: Where) -> ApplianceError:
    """The upstream did not answer, or not to the end."""
    if domain is errors.CorruptDataError:
        return _make(
            domain, f"got bytes that do not match their checksum in {where.action}.", where
        )
    if isinstance(error, boto.SSLError):
        return _make(domain, f"could not agree on TLS with its upstream ({error}).", where)
    what = {
        boto.ConnectTimeoutError: "could not connect to its upstream in time",
        boto.EndpointConnectionError: "cannot connect to its upstream",
        boto.ReadTimeoutError: f"got no answer in time to {where.action}",
    }.get(type(error), f"lost the connection to its upstream during {where.action}")
    return _make(domain, f"{what}. Please retry.", where)


def _make(domain: type[ApplianceError], text: str, where: Where) -> ApplianceError:
    return domain(f"The backend {where.backend} {text}", bucket=where.bucket, key=where.key)
