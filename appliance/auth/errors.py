"""What can be wrong with a request's credentials. `appliance.s3.wire.errors` translates these as it does all domain errors.

Names, codes and sentences: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from __future__ import annotations

from appliance.model.errors import ApplianceError


class AuthError(ApplianceError):
    """The request's credentials cannot be accepted. `extra` holds elements that S3 puts into the error document besides the message."""

    def __init__(self, message: str = "", **extra: str) -> None:
        super().__init__(message)
        self.extra = extra


class AnonymousError(AuthError):
    """Access Denied."""


class InvalidAccessKeyError(AuthError):
    """The AWS Access Key Id you provided does not exist in our records."""


class SignatureMismatchError(AuthError):
    """The request signature we calculated does not match the signature you provided. Check your key and signing method."""


class ClockSkewError(AuthError):
    """The difference between the request time and the current time is too large."""


class RequestExpiredError(AuthError):
    """Request has expired"""  # S3's own sentence, without a full stop


class AuthorizationHeaderError(AuthError):
    """The authorization header that you provided is not valid."""


class AuthorizationQueryError(AuthError):
    """The query string parameters of this presigned request are not valid."""


class SignatureVersionError(AuthError):
    """The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."""


class SecurityTokenError(AuthError):
    """The provided token is malformed or otherwise not valid."""


class UnsignedHeadersError(AuthError):
    """There were headers present in the request which were not signed."""


class PayloadHashHeaderError(AuthError):
    """x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, or a valid sha256 value."""


class MissingPayloadHashError(AuthError):
    """Missing required header for this request: x-amz-content-sha256"""


class FormFieldError(AuthError):
    """A browser's form lacks a field that its signature needs."""


class AuthTypeError(AuthError):
    """Unsupported Authorization Type"""
