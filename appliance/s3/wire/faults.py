"""What only the wire can get wrong: errors of requests that cannot be understood. `errors` answers them, by its one table.

Each class's docstring is the sentence it is raised with where it brings none of its own.
"""

from __future__ import annotations

from collections.abc import Mapping

from appliance.model.errors import ApplianceError


class WireError(ApplianceError):
    """The request cannot be understood. `extra` holds elements of the error document besides the message, in order."""

    def __init__(
        self,
        message: str = "",
        *,
        bucket: str = "",
        key: str = "",
        extra: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, bucket=bucket, key=key)
        self.extra = dict(extra or {})


class BadRequestError(WireError):
    """An error occurred when parsing the HTTP request."""


class InvalidUriError(WireError):
    """Couldn't parse the specified URI."""


class UriTooLongError(WireError):
    """The URI of this request is longer than 16 KiB."""


class HeadersTooLargeError(WireError):
    """Your request header section exceeds the maximum allowed size."""


class InvalidHeaderError(WireError):
    """A header of the request is not valid."""


class InvalidRequestError(WireError):
    """Invalid Request."""


class InvalidArgumentValueError(WireError):
    """An argument is not valid: which one, and its value."""

    def __init__(self, message: str, name: str, value: str) -> None:
        super().__init__(message, extra={"ArgumentName": name, "ArgumentValue": value})


class ConflictingParametersError(InvalidArgumentValueError):
    """Two sub-resources in one request."""

    def __init__(self, first: str, second: str) -> None:
        names = ", ".join(sorted((first, second)))
        super().__init__(
            f"Conflicting query string parameters: {names}", "ResourceType", min(first, second)
        )


class MethodNotAllowedError(WireError):
    """The specified method is not allowed against this resource."""

    def __init__(self, *, method: str = "", resource_type: str = "") -> None:
        super().__init__(extra={"Method": method, "ResourceType": resource_type})


class MissingContentLengthError(WireError):
    """You must provide the Content-Length HTTP header."""


class MissingBodyError(WireError):
    """Request body is empty."""


class BodyTooLargeError(WireError):
    """Your request was too big."""


class RequestTimeoutError(WireError):
    """Your socket connection to the server was not read from or written to within the timeout period."""


class InvalidDigestError(WireError):
    """The Content-MD5 you specified was invalid."""


class MalformedXmlError(WireError):
    """The XML you provided was not well-formed or did not validate against our published schema"""


class IllegalVersioningError(WireError):
    """The versioning configuration specified in the request is invalid."""


class MalformedTrailerError(WireError):
    """The request contained trailing data that was not well-formed or did not conform to our published schema."""


class MalformedChunkError(WireError):
    """The aws-chunked body of this request is not well-formed."""


class ChunkTooLargeError(WireError):
    """A signed chunk may have at most 16 MiB here: its signature must be checked before its bytes are used."""


class InvalidPartNumberError(WireError):
    """The requested partnumber is not satisfiable"""


class InvalidLocationError(WireError):
    """The specified location-constraint is not valid"""


class InvalidStorageClassError(WireError):
    """The storage class you specified is not valid"""


class InvalidCopyError(WireError):
    """This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes."""  # noqa: E501


# --- PostObject: forms and their policies ---------------------------------------------


class NotAFormError(WireError):
    """Bucket POST must be of the enclosure-type multipart/form-data"""

    def __init__(self) -> None:
        super().__init__(
            extra={"Condition": "Bucket POST must be of the enclosure-type multipart/form-data"}
        )


class MalformedFormError(WireError):
    """The body of your POST request is not well-formed multipart/form-data."""


class FormFieldsTooLargeError(WireError):
    """Your POST request fields preceding the upload file were too large."""


class OneFileError(WireError):
    """POST requires exactly one file upload per request."""


class PolicyDocumentError(WireError):
    """The policy document of this form is not valid."""


class PolicyRefusedError(WireError):
    """What is uploaded does not fit the form's policy document."""


# --- CORS -----------------------------------------------------------------------------


class CorsRefusedError(WireError):
    """CORSResponse: This CORS request is not allowed by the bucket's rules."""


class NoSuchCorsError(WireError):
    """The CORS configuration does not exist"""
