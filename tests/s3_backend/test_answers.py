"""Values made of answers, without a server: metadata, conditions, version tokens, errors."""

from __future__ import annotations

import botocore.exceptions
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model import errors
from appliance.model.objects import Conditions
from appliance_s3.answers import decode_metadata, encode_metadata, version_token
from appliance_s3.failures import CODES, STATUSES, Where, classify
from appliance_s3.requests import read_conditions

WHERE = Where("upstream", "GET", "bucket", "key")


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=200))
def test_metadata_comes_back_as_it_was_put(value: str) -> None:
    sent = encode_metadata(value)
    assert sent.isascii()
    if "=?" not in value:
        assert decode_metadata(sent) == value


def test_a_version_changes_with_metadata_alone() -> None:
    headers = {"last-modified": "Fri, 20 Nov 2026 12:00:00 GMT", "x-amz-meta-a": "1"}
    other = {**headers, "x-amz-meta-a": "2"}
    assert version_token("e", headers) != version_token("e", other)
    assert version_token("e", headers) == version_token("e", {**headers, "date": "now"})


def test_at_most_one_condition_of_a_read_is_sent() -> None:
    both = Conditions(if_match=("a",), if_none_match=("b",))
    assert read_conditions(both) == {}
    ignored = Conditions(if_match=("a",), if_unmodified_since_ns=0)
    assert read_conditions(ignored) == {"If-Match": '"a"'}


@pytest.mark.parametrize("code", [*CODES, "SomethingNew", ""])
def test_every_answer_becomes_a_domain_error(code: str) -> None:
    for status in (*STATUSES, 200, 400, 418, 599):
        response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
        error = botocore.exceptions.ClientError(response, "GetObject")  # type: ignore[arg-type]
        failure = classify(error, WHERE)
        assert isinstance(failure.error, errors.ApplianceError)
        assert (failure.error.bucket, failure.error.key) == ("bucket", "key")
        assert type(failure.error) is CODES.get(code, type(failure.error))


def test_any_other_exception_is_a_backend_error_without_its_text() -> None:
    failure = classify(ZeroDivisionError("a secret"), WHERE)
    assert type(failure.error) is errors.BackendError
    assert "a secret" not in str(failure.error)


@pytest.mark.parametrize("code", ["InvalidPart", "EntityTooSmall", "BadDigest", "InvalidArgument"])
def test_an_error_that_is_the_clients_says_nothing_of_the_upstream(code: str) -> None:
    response = {
        "Error": {"Code": code, "Message": "at host secret-host"},
        "ResponseMetadata": {"HTTPStatusCode": 400},
    }
    found = classify(botocore.exceptions.ClientError(response, "op"), WHERE).error  # type: ignore[arg-type]  # botocore's own type of answers
    assert "upstream" not in str(found)
    assert "secret-host" not in str(found)
