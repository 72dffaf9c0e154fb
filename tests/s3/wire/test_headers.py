"""Conditions, ranges and copy sources from headers; response headers from objects."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model.errors import ApplianceError, UnsupportedError
from appliance.model.names import key_bytes
from appliance.model.objects import Conditions, ObjectInfo
from appliance.model.ranges import ByteRange, RangeSpec
from appliance.s3.wire import headers as fields
from appliance.s3.wire.errors import InvalidArgumentValueError, InvalidPartNumberError
from appliance.s3.wire.headers import CopySource
from appliance.s3.wire.xml.render import url_encoded
from tests.support.outcomes import outcome

MODIFIED_S = 784111777  # Sun, 06 Nov 1994 08:49:37 GMT, RFC 9110's example
INFO = ObjectInfo(key="k", size=100, etag="e" * 32, version="v", modified_ns=MODIFIED_S * 10**9 + 5)


# --- dates --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"],
)
def test_the_three_forms_of_a_date(text):
    assert fields.parse_http_date(text) == MODIFIED_S


@given(st.integers(0, 4102444800))
def test_dates_round_trip(unix_s):
    assert fields.parse_http_date(fields.format_http_date(unix_s)) == unix_s


@given(st.text(max_size=40))
def test_what_is_no_date_is_none(text):
    assert fields.parse_http_date(text) is None or any(char.isdigit() for char in text)


# --- conditions --------------------------------------------------------------------------------------


def test_conditions_are_read_from_headers():
    headers = {
        "if-match": '"a"',
        "if-none-match": "*",
        "if-modified-since": "Sun, 06 Nov 1994 08:49:37 GMT",
        "if-unmodified-since": "yesterday",
        "x-amz-copy-source-if-match": "b",
    }
    assert fields.conditions(headers) == Conditions(
        if_match=("a",), if_none_match=("*",), if_modified_since_ns=MODIFIED_S * 10**9
    )
    assert fields.copy_conditions(headers) == Conditions(if_match=("b",))
    assert not fields.conditions({"host": "h"})


@pytest.mark.parametrize(
    ("value", "etags"),
    [
        ('"a"', ("a",)),
        ("a", ("a",)),
        ('"a", "b,c" ,W/"d"', ("a", "b,c", "d")),
        ("*", ("*",)),
        ('""', ("",)),
        ("a,b", ("a", "b")),
    ],
)
def test_etags_come_quoted_or_not(value, etags):
    assert fields.conditions({"if-none-match": value}).if_none_match == etags


# --- ranges and parts -------------------------------------------------------------------------------------


def test_a_range_that_is_none_is_ignored():
    assert fields.range_spec({"range": "bytes=1-2"}) == RangeSpec(1, 2)
    for headers in ({}, {"range": "items=1-2"}, {"range": "bytes=2-1"}, {"range": "bytes=0-1,3-4"}):
        assert fields.range_spec(headers) is None


@pytest.mark.parametrize(
    ("value", "holds"),
    [
        (None, True),
        (f'"{INFO.etag}"', True),
        (INFO.etag, True),
        ('"other"', False),
        (f'W/"{INFO.etag}"', False),
        ("Sun, 06 Nov 1994 08:49:37 GMT", True),
        ("Sun, 06 Nov 1994 08:49:38 GMT", False),
    ],
)
def test_a_range_of_another_version_does_not_hold(value, holds):
    assert fields.if_range_holds({} if value is None else {"if-range": value}, INFO) is holds


def test_a_copys_range_is_strict():
    assert fields.copy_source_range({}) is None
    spec = fields.copy_source_range({"x-amz-copy-source-range": "bytes=0-99"})
    assert fields.copy_range(spec, 100) == ByteRange(0, 100)
    with pytest.raises(InvalidArgumentValueError):
        fields.copy_range(spec, 99)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "bytes=",
        "bytes=1-",
        "bytes=-1",
        "bytes=2-1",
        "0-1",
        "bytes=0-1,2-3",
        "bytes=0-" + "9" * 30,
    ],
)
def test_a_copys_range_that_is_none_is_an_error(value):
    with pytest.raises(InvalidArgumentValueError):
        fields.copy_source_range({"x-amz-copy-source-range": value})


def test_parts_lie_one_after_the_other():
    info = ObjectInfo(
        key="k", size=25, etag="e-3", version="v", modified_ns=0, part_sizes=(10, 10, 5)
    )
    assert [fields.part_range(info, n) for n in (1, 2, 3)] == [
        ByteRange(0, 10),
        ByteRange(10, 10),
        ByteRange(20, 5),
    ]
    assert fields.part_range(INFO, 1) == ByteRange(0, 100)
    for of, number in ((info, 4), (INFO, 2)):
        with pytest.raises(InvalidPartNumberError):
            fields.part_range(of, number)


# --- copy sources ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "source"),
    [
        ("b/k", CopySource("b", "k")),
        ("/b/k/l", CopySource("b", "k/l")),
        ("b/a%20b%2Bc+d", CopySource("b", "a b+c d")),
        ("b%2Fk", CopySource("b", "k")),
        ("b//k", CopySource("b", "/k")),
        ("b/k&x=1", CopySource("b", "k&x=1")),
        ("b/100%", CopySource("b", "100%")),
        ("b/k%3Fv", CopySource("b", "k?v")),
        ("b/k?versionId=null", CopySource("b", "k", "null")),
        ("b/é".encode().decode("latin-1"), CopySource("b", "é")),
    ],
)
def test_a_copy_source_names_bucket_key_and_version(value, source):
    assert fields.copy_source({"x-amz-copy-source": value}) == source


@pytest.mark.parametrize("value", ["", "/", "b", "/b", "b/", "/b/", "//k", "?versionId=1"])
def test_a_copy_source_that_is_none_is_an_error(value):
    with pytest.raises(InvalidArgumentValueError):
        fields.copy_source({"x-amz-copy-source": value})


@given(st.binary(min_size=1, max_size=40).map(lambda raw: raw.decode("utf-8", "surrogateescape")))
def test_any_key_can_be_copied(key):
    source = fields.copy_source({"x-amz-copy-source": f"/b/{url_encoded(key)}"})
    assert key_bytes(source.key) == key_bytes(key)


# --- responses -----------------------------------------------------------------------------------------------------


def test_the_headers_of_an_object():
    info = ObjectInfo(
        key="k",
        size=5,
        etag="abc",
        version="v",
        modified_ns=MODIFIED_S * 10**9,
        headers={
            "content-type": "text/plain",
            "cache-control": "no-cache",
            "x-amz-storage-class": "STANDARD_IA",
        },
        metadata={"a": "1", "b": "é"},
        checksums={"crc32": "AAAAAA=="},
        tag_count=2,
    )
    headers = fields.object_headers(info)
    assert headers == [
        ("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("ETag", '"abc"'),
        ("Accept-Ranges", "bytes"),
        ("Cache-Control", "no-cache"),
        ("x-amz-storage-class", "STANDARD_IA"),
        ("Content-Type", "text/plain"),
        ("x-amz-meta-a", "1"),
        ("x-amz-meta-b", "é".encode().decode("latin-1")),
        ("Content-Length", "5"),
        ("x-amz-tagging-count", "2"),
    ]
    assert fields.object_headers(info, checksums=True)[-2:] == [
        ("x-amz-checksum-crc32", "AAAAAA=="),
        ("x-amz-checksum-type", "FULL_OBJECT"),
    ]
    assert fields.written_headers(info) == [
        ("ETag", '"abc"'),
        ("x-amz-checksum-crc32", "AAAAAA=="),
        ("x-amz-checksum-type", "FULL_OBJECT"),
    ]


def test_a_range_tells_where_it_lies_and_has_no_checksum():
    headers = dict(fields.object_headers(INFO, range=ByteRange(10, 20), checksums=True))
    assert (headers["Content-Length"], headers["Content-Range"]) == ("20", "bytes 10-29/100")
    assert headers["Content-Type"] == "binary/octet-stream"
    assert not [name for name in headers if name.startswith("x-amz-checksum")]


def test_a_part_tells_how_many_there_are_and_its_own_checksum():
    info = ObjectInfo(
        key="k",
        size=20,
        etag="e-2",
        version="v",
        modified_ns=0,
        part_sizes=(10, 10),
        checksums={"sha1": "whole"},
        checksum_type="COMPOSITE",
        part_checksums=({"sha1": "one"}, {"sha1": "two"}),
    )
    part = dict(fields.object_headers(info, range=ByteRange(10, 10), part_number=2, checksums=True))
    assert (part["x-amz-mp-parts-count"], part["x-amz-checksum-sha1"]) == ("2", "two")
    whole = dict(fields.object_headers(info, checksums=True))
    assert (whole["x-amz-checksum-sha1"], whole["x-amz-checksum-type"]) == ("whole-2", "COMPOSITE")
    assert "x-amz-mp-parts-count" not in whole


def test_a_signed_query_may_override_headers():
    query = {
        "response-content-type": "text/html",
        "response-expires": "never",
        "response-x": "y",
        "versionId": "null",
    }
    overrides = fields.response_overrides(query)
    assert overrides == {"Content-Type": "text/html", "Expires": "never"}
    headers = fields.object_headers(INFO, overrides=overrides)
    assert [value for name, value in headers if name == "Content-Type"] == ["text/html"]
    assert fields.response_overrides({}) == {}


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_value_splits_a_response(text, name):
    info = ObjectInfo(
        key="k",
        size=0,
        etag="e",
        version="v",
        modified_ns=0,
        headers={"content-type": text},
        metadata={name: text},
    )
    for pair in fields.object_headers(info, overrides={"Expires": text}):
        raw = ": ".join(pair).encode("latin-1")
        assert not {b"\r", b"\n", b"\0"} & {raw[i : i + 1] for i in range(len(raw))}


# --- anything at all --------------------------------------------------------------------------------------------------

NAMES = [
    "if-match",
    "if-none-match",
    "if-modified-since",
    "range",
    "if-range",
    "x-amz-copy-source",
    "x-amz-copy-source-range",
]
latin = st.text(st.characters(max_codepoint=255), max_size=40)


@given(st.dictionaries(st.sampled_from(NAMES), latin, max_size=5))
def test_any_headers_parse_or_raise_a_domain_error(headers):
    assert isinstance(fields.conditions(headers), Conditions)
    assert isinstance(fields.range_spec(headers), RangeSpec | None)
    assert isinstance(fields.if_range_holds(headers, INFO), bool)
    assert isinstance(outcome(fields.copy_source, headers), CopySource | ApplianceError)
    assert isinstance(outcome(fields.copy_source_range, headers), RangeSpec | None | ApplianceError)


def test_a_composite_checksum_takes_the_number_of_parts_from_the_etag_where_sizes_are_unknown():
    facts = {"key": "k", "size": 20, "version": "v", "modified_ns": 0}
    sums = {"checksums": {"sha1": "whole"}, "checksum_type": "COMPOSITE"}
    info = ObjectInfo(etag="0" * 32 + "-12", **facts, **sums)
    assert fields.shown_checksums(info) == {"sha1": "whole-12"}
    assert fields.shown_checksums(ObjectInfo(etag="e", **facts, **sums)) == {"sha1": "whole"}
    with pytest.raises(UnsupportedError):
        fields.part_range(info, 2)
    with pytest.raises(InvalidPartNumberError):
        fields.part_range(info, 13)
