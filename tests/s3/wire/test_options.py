"""What a writer may say about an object, and what is refused rather than dropped."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model.errors import (
    ApplianceError,
    InvalidTagError,
    MetadataTooLargeError,
    UnsupportedError,
)
from appliance.model.objects import PutOptions
from appliance.s3.wire.errors import (
    BadRequestError,
    HeadersTooLargeError,
    InvalidArgumentValueError,
    InvalidRequestError,
    InvalidStorageClassError,
)
from appliance.s3.wire.options import (
    CopyDirectives,
    checked_tags,
    copy_directives,
    put_options,
    upload_options,
)
from tests.support.outcomes import outcome

CRC = {"x-amz-checksum-crc32": "AAAAAA=="}


def test_a_plain_put_says_nothing():
    assert put_options({"host": "h", "content-length": "1"}) == PutOptions()
    assert put_options({}, "crc64nvme").checksums == ("crc64nvme",)


def test_system_headers_metadata_tags_and_checksum_are_taken():
    headers = {
        "content-type": "text/plain",
        "cache-control": "no-cache",
        "expires": "whenever",
        "x-amz-meta-a": "1",
        "x-amz-meta-é".encode().decode("latin-1"): "ü".encode().decode("latin-1"),
        "x-amz-meta-": "no name",
        "x-amz-tagging": "k=v&empty=&a%20b=c%2Bd+e",
        "x-amz-acl": "private",
        "x-amz-storage-class": "STANDARD_IA",
        **CRC,
    }
    assert put_options(headers, "sha256") == PutOptions(
        headers={
            "content-type": "text/plain",
            "cache-control": "no-cache",
            "expires": "whenever",
            "x-amz-storage-class": "STANDARD_IA",
        },
        metadata={"a": "1", "é": "ü"},
        tags={"k": "v", "empty": "", "a b": "c+d e"},
        checksums=("crc32",),
    )


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("aws-chunked", None),
        ("gzip, aws-chunked", "gzip"),
        ("aws-chunked,gzip", "gzip"),
        ("AWS-chunked , br , gzip".lower(), "br,gzip"),
        ("gzip", "gzip"),
        ("", None),
    ],
)
def test_the_coding_of_the_transfer_is_not_kept(sent, kept):
    assert put_options({"content-encoding": sent}).headers.get("content-encoding") == kept


def test_standard_storage_is_not_told_and_others_must_exist():
    assert put_options({"x-amz-storage-class": "STANDARD"}).headers == {}
    with pytest.raises(InvalidStorageClassError):
        put_options({"x-amz-storage-class": "CHEAP"})


def test_metadata_is_bounded_by_its_bytes():
    fits = {"x-amz-meta-ab": "v" * 2046}
    assert len(put_options(fits).metadata["ab"]) == 2046
    for value in ("v" * 2047, "é".encode().decode("latin-1") * 1024):
        with pytest.raises(MetadataTooLargeError):
            put_options({"x-amz-meta-ab": value})


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-server-side-encryption": "AES256"},
        {"x-amz-server-side-encryption-customer-key": "k"},
        {"x-amz-copy-source-server-side-encryption-customer-key": "k"},
        {"x-amz-object-lock-mode": "GOVERNANCE"},
        {"x-amz-write-offset-bytes": "1"},
        {"x-amz-if-match-last-modified-time": "Wed, 21 Oct 2015 07:28:00 GMT"},
        {"x-amz-if-match-size": "1"},
    ],
)
@pytest.mark.parametrize("function", [put_options, upload_options, copy_directives])
def test_what_is_not_implemented_is_refused(function, headers):
    with pytest.raises(UnsupportedError):
        function(headers)


def test_values_that_are_none_are_invalid_arguments():
    with pytest.raises(InvalidArgumentValueError):
        put_options({"x-amz-website-redirect-location": "ftp://h"})


# --- checksums of uploads in parts -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "kind", "expected"),
    [
        ("", "", ((), "FULL_OBJECT")),
        ("CRC32", "", (("crc32",), "COMPOSITE")),
        ("crc32c", "FULL_OBJECT", (("crc32c",), "FULL_OBJECT")),
        ("CRC64NVME", "", (("crc64nvme",), "FULL_OBJECT")),
        ("SHA256", "COMPOSITE", (("sha256",), "COMPOSITE")),
        ("SHA1", "FULL_OBJECT", None),
        ("SHA256", "FULL_OBJECT", None),
        ("CRC64NVME", "COMPOSITE", None),
        ("CRC32", "PARTIAL", None),
        ("", "COMPOSITE", None),
        ("MD4", "", None),
    ],
)
def test_an_upload_announces_algorithm_and_type(algorithm, kind, expected):
    headers = {"x-amz-checksum-algorithm": algorithm, "x-amz-checksum-type": kind}
    if expected is None:
        with pytest.raises(InvalidRequestError):
            upload_options(headers)
    else:
        options = upload_options(headers)
        assert (options.checksums, options.checksum_type) == expected


def test_an_upload_that_announces_nothing_has_the_default():
    default = upload_options({}, "crc64nvme")
    assert (default.checksums, default.checksum_type) == (("crc64nvme",), "FULL_OBJECT")
    asked = upload_options({"x-amz-checksum-algorithm": "SHA256"}, "crc64nvme")
    assert (asked.checksums, asked.checksum_type) == (("sha256",), "COMPOSITE")
    with pytest.raises(InvalidRequestError):
        upload_options({"x-amz-checksum-type": "FULL_OBJECT"}, "crc64nvme")


def test_a_copy_may_replace_metadata_and_tags_apart():
    plain = copy_directives({})
    assert (plain.replace_metadata, plain.replace_tags) == (False, False)
    headers = {
        "x-amz-metadata-directive": "REPLACE",
        "x-amz-tagging-directive": "REPLACE",
        "x-amz-tagging": "a=b",
        "x-amz-checksum-algorithm": "SHA1",
    }
    copied = copy_directives(headers)
    assert (copied.replace_metadata, copied.replace_tags) == (True, True)
    assert (copied.options.tags, copied.options.checksums) == ({"a": "b"}, ("sha1",))
    for name in ("x-amz-metadata-directive", "x-amz-tagging-directive"):
        with pytest.raises(InvalidArgumentValueError):
            copy_directives({name: "MOVE"})


# --- tags -------------------------------------------------------------------------------------------------


def test_ten_tags_of_full_length_are_allowed():
    pairs = [(f"{n}" * 128, "v" * 256) for n in range(10)]
    assert checked_tags(pairs) == dict(pairs)


@pytest.mark.parametrize(
    "pairs",
    [
        [("", "v")],
        [("k" * 129, "v")],
        [("k", "v" * 257)],
        [("k", "a"), ("k", "b")],
        [("aws:k", "v")],
        [("k?", "v")],
        [("k", "v&")],
        [("k", "\0")],
    ],
)
def test_other_tags_are_not(pairs):
    with pytest.raises(InvalidTagError):
        checked_tags(pairs)


def test_eleven_tags_are_too_many():
    with pytest.raises(BadRequestError, match="10"):
        checked_tags([(f"k{n}", "") for n in range(11)])


@pytest.mark.parametrize("value", ["=v", "&", "a=1&&b=2"])
def test_a_tagging_header_that_is_none_is_refused(value):
    with pytest.raises(InvalidArgumentValueError):
        put_options({"x-amz-tagging": value})


names = st.sampled_from(
    ["content-type", "content-encoding", "expires", "x-amz-meta-a", "x-amz-meta-b", "x-amz-tagging", "x-amz-acl", "x-amz-storage-class",
     "x-amz-checksum-algorithm", "x-amz-checksum-type", "x-amz-checksum-sha1", "x-amz-metadata-directive", "x-amz-website-redirect-location"]
)  # fmt: skip


@given(st.dictionaries(names, st.text(st.characters(max_codepoint=255), max_size=40), max_size=5))
def test_any_headers_are_options_or_a_domain_error(headers):
    for function in (put_options, upload_options, copy_directives):
        assert isinstance(outcome(function, headers), ApplianceError | PutOptions | CopyDirectives)


@pytest.mark.parametrize("name", ["content-type", "cache-control", "content-disposition"])
def test_what_is_kept_of_headers_is_bounded_together(name):
    fits = {name: "x" * (8192 - len(name))}
    assert put_options(fits).headers == fits
    for beyond in ({name: fits[name] + "x"}, {**fits, "expires": "0"}):
        with pytest.raises(HeadersTooLargeError, match="8192"):
            put_options(beyond)
