"""The worked examples in AWS's documentation of Signature Version 4 for S3: their signatures verify here.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html (and sigv4-query-string-auth, sigv4-streaming).
"""

import calendar

import pytest

from appliance.auth.credentials import Credentials
from appliance.auth.identity import Identity
from appliance.auth.sigv4 import (
    STREAMING_SIGNED,
    STREAMING_SIGNED_TRAILER,
    UNSIGNED_PAYLOAD,
    Verifier,
)
from appliance.s3.wire.chunked import ChunkedDecoder, decoder_for
from tests.support.root_credentials import RootCredentials

ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
SCOPE = f"{ACCESS_KEY}/20130524/us-east-1/s3/aws4_request"
TIMESTAMP = "20130524T000000Z"
NOW_NS = calendar.timegm((2013, 5, 24, 0, 0, 0)) * 10**9
HOST = "examplebucket.s3.amazonaws.com"
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.fixture
def verifier():
    identity = Identity(account_id="1" * 64, display_name="root", access_key=ACCESS_KEY)
    return Verifier(RootCredentials(Credentials(ACCESS_KEY, SECRET_KEY, identity)))


def signed(headers, names, signature):
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={SCOPE},SignedHeaders={names},Signature={signature}"
    )
    return headers | {"authorization": authorization}


PUBLISHED = {
    "GET object": (
        "GET",
        b"/test.txt",
        signed(
            {
                "host": HOST,
                "range": "bytes=0-9",
                "x-amz-content-sha256": EMPTY,
                "x-amz-date": TIMESTAMP,
            },
            "host;range;x-amz-content-sha256;x-amz-date",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
    ),
    # Sent with a "$" that is not encoded, and dated by the Date header only.
    "PUT object": (
        "PUT",
        b"/test$file.text",
        signed(
            {
                "host": HOST,
                "date": "Fri, 24 May 2013 00:00:00 GMT",
                "x-amz-date": TIMESTAMP,
                "x-amz-storage-class": "REDUCED_REDUNDANCY",
                "x-amz-content-sha256": "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
            },
            "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
    ),
    "GET bucket lifecycle": (
        "GET",
        b"/?lifecycle",
        signed(
            {"host": HOST, "x-amz-content-sha256": EMPTY, "x-amz-date": TIMESTAMP},
            "host;x-amz-content-sha256;x-amz-date",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
    ),
    "list objects": (
        "GET",
        b"/?max-keys=2&prefix=J",
        signed(
            {"host": HOST, "x-amz-content-sha256": EMPTY, "x-amz-date": TIMESTAMP},
            "host;x-amz-content-sha256;x-amz-date",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_request_verifies(verifier, name):
    method, target, headers = PUBLISHED[name]
    result = verifier.verify(method, target, headers, now_ns=NOW_NS)
    assert result.identity.access_key == ACCESS_KEY
    assert not result.presigned


def test_the_published_presigned_request_verifies(verifier):
    target = (
        b"/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        b"&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        b"&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        b"&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )
    result = verifier.verify("GET", target, {"host": HOST}, now_ns=NOW_NS)
    assert result.presigned
    assert result.payload == UNSIGNED_PAYLOAD


def test_the_published_signed_chunks_verify(verifier):
    headers = {
        "host": "s3.amazonaws.com",
        "content-encoding": "aws-chunked",
        "content-length": "66824",
        "x-amz-content-sha256": STREAMING_SIGNED,
        "x-amz-date": TIMESTAMP,
        "x-amz-decoded-content-length": "66560",
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
    }
    headers = signed(
        headers,
        "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class",
        "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
    )
    result = verifier.verify("PUT", b"/examplebucket/chunkObject.txt", headers, now_ns=NOW_NS)
    body = (
        b"10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n"
        + b"a" * 65536
        + b"\r\n400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n"
        + b"a" * 1024
        + b"\r\n0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n"
    )
    assert len(body) == 66824
    decoder = decoder_for(result, headers)
    payload = b"".join(decoder.feed(body))
    decoder.finish()
    assert payload == b"a" * 66560


def test_the_published_signed_trailer_verifies(verifier):
    headers = {
        "host": "s3.amazonaws.com",
        "content-encoding": "aws-chunked",
        "x-amz-content-sha256": STREAMING_SIGNED_TRAILER,
        "x-amz-date": TIMESTAMP,
        "x-amz-decoded-content-length": "66560",
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
        "x-amz-trailer": "x-amz-checksum-crc32c",
    }
    headers = signed(
        headers,
        "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer",
        "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
    )
    result = verifier.verify("PUT", b"/examplebucket/chunkObject.txt", headers, now_ns=NOW_NS)
    body = (
        b"10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n"
        + b"a" * 65536
        + b"\r\n400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n"
        + b"a" * 1024
        + b"\r\n0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n"
        + b"x-amz-checksum-crc32c:sOO8/Q==\r\n"
        + b"x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n"
    )
    decoder = ChunkedDecoder(
        result, decoded_length=66560, trailer_names=frozenset({"x-amz-checksum-crc32c"})
    )
    payload = b"".join(decoder.feed(body))
    decoder.finish()
    assert payload == b"a" * 66560
    assert decoder.trailers == {"x-amz-checksum-crc32c": "sOO8/Q=="}
