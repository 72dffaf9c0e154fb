"""What a request declares about its body, and what becomes of a body that is another."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.auth.sigv4 import STREAMING_UNSIGNED_TRAILER, UNSIGNED_PAYLOAD
from appliance.model.checksums import ALGORITHMS, composite, encode, full_object, new_hasher
from appliance.model.errors import (
    ApplianceError,
    BadDigestError,
    ChecksumMismatchError,
    InvalidPartError,
    PayloadHashMismatchError,
)
from appliance.model.objects import PartInfo
from appliance.s3.wire.digest import DeclaredDigests, check_object_checksum, declared_digests
from appliance.s3.wire.errors import InvalidDigestError, InvalidRequestError, MalformedTrailerError
from tests.support.outcomes import outcome


def verify_body(declared, body, trailers):
    digests = {}
    for name in declared.hashers():
        hasher = new_hasher(name)
        hasher.update(body)
        digests[name] = hasher.digest()
    declared.verify(digests, trailers)


def checksum(algorithm, data):
    hasher = new_hasher(algorithm)
    hasher.update(data)
    return encode(hasher.digest())


def md5(data):
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def test_nothing_declared_means_md5_for_the_etag_only():
    declared = declared_digests({}, UNSIGNED_PAYLOAD)
    assert declared == DeclaredDigests()
    assert declared.hashers() == ("md5",)
    declared.verify({"md5": b""}, {})


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(data=st.binary(max_size=200), other=st.binary(max_size=200))
def test_a_body_that_is_another_is_noticed(algorithm, data, other):
    for headers, payload, error in (
        ({"content-md5": md5(data)}, UNSIGNED_PAYLOAD, BadDigestError),
        ({}, sha256(data), PayloadHashMismatchError),
        (
            {f"x-amz-checksum-{algorithm}": checksum(algorithm, data)},
            UNSIGNED_PAYLOAD,
            ChecksumMismatchError,
        ),
    ):
        declared = declared_digests(headers, payload)
        verify_body(declared, data, {})
        if data != other:
            with pytest.raises(error):
                verify_body(declared, other, {})


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_checksum_may_come_in_the_trailer(algorithm):
    name = f"x-amz-checksum-{algorithm}"
    headers = {"x-amz-trailer": name.upper(), "x-amz-sdk-checksum-algorithm": algorithm.upper()}
    declared = declared_digests(headers, STREAMING_UNSIGNED_TRAILER)
    assert algorithm in declared.hashers()
    verify_body(declared, b"x", {name: checksum(algorithm, b"x")})
    with pytest.raises(ChecksumMismatchError):
        verify_body(declared, b"y", {name: checksum(algorithm, b"x")})
    with pytest.raises(ChecksumMismatchError):
        verify_body(declared, b"x", {name: "bad"})
    with pytest.raises(MalformedTrailerError):
        verify_body(declared, b"x", {})


def test_each_hasher_runs_once():
    headers = {"x-amz-checksum-sha256": checksum("sha256", b"")}
    declared = declared_digests(headers, sha256(b""))
    assert declared.hashers(("sha256", "crc32")) == ("md5", "sha256", "crc32")


@pytest.mark.parametrize(
    "value", ["", "bad", "AAAA", "é", md5(b"") + "=", base64.b64encode(b"x" * 20).decode()]
)
def test_a_content_md5_that_is_none_is_invalid(value):
    with pytest.raises(InvalidDigestError):
        declared_digests({"content-md5": value}, UNSIGNED_PAYLOAD)


CRC = checksum("crc32", b"")


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-checksum-crc32": ""},
        {"x-amz-checksum-md4": CRC},
        {"x-amz-checksum-": CRC},
        {"x-amz-checksum-crc32": CRC, "x-amz-checksum-crc32c": CRC},
        {"x-amz-checksum-crc32": CRC, "x-amz-trailer": "x-amz-checksum-crc32"},
        {"x-amz-trailer": "x-amz-checksum-crc32, x-amz-checksum-sha1"},
        {"x-amz-trailer": "x-amz-checksum-md4"},
        {"x-amz-checksum-sha512": "AA=="},
        {"x-amz-checksum-md5": "AA=="},
        {"x-amz-checksum-xxhash64": "AA=="},
        {"x-amz-checksum-xxhash3": "AA=="},
        {"x-amz-trailer": "x-amz-checksum-xxhash128"},
        {"x-amz-sdk-checksum-algorithm": "CRC32"},
        {"x-amz-sdk-checksum-algorithm": "SHA1", "x-amz-checksum-crc32": CRC},
    ],
)
def test_checksums_that_are_none_or_too_many_are_refused(headers):
    with pytest.raises(InvalidRequestError):
        declared_digests(headers, UNSIGNED_PAYLOAD)


@pytest.mark.parametrize("value", ["bad", "é", "AAAA", checksum("crc64nvme", b"")])
def test_a_value_that_is_no_checksum_matches_nothing(value):
    with pytest.raises(ChecksumMismatchError):
        declared_digests({"x-amz-checksum-crc32": value}, UNSIGNED_PAYLOAD)


def test_a_signed_payloads_hash_is_no_checksum_of_the_object():
    declared = declared_digests({"x-amz-checksum-crc32": CRC}, sha256(b""))
    assert declared.hashers(("sha1",)) == ("md5", "sha1", "crc32", "sha256")
    assert declared.told(("sha1",)) == ("sha1", "crc32")
    assert declared_digests({}, sha256(b"")).told() == ()


def test_headers_about_checksums_are_no_checksums():
    headers = {
        "x-amz-checksum-mode": "ENABLED",
        "x-amz-checksum-type": "FULL_OBJECT",
        "x-amz-checksum-algorithm": "CRC32",
    }
    assert declared_digests(headers, UNSIGNED_PAYLOAD) == DeclaredDigests()


names = st.sampled_from(
    [
        "content-md5",
        "x-amz-trailer",
        "x-amz-sdk-checksum-algorithm",
        *(f"x-amz-checksum-{name}" for name in ALGORITHMS),
    ]
)
values = st.sampled_from([CRC, "CRC32", "x-amz-checksum-crc32", "", md5(b"")]) | st.text(
    st.characters(max_codepoint=255), max_size=30
)


@given(
    st.dictionaries(names, values, max_size=4),
    st.sampled_from([UNSIGNED_PAYLOAD, sha256(b"")]),
    st.binary(max_size=4),
)
def test_any_headers_declare_something_or_raise_a_domain_error(headers, payload, body):
    declared = outcome(declared_digests, headers, payload)
    if isinstance(declared, DeclaredDigests):
        verified = outcome(verify_body, declared, body, {"x-amz-checksum-crc32": CRC})
        assert verified is None or isinstance(verified, ApplianceError)
    else:
        assert isinstance(declared, ApplianceError)


# --- of a whole object, at completion --------------------------------------------------------------


def part(number, data, algorithms):
    return PartInfo(
        number=number,
        size=len(data),
        etag="",
        modified_ns=0,
        checksums={name: checksum(name, data) for name in algorithms},
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_objects_checksum_must_follow_from_its_parts(algorithm):
    chunks = [b"first", b"", b"third" * 100]
    parts = [part(number, data, [algorithm]) for number, data in enumerate(chunks, 1)]
    values = [one.checksums[algorithm] for one in parts]
    name = f"x-amz-checksum-{algorithm}"
    truth = composite(algorithm, values)
    for declared in (truth, f"{truth}-3"):
        check_object_checksum({name: declared}, "COMPOSITE", parts)
    for declared in ("bad", f"{truth}-2", checksum(algorithm, b"")):
        with pytest.raises(ChecksumMismatchError):
            check_object_checksum({name: declared}, "COMPOSITE", parts)
    with pytest.raises(InvalidPartError):
        check_object_checksum({name: truth}, "COMPOSITE", [part(1, b"a", [])])
    check_object_checksum({}, "COMPOSITE", [])


@pytest.mark.parametrize("algorithm", ["crc32", "crc32c", "crc64nvme"])
@given(chunks=st.lists(st.binary(max_size=50), min_size=1, max_size=5))
def test_a_full_object_checksum_is_that_of_the_bytes(algorithm, chunks):
    parts = [part(number, data, [algorithm]) for number, data in enumerate(chunks, 1)]
    whole = checksum(algorithm, b"".join(chunks))
    assert full_object(algorithm, [(one.checksums[algorithm], one.size) for one in parts]) == whole
    check_object_checksum({f"x-amz-checksum-{algorithm}": whole}, "FULL_OBJECT", parts)


def test_the_checksum_of_a_completion_is_not_of_its_document():
    declared = declared_digests(
        {"x-amz-checksum-sha256": "bad"}, UNSIGNED_PAYLOAD, checksum_is_of_body=False
    )
    assert declared == DeclaredDigests()
