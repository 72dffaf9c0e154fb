"""Domain errors as S3 answers: one total table from error class to code, status and sentence, and the error document.

A class that has no row is a bug that the tests find: they walk all subclasses of ApplianceError below `model`, `auth` and `faults`. An
error raised with its own sentence keeps it; one raised without says what AWS says.

Codes, sentences and statuses: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import msgspec

from appliance.auth import errors as auth
from appliance.model import errors as model
from appliance.model.errors import ApplianceError
from appliance.s3.wire import access_faults
from appliance.s3.wire.faults import (
    BadRequestError,
    BodyTooLargeError,
    ChunkTooLargeError,
    ConflictingParametersError,
    CorsRefusedError,
    FormFieldsTooLargeError,
    HeadersTooLargeError,
    IllegalVersioningError,
    InvalidArgumentValueError,
    InvalidCopyError,
    InvalidDigestError,
    InvalidHeaderError,
    InvalidLocationError,
    InvalidPartNumberError,
    InvalidRequestError,
    InvalidStorageClassError,
    InvalidUriError,
    MalformedChunkError,
    MalformedFormError,
    MalformedTrailerError,
    MalformedXmlError,
    MethodNotAllowedError,
    MissingBodyError,
    MissingContentLengthError,
    NoSuchCorsError,
    NotAFormError,
    OneFileError,
    PolicyDocumentError,
    PolicyRefusedError,
    RequestTimeoutError,
    UriTooLongError,
    WireError,
)
from appliance.s3.wire.response import XML, Headers, Response
from appliance.s3.wire.xml.text import element, legible_element

__all__ = [
    "ROWS",
    "Row",
    "error_document",
    "error_response",
    "message_of",
    "row_of",
    # Raised all over the wire part and the operations.
    "CorsRefusedError",
    "FormFieldsTooLargeError",
    "MalformedFormError",
    "NoSuchCorsError",
    "NotAFormError",
    "OneFileError",
    "PolicyDocumentError",
    "PolicyRefusedError",
    "BadRequestError",
    "BodyTooLargeError",
    "ChunkTooLargeError",
    "ConflictingParametersError",
    "HeadersTooLargeError",
    "IllegalVersioningError",
    "InvalidArgumentValueError",
    "InvalidCopyError",
    "InvalidDigestError",
    "InvalidHeaderError",
    "InvalidLocationError",
    "InvalidPartNumberError",
    "InvalidRequestError",
    "InvalidStorageClassError",
    "InvalidUriError",
    "MalformedChunkError",
    "MalformedTrailerError",
    "MalformedXmlError",
    "MethodNotAllowedError",
    "MissingBodyError",
    "MissingContentLengthError",
    "RequestTimeoutError",
    "UriTooLongError",
    "WireError",
]

# --- the table ----------------------------------------------------------------------


class Row(msgspec.Struct, frozen=True):
    """How one class of errors is answered. `message`: AWS's sentence, used where the error brings none of its own.

    `own_words=False`: the error's sentence is for the operator's log, the client gets `message` always.
    """

    code: str
    status: int
    message: str
    own_words: bool = True


_INTERNAL = "We encountered an internal error. Please try again."
_DENIED = "Access Denied"

ROWS: dict[type[ApplianceError], Row] = {
    ApplianceError: Row("InternalError", 500, _INTERNAL, own_words=False),
    # --- appliance.model.errors
    model.NoSuchBucketError: Row("NoSuchBucket", 404, "The specified bucket does not exist"),
    model.NoSuchKeyError: Row("NoSuchKey", 404, "The specified key does not exist."),
    model.DeletedKeyError: Row("NoSuchKey", 404, "The specified key does not exist."),
    model.NoSuchVersionError: Row("NoSuchVersion", 404, "The specified version does not exist."),
    model.DeleteMarkerError: Row(
        "MethodNotAllowed", 405, "The specified method is not allowed against this resource."
    ),
    model.NoSuchUploadError: Row(
        "NoSuchUpload",
        404,
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.",
    ),
    model.NoSuchTagSetError: Row("NoSuchTagSet", 404, "The TagSet does not exist"),
    model.BucketExistsError: Row(
        "BucketAlreadyOwnedByYou",
        409,
        "Your previous request to create the named bucket succeeded and you already own it.",
    ),
    model.BucketNotEmptyError: Row(
        "BucketNotEmpty", 409, "The bucket you tried to delete is not empty"
    ),
    model.PreconditionFailedError: Row(
        "PreconditionFailed", 412, "At least one of the pre-conditions you specified did not hold"
    ),
    model.NotModifiedError: Row("NotModified", 304, "Not Modified"),
    model.ConflictError: Row(
        "OperationAborted",
        409,
        "A conflicting conditional operation is currently in progress against this resource. Please try again.",
    ),
    # Only where it goes on being overwritten; SDKs try again after 503.
    model.VersionChangedError: Row(
        "SlowDown", 503, "This object is being overwritten. Please try again.", own_words=False
    ),
    model.InvalidBucketNameError: Row(
        "InvalidBucketName", 400, "The specified bucket is not valid."
    ),
    model.InvalidKeyError: Row("InvalidArgument", 400, "The specified key is not valid."),
    model.KeyTooLongError: Row("KeyTooLongError", 400, "Your key is too long"),
    model.InvalidArgumentError: Row("InvalidArgument", 400, "Invalid Argument"),
    model.InvalidRangeError: Row("InvalidRange", 416, "The requested range is not satisfiable"),
    model.InvalidPartError: Row(
        "InvalidPart",
        400,
        "One or more of the specified parts could not be found. The part might not have been uploaded, "
        "or the specified entity tag might not have matched the part's entity tag.",
    ),
    model.InvalidPartOrderError: Row(
        "InvalidPartOrder",
        400,
        "The list of parts was not in ascending order. Parts must be ordered by part number.",
    ),
    model.EntityTooSmallError: Row(
        "EntityTooSmall", 400, "Your proposed upload is smaller than the minimum allowed size"
    ),
    model.EntityTooLargeError: Row(
        "EntityTooLarge", 400, "Your proposed upload exceeds the maximum allowed size"
    ),
    model.MetadataTooLargeError: Row(
        "MetadataTooLarge",
        400,
        "Your metadata headers exceed the maximum allowed metadata size",
    ),
    model.InvalidTagError: Row("InvalidTag", 400, "The tag provided was not a valid tag."),
    model.BadDigestError: Row(
        "BadDigest", 400, "The Content-MD5 you specified did not match what we received."
    ),
    model.ChecksumMismatchError: Row(
        "BadDigest", 400, "The checksum you specified did not match the calculated checksum."
    ),
    model.PayloadHashMismatchError: Row(
        "XAmzContentSHA256Mismatch",
        400,
        "The provided 'x-amz-content-sha256' header does not match what was computed.",
    ),
    model.IncompleteBodyError: Row(
        "IncompleteBody",
        400,
        "You did not provide the number of bytes specified by the Content-Length HTTP header",
    ),
    model.AccessDeniedError: Row("AccessDenied", 403, _DENIED),
    model.ReadOnlyError: Row("AccessDenied", 403, "This bucket is read-only here."),
    model.UnsupportedError: Row(
        "NotImplemented",
        501,
        "A header you provided implies functionality that is not implemented",
    ),
    # What a backend is called and what befell it is the operator's business.
    model.BackendUnavailableError: Row(
        "ServiceUnavailable",
        503,
        "The storage behind this bucket cannot be reached. Please retry.",
        own_words=False,
    ),
    model.BackendTimeoutError: Row(
        "ServiceUnavailable",
        503,
        "The storage behind this bucket did not answer in time. Please retry.",
        own_words=False,
    ),
    # Not a 5xx: retrying does not give the appliance permissions.
    model.BackendDeniedError: Row(
        "AccessDenied",
        403,
        "The storage behind this bucket denied the request.",
        own_words=False,
    ),
    model.BackendError: Row("InternalError", 500, _INTERNAL, own_words=False),
    # S3 knows no full disk; 507 is HTTP's word for it, and SDKs do not retry it.
    model.StorageFullError: Row(
        "InsufficientStorage",
        507,
        "There is no space left on the storage behind this bucket.",
        own_words=False,
    ),
    model.JournalFullError: Row(
        "InsufficientStorage",
        507,
        "There is no space left for the appliance's own records.",
        own_words=False,
    ),
    model.SlowDownError: Row("SlowDown", 503, "Please reduce your request rate."),
    model.CorruptDataError: Row("InternalError", 500, _INTERNAL, own_words=False),
    model.RegisterConflictError: Row("InternalError", 500, _INTERNAL, own_words=False),
    model.ConfigError: Row("InternalError", 500, _INTERNAL, own_words=False),
    model.PluginError: Row("InternalError", 500, _INTERNAL, own_words=False),
    model.JournalError: Row("InternalError", 500, _INTERNAL, own_words=False),
    model.MountError: Row("InternalError", 500, _INTERNAL, own_words=False),
    # --- appliance.auth.errors
    auth.AuthError: Row("AccessDenied", 403, _DENIED),
    auth.AnonymousError: Row("AccessDenied", 403, _DENIED),
    auth.InvalidAccessKeyError: Row(
        "InvalidAccessKeyId",
        403,
        "The AWS Access Key Id you provided does not exist in our records.",
    ),
    auth.SignatureMismatchError: Row(
        "SignatureDoesNotMatch",
        403,
        "The request signature we calculated does not match the signature you provided. "
        "Check your key and signing method.",
    ),
    auth.ClockSkewError: Row(
        "RequestTimeTooSkewed",
        403,
        "The difference between the request time and the current time is too large.",
    ),
    auth.RequestExpiredError: Row("AccessDenied", 403, "Request has expired"),
    auth.AuthorizationHeaderError: Row(
        "AuthorizationHeaderMalformed",
        400,
        "The authorization header that you provided is not valid.",
    ),
    auth.AuthorizationQueryError: Row(
        "AuthorizationQueryParametersError",
        400,
        "The authorization query parameters are not valid.",
    ),
    auth.SignatureVersionError: Row(
        "InvalidRequest",
        400,
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
    ),
    auth.SecurityTokenError: Row(
        "InvalidToken", 400, "The provided token is malformed or otherwise invalid."
    ),
    auth.UnsignedHeadersError: Row(
        "AccessDenied", 403, "There were headers present in the request which were not signed"
    ),
    auth.PayloadHashHeaderError: Row(
        "InvalidArgument",
        400,
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, "
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.",
    ),
    auth.MissingPayloadHashError: Row(
        "InvalidRequest",
        400,
        "Missing required header for this request: x-amz-content-sha256",
    ),
    auth.FormFieldError: Row("InvalidArgument", 400, "The form lacks a field."),
    auth.AuthTypeError: Row("InvalidArgument", 400, "Unsupported Authorization Type"),
    # --- .faults
    WireError: Row("InvalidRequest", 400, "Invalid Request"),
    BadRequestError: Row("BadRequest", 400, "An error occurred when parsing the HTTP request."),
    InvalidUriError: Row("InvalidURI", 400, "Couldn't parse the specified URI."),
    UriTooLongError: Row("InvalidURI", 414, "The specified URI is too long."),
    HeadersTooLargeError: Row(
        "RequestHeaderSectionTooLarge",
        400,
        "Your request header section exceeds the maximum allowed size.",
    ),
    InvalidHeaderError: Row("InvalidRequest", 400, "A header of the request is not valid."),
    InvalidRequestError: Row("InvalidRequest", 400, "Invalid Request"),
    InvalidArgumentValueError: Row("InvalidArgument", 400, "Invalid Argument"),
    ConflictingParametersError: Row("InvalidArgument", 400, "Conflicting query string parameters"),
    MethodNotAllowedError: Row(
        "MethodNotAllowed", 405, "The specified method is not allowed against this resource."
    ),
    MissingContentLengthError: Row(
        "MissingContentLength", 411, "You must provide the Content-Length HTTP header."
    ),
    MissingBodyError: Row("MissingRequestBodyError", 400, "Request Body is empty"),
    BodyTooLargeError: Row("MaxMessageLengthExceeded", 400, "Your request was too big."),
    RequestTimeoutError: Row(
        "RequestTimeout",
        400,
        "Your socket connection to the server was not read from or written to within the timeout period. "
        "Idle connections will be closed.",
    ),
    InvalidDigestError: Row("InvalidDigest", 400, "The Content-MD5 you specified was invalid."),
    MalformedXmlError: Row(
        "MalformedXML",
        400,
        "The XML you provided was not well-formed or did not validate against our published schema",
    ),
    IllegalVersioningError: Row(
        "IllegalVersioningConfigurationException",
        400,
        "The Versioning configuration specified in the request is invalid.",
    ),
    MalformedTrailerError: Row(
        "MalformedTrailerError",
        400,
        "The request contained trailing data that was not well-formed or did not conform to our published schema.",
    ),
    MalformedChunkError: Row(
        "InvalidRequest", 400, "The aws-chunked body of this request is not well-formed."
    ),
    ChunkTooLargeError: Row(
        "InvalidRequest", 400, "A signed chunk is larger than the 16 MiB allowed."
    ),
    InvalidPartNumberError: Row(
        "InvalidPartNumber", 416, "The requested partnumber is not satisfiable"
    ),
    InvalidLocationError: Row(
        "InvalidLocationConstraint", 400, "The specified location-constraint is not valid"
    ),
    InvalidStorageClassError: Row(
        "InvalidStorageClass", 400, "The storage class you specified is not valid"
    ),
    InvalidCopyError: Row(
        "InvalidRequest",
        400,
        "This copy request is illegal because it is trying to copy an object to itself without changing the "
        "object's metadata, storage class, website redirect location or encryption attributes.",
    ),
    NotAFormError: Row(
        "PreconditionFailed", 412, "At least one of the pre-conditions you specified did not hold"
    ),
    MalformedFormError: Row(
        "MalformedPOSTRequest",
        400,
        "The body of your POST request is not well-formed multipart/form-data.",
    ),
    FormFieldsTooLargeError: Row(
        "MaxPostPreDataLengthExceededError",
        400,
        "Your POST request fields preceding the upload file were too large.",
    ),
    OneFileError: Row(
        "IncorrectNumberOfFilesInPostRequest",
        400,
        "POST requires exactly one file upload per request.",
    ),
    PolicyDocumentError: Row("InvalidPolicyDocument", 400, "Invalid Policy: Invalid JSON."),
    PolicyRefusedError: Row("AccessDenied", 403, "Invalid according to Policy."),
    CorsRefusedError: Row(
        "AccessForbidden",
        403,
        "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, "
        "request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted "
        "by the resource's CORS spec.",
    ),
    NoSuchCorsError: Row("NoSuchCORSConfiguration", 404, "The CORS configuration does not exist"),
}

ROWS |= {kind: Row(*row) for kind, row in access_faults.ROWS.items()}


def row_of(error: BaseException) -> Row:
    """The row of an error's class, or of its nearest base class that has one; anything unknown is an InternalError."""
    for kind in type(error).__mro__:
        row = ROWS.get(kind)
        if row is not None:
            return row
    return ROWS[ApplianceError]


