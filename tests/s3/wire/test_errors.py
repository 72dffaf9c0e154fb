"""The error table is total, and its answers are S3's."""

import sqlite3
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import appliance.auth.errors
import appliance.model.errors
import appliance.policy.access.errors
import appliance.s3.wire.access_faults
import appliance.s3.wire.faults
from appliance.auth.errors import AuthError, SignatureMismatchError
from appliance.journal.failures import translate
from appliance.model.errors import (
    ApplianceError,
    BackendTimeoutError,
    BackendUnavailableError,
    ConfigError,
    InvalidRangeError,
    NoSuchBucketError,
    NoSuchKeyError,
    NotModifiedError,
    SlowDownError,
)
from appliance.s3.wire.errors import (
    ROWS,
    ConflictingParametersError,
    InvalidArgumentValueError,
    MethodNotAllowedError,
    WireError,
    error_document,
    error_response,
    row_of,
)

MODULES = {
    module.__name__
    for module in (
        appliance.model.errors,
        appliance.auth.errors,
        appliance.policy.access.errors,
        appliance.s3.wire.faults,
        appliance.s3.wire.access_faults,
    )
}


def subclasses(kind):
    yield kind
    for child in kind.__subclasses__():
        yield from subclasses(child)


CLASSES = sorted(
    {kind for kind in subclasses(ApplianceError) if kind.__module__ in MODULES},
    key=lambda kind: kind.__name__,
)


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_has_its_own_row(kind):
    row = ROWS[kind]
    assert row.code
    assert row.message
    assert 300 <= row.status < 600


def test_no_row_is_for_something_else():
    assert set(ROWS) == set(CLASSES)


# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
PUBLISHED = """
    AccessDenied 403, AuthorizationHeaderMalformed 400, AuthorizationQueryParametersError 400, BadDigest 400, BucketAlreadyOwnedByYou 409,
    BucketNotEmpty 409, EntityTooLarge 400, EntityTooSmall 400, IncompleteBody 400, InternalError 500, InvalidAccessKeyId 403,
    InvalidArgument 400, InvalidBucketName 400, InvalidDigest 400, InvalidLocationConstraint 400, InvalidPart 400, InvalidPartOrder 400,
    InvalidRange 416, InvalidStorageClass 400, InvalidTag 400, InvalidToken 400, KeyTooLongError 400, MalformedXML 400,
    MaxMessageLengthExceeded 400, MetadataTooLarge 400, MethodNotAllowed 405, MissingContentLength 411, MissingRequestBodyError 400,
    NoSuchBucket 404, NoSuchKey 404, NoSuchTagSet 404, NoSuchUpload 404, NoSuchVersion 404, NotImplemented 501, OperationAborted 409,
    PreconditionFailed 412, RequestTimeTooSkewed 403, RequestTimeout 400, ServiceUnavailable 503, SignatureDoesNotMatch 403, SlowDown 503
"""  # fmt: skip


@pytest.mark.parametrize("line", [item.split() for item in PUBLISHED.split(",")])
def test_codes_have_their_published_status(line):
    code, status = line
    assert {row.status for row in ROWS.values() if row.code == code} == {int(status)}


def document(error):
    body = error_document(error, resource="/b/k", request_id="R", host_id="H")
    return {child.tag: child.text for child in ET.fromstring(body)}  # noqa: S314  # our own document


def test_an_error_document_says_what_where_and_which_request():
    assert document(NoSuchKeyError(key="a&<b")) == {
        "Code": "NoSuchKey",
        "Message": "The specified key does not exist.",
        "Key": "a&<b",
        "Resource": "/b/k",
        "RequestId": "R",
        "HostId": "H",
    }
    assert document(NoSuchBucketError(bucket="b"))["BucketName"] == "b"


def test_an_error_keeps_its_own_sentence():
    assert document(NoSuchKeyError("Gone since noon."))["Message"] == "Gone since noon."


