"""Parameters of listings, and tokens that cannot be forged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model.errors import ApplianceError, NoSuchUploadError
from appliance.model.objects import ListRequest
from appliance.s3.wire.errors import InvalidArgumentValueError
from appliance.s3.wire.listing import (
    ListQuery,
    PartsQuery,
    UploadsQuery,
    list_query_v1,
    list_query_v2,
    list_query_versions,
    opened_upload_id,
    part_number,
    parts_query,
    sealed_continuation,
    sealed_upload_id,
    uploads_query,
)
from appliance.s3.wire.tokens import seal, unseal
from tests.support.outcomes import outcome

SECRET = b"cluster secret"


def test_the_first_form_pages_by_marker():
    query = {
        "prefix": "p",
        "delimiter": "/",
        "marker": "m",
        "max-keys": "7",
        "encoding-type": "url",
    }
    assert list_query_v1("b", query) == ListQuery(
        bucket="b",
        prefix="p",
        delimiter="/",
        marker="m",
        limit=7,
        encode=True,
        request=ListRequest(prefix="p", delimiter="/", start_after="m", limit=7),
    )


def test_the_second_form_pages_by_token():
    token = sealed_continuation("from here", "b", SECRET)
    query = {"continuation-token": token, "start-after": "s", "fetch-owner": "true"}
    assert list_query_v2("b", query, SECRET) == ListQuery(
        bucket="b",
        marker="s",
        token=token,
        fetch_owner=True,
        request=ListRequest(continuation="from here"),
    )
    assert list_query_v2("b", {"start-after": "s"}, SECRET).request.start_after == "s"


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "é",
        sealed_continuation("c", "other bucket", SECRET),
        sealed_continuation("c", "b", b"other secret"),
        sealed_continuation("c", "b", SECRET)[:-1],
    ],
)
def test_a_forged_token_is_an_invalid_argument(token):
    with pytest.raises(InvalidArgumentValueError) as caught:
        list_query_v2("b", {"continuation-token": token}, SECRET)
    assert caught.value.extra["ArgumentName"] == "continuation-token"


def test_versions_page_by_key():
    query = list_query_versions("b", {"key-marker": "k", "version-id-marker": "null"})
    assert (query.marker, query.version_id_marker, query.request.start_after) == ("k", "null", "k")
    for bad in ({"version-id-marker": "null"}, {"key-marker": "k", "version-id-marker": "a b"}):
        with pytest.raises(InvalidArgumentValueError):
            list_query_versions("b", bad)


@pytest.mark.parametrize(
    ("value", "limit"),
    [("", 1000), ("0", 0), ("1", 1), ("1000", 1000), ("1001", 1000), ("2147483647", 1000)],
)
def test_a_page_has_at_most_a_thousand(value, limit):
    assert list_query_v1("b", {"max-keys": value}).limit == limit
    assert uploads_query("b", {"max-uploads": value}).limit == limit
    assert parts_query({"max-parts": value}).limit == limit


@pytest.mark.parametrize("value", ["blah", "-1", "1.5", "2147483648", "9" * 5000, "²", " 1", "1_0"])
def test_a_limit_that_is_none_is_an_invalid_argument(value):
    for name, function in (
        ("max-keys", lambda query: list_query_v1("b", query)),
        ("max-uploads", lambda query: uploads_query("b", query)),
        ("max-parts", parts_query),
        ("part-number-marker", parts_query),
    ):
        with pytest.raises(InvalidArgumentValueError):
            function({name: value})


def test_another_encoding_is_refused():
    for function in (list_query_v1, list_query_versions, uploads_query):
        with pytest.raises(InvalidArgumentValueError):
            function("b", {"encoding-type": "base64"})


def test_an_upload_id_marker_means_nothing_without_a_key():
    assert uploads_query("b", {"upload-id-marker": "u"}) == UploadsQuery(bucket="b")
    assert uploads_query("b", {"key-marker": "k", "upload-id-marker": "u"}).upload_id_marker == "u"


def test_parts_page_by_number():
    assert parts_query({"part-number-marker": "3", "max-parts": "2"}) == PartsQuery(
        after=3, limit=2
    )


def test_part_numbers_are_1_to_10000():
    assert part_number({}) is None
    assert [part_number({"partNumber": value}) for value in ("1", "10000")] == [1, 10000]
    for value in ("", "0", "10001", "-1", "x", "²", "9" * 5000):
        with pytest.raises(InvalidArgumentValueError):
            part_number({"partNumber": value})


# --- tokens ---------------------------------------------------------------------------------------


@given(st.binary(max_size=60), st.text(max_size=10), st.text(max_size=10))
def test_what_is_sealed_can_be_opened_by_us_for_its_purpose_only(raw, bucket, key):
    value = raw.decode("utf-8", "surrogateescape")
    bucket, key = (text.encode("utf-8", "replace").decode() for text in (bucket, key))
    token = seal(value, SECRET, "p", bucket, key)
    assert token == seal(value, SECRET, "p", bucket, key)
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert unseal(token, SECRET, "p", bucket, key) == value
    assert unseal(token, SECRET, "q", bucket, key) is None
    assert unseal(token, SECRET + b"x", "p", bucket, key) is None
    assert unseal(token, SECRET, "p", bucket + key, "") is None or not key
    assert unseal(token, SECRET, "p", bucket, key, "") is None


@given(st.binary(max_size=20), st.data())
def test_no_changed_token_opens(raw, data):
    token = seal(raw.decode("latin-1"), SECRET, "p")
    index = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from("AZaz09-_=+ é"))
    forged = token[:index] + other + token[index + 1 :]
    assert forged == token or unseal(forged, SECRET, "p") is None
    assert unseal(token + "=", SECRET, "p") is None
    assert unseal(token[:-1], SECRET, "p") is None


def test_an_upload_id_opens_for_its_key_only():
    sealed = sealed_upload_id("2~backend/id", "b", "k", SECRET)
    assert opened_upload_id(sealed, "b", "k", SECRET) == "2~backend/id"
    for bucket, key, text in (
        ("b", "k2", sealed),
        ("b2", "k", sealed),
        ("b", "k", ""),
        ("b", "k", "../.."),
        ("b", "k", "A" * 10_000),
    ):
        with pytest.raises(NoSuchUploadError):
            opened_upload_id(text, bucket, key, SECRET)


NAMES = [
    "prefix",
    "delimiter",
    "marker",
    "max-keys",
    "encoding-type",
    "continuation-token",
    "start-after",
    "key-marker",
    "version-id-marker",
    "max-uploads",
    "max-parts",
    "part-number-marker",
    "partNumber",
]


@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=20), max_size=6))
def test_any_query_is_a_listing_or_a_domain_error(query):
    for found in (
        outcome(list_query_v1, "b", query),
        outcome(list_query_v2, "b", query, SECRET),
        outcome(list_query_versions, "b", query),
    ):
        assert isinstance(found, ListQuery | ApplianceError)
    assert isinstance(outcome(uploads_query, "b", query), UploadsQuery | ApplianceError)
    assert isinstance(outcome(parts_query, query), PartsQuery | ApplianceError)
    assert isinstance(outcome(part_number, query), int | None | ApplianceError)