def message_of(error: BaseException, row: Row) -> str:
    """What the client is told: the error's own sentence if it was raised with one that clients may see, else the row's."""
    message = str(error)
    if not row.own_words or not message or message == type(error).__doc__:
        return row.message
    return message


# --- the answer -------------------------------------------------------------------------

# What an error carries besides its sentence -> elements of the document.
_FACTS: dict[type[ApplianceError], Callable[[Any], dict[str, str]]] = {
    model.NoSuchBucketError: lambda error: {"BucketName": error.bucket},
    model.BucketExistsError: lambda error: {"BucketName": error.bucket},
    model.BucketNotEmptyError: lambda error: {"BucketName": error.bucket},
    model.InvalidBucketNameError: lambda error: {"BucketName": error.bucket},
    model.NoSuchKeyError: lambda error: {"Key": error.key},
    model.NoSuchVersionError: lambda error: {"Key": error.key, "VersionId": error.version_id},
    model.DeleteMarkerError: lambda _: {"Method": "GET", "ResourceType": "DeleteMarker"},
    model.KeyTooLongError: lambda _: {"MaxSizeAllowed": "1024"},
    model.InvalidRangeError: lambda error: {"ActualObjectSize": str(error.size)},
    WireError: lambda error: error.extra,
    auth.AuthError: lambda error: error.extra,
}