@pytest.mark.parametrize(
    "error", [ConfigError("/etc/secret.toml: bad"), ValueError("internals"), KeyError("x")]
)
def test_what_is_for_the_operator_is_not_told_to_clients(error):
    facts = document(error)
    assert facts["Code"] == "InternalError"
    assert facts["Message"] == "We encountered an internal error. Please try again."


def test_an_error_can_be_read_whatever_it_repeats():
    facts = document(InvalidArgumentValueError("No \x01.", "max-keys", "\x00\ud800\ufffe\n"))
    assert facts["Message"] == "No \ufffd."
    assert facts["ArgumentValue"] == "\ufffd\ufffd\ufffd\n"


def test_errors_carry_their_elements():
    facts = document(InvalidArgumentValueError("No.", "max-keys", "x"))
    assert (facts["ArgumentName"], facts["ArgumentValue"]) == ("max-keys", "x")
    facts = document(MethodNotAllowedError(method="PATCH", resource_type="BUCKET"))
    assert (facts["Method"], facts["ResourceType"]) == ("PATCH", "BUCKET")
    facts = document(ConflictingParametersError("policy", "acl"))
    assert facts["Message"] == "Conflicting query string parameters: acl, policy"
    facts = document(SignatureMismatchError(AWSAccessKeyId="AK", StringToSign="a\nb"))
    assert (facts["AWSAccessKeyId"], facts["StringToSign"]) == ("AK", "a\nb")


def respond(error, **kwargs):
    return error_response(error, resource="/", request_id="R", host_id="H", **kwargs)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (BackendUnavailableError(retry_after_s=7), "7"),
        (BackendTimeoutError(retry_after_s=0), "1"),
        (SlowDownError(), "1"),
    ],
)
def test_a_503_says_when_to_come_back(error, seconds):
    response = respond(error)
    assert response.status == 503
    assert ("Retry-After", seconds) in response.headers


def test_a_416_says_how_long_the_object_is():
    assert ("Content-Range", "bytes */10") in respond(InvalidRangeError(size=10)).headers


def test_a_304_has_no_body_and_repeats_the_etag():
    response = respond(NotModifiedError(etag="e"))
    assert (response.status, response.headers, response.body) == (304, [("ETag", '"e"')], b"")


def test_an_answer_to_head_has_no_body():
    response = respond(NoSuchKeyError(), head=True)
    assert (response.status, response.headers, response.body) == (404, [], b"")


def test_an_unlisted_subclass_is_answered_as_its_base():
    class SpecialError(NoSuchKeyError):
        """Not in the table."""

    assert row_of(SpecialError()).code == "NoSuchKey"
    assert row_of(RuntimeError()).code == "InternalError"


@given(st.text(), st.text(), st.dictionaries(st.sampled_from(["A", "B"]), st.text()))
def test_any_text_in_an_error_makes_a_document(message, resource, extra):
    for error in (WireError(message, extra=extra), AuthError(message, **extra)):
        body = error_document(error, resource=resource, request_id="", host_id="")
        assert body.startswith(b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>')
        assert body.endswith(b"</Error>")


@pytest.mark.parametrize("kind", [appliance.model.errors.BackendUnavailableError, appliance.model.errors.BackendTimeoutError, appliance.model.errors.BackendDeniedError, appliance.model.errors.BackendError, appliance.model.errors.StorageFullError, appliance.model.errors.CorruptDataError])  # fmt: skip
def test_what_befell_a_backend_is_not_told_to_clients(kind):
    error = kind("The backend b at secret-host said no.")
    document = error_document(error, resource="/b", request_id="r", host_id="h")
    assert b"secret-host" not in document


def test_whose_disk_is_full_is_told():
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    own = error_document(
        translate(full, Path("/data/appliance.db")), resource="/b", request_id="r", host_id="h"
    )
    assert b"the appliance's own records" in own.replace(b"&apos;", b"'")
    assert b"/data" not in own
    storage = appliance.model.errors.StorageFullError("x")
    document = error_document(storage, resource="/b", request_id="r", host_id="h")
    assert b"the storage behind this bucket" in document