def error_response(
    error: BaseException, *, resource: str, request_id: str, host_id: str, head: bool = False
) -> Response:
    """The whole answer to a failed request. `resource` is the path asked for; `head`: no body may follow (also for 304)."""
    row = row_of(error)
    headers = _error_headers(error, row)
    if head or row.status in {304, 204}:
        return Response(row.status, headers)
    body = error_document(error, resource=resource, request_id=request_id, host_id=host_id)
    return Response(row.status, [XML, *headers], body)


def error_document(error: BaseException, *, resource: str, request_id: str, host_id: str) -> bytes:
    """The `Error` document: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#RESTErrorResponses."""
    row = row_of(error)
    facts = next((_FACTS[kind](error) for kind in type(error).__mro__ if kind in _FACTS), {})
    parts = [
        '<?xml version="1.0" encoding="UTF-8"?>\n<Error>',
        element("Code", row.code),
        # These repeat what the client sent, whatever it was; it must be able to read what is wrong with it.
        legible_element("Message", message_of(error, row)),
        *(legible_element(name, value) for name, value in facts.items() if value),
        legible_element("Resource", resource),
        element("RequestId", request_id),
        element("HostId", host_id),
        "</Error>",
    ]
    return "".join(parts).encode()


def _error_headers(error: BaseException, row: Row) -> Headers:
    headers: Headers = []
    if isinstance(error, model.BackendUnavailableError):
        headers.append(("Retry-After", str(max(1, error.retry_after_s))))
    elif row.status == 503:
        headers.append(("Retry-After", "1"))
    if isinstance(error, model.InvalidRangeError):
        headers.append(("Content-Range", f"bytes */{error.size}"))
    if isinstance(error, model.DeletedKeyError | model.DeleteMarkerError):
        headers += [("x-amz-delete-marker", "true"), ("x-amz-version-id", error.version_id)]
    if isinstance(error, model.DeleteMarkerError):
        headers.append(("Allow", "DELETE"))
        if error.modified_ns:
            headers.append(("Last-Modified", formatdate(error.modified_ns // 10**9, usegmt=True)))
    if isinstance(error, model.NotModifiedError) and error.etag:
        headers.append(("ETag", f'"{error.etag}"'))
        if error.modified_ns:
            headers.append(("Last-Modified", formatdate(error.modified_ns // 10**9, usegmt=True)))
    return headers
