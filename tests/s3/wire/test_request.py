"""Targets and headers to bucket, key and query, exactly as S3 reads them."""

from urllib.parse import quote, quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model.errors import ApplianceError, InvalidBucketNameError
from appliance.model.names import key_text
from appliance.s3.wire.errors import (
    HeadersTooLargeError,
    InvalidArgumentValueError,
    InvalidHeaderError,
    InvalidUriError,
    UriTooLongError,
)
from appliance.s3.wire.operations import METHODS, Operation
from appliance.s3.wire.request import (
    HEADERS_MAX,
    TARGET_BYTES_MAX,
    Request,
    bucket_of_host,
    fold_headers,
    parse_query,
    parse_request,
)


def parse(target, method="GET", domains=(), **headers):
    request = Request(method=method, target=target, headers={"host": "h", **headers})
    return parse_request(request, domains)


@pytest.mark.parametrize(
    ("target", "bucket", "key"),
    [
        (b"/", "", ""),
        (b"/b", "b", ""),
        (b"/b/", "b", ""),
        (b"/b/k", "b", "k"),
        (b"/b/a+b", "b", "a+b"),
        (b"/b/a%20b%2Bc", "b", "a b+c"),
        (b"/b/a%2Fb", "b", "a/b"),
        (b"/b/../../etc/passwd", "b", "../../etc/passwd"),
        (b"/b/a//b", "b", "a//b"),
        (b"/b//a", "b", "/a"),
        (b"/b/./a/", "b", "./a/"),
        (b"/b/100%", "b", "100%"),
        (b"/b/%zz", "b", "%zz"),
        (b"/b/%C3%A9", "b", "é"),
        (b"/b/\xc3\xa9", "b", "é"),
        (b"/b/%FF", "b", "\udcff"),
        (b"/b/k;x=1", "b", "k;x=1"),
        (b"/b/k%3Fx", "b", "k?x"),
        (b"/b/k#f", "b", "k#f"),
        (b"http://h/b/k", "b", "k"),
        (b"HTTPS://h:1?list-type=2", "", ""),
        (b"http://h", "", ""),
    ],
)
def test_a_path_names_bucket_and_key(target, bucket, key):
    parsed = parse(target)
    assert (parsed.bucket, parsed.key) == (bucket, key)


@given(st.binary(min_size=1, max_size=60))
def test_any_key_round_trips(raw):
    parsed = parse(b"/b/" + quote_from_bytes(raw, safe="").encode())
    assert parsed.key == key_text(raw)


@pytest.mark.parametrize(
    ("target", "error"),
    [
        (b"", InvalidUriError),
        (b"*", InvalidUriError),
        (b"b/k", InvalidUriError),
        (b"ftp://h/b", InvalidUriError),
        (b"http:///b", InvalidUriError),
        (b"/b k", InvalidUriError),
        (b"/b/k\nx", InvalidUriError),
        (b"/b/\x00", InvalidUriError),
        (b"//k", InvalidBucketNameError),
        (b"//", InvalidBucketNameError),
        (b"/" + b"a" * TARGET_BYTES_MAX, UriTooLongError),
    ],
)
def test_a_target_that_is_none_is_refused(target, error):
    with pytest.raises(error):
        parse(target)


def test_a_bucket_may_be_in_the_host():
    parsed = parse(b"/k/l?acl", domains=("s3.test",), host="My.Bucket.s3.test:9000")
    assert (parsed.bucket, parsed.key, parsed.virtual_host) == ("my.bucket", "k/l", True)
    assert parsed.operation is Operation.GetObjectAcl
    parsed = parse(b"/b/k", domains=("s3.test",), host="s3.test")
    assert (parsed.bucket, parsed.key, parsed.virtual_host) == ("b", "k", False)


@pytest.mark.parametrize(
    ("host", "bucket"),
    [
        ("b.s3.test", "b"),
        ("b.s3.test:80", "b"),
        ("s3.test:80", ""),
        ("xs3.test", ""),
        ("other", ""),
        ("[::1]", ""),
        ("[::1]:9000", ""),
        ("10.0.0.1:9000", ""),
        ("b.s3.test:x", ""),
        (".s3.test", ""),
        ("", ""),
    ],
)
def test_only_configured_domains_hold_buckets(host, bucket):
    assert bucket_of_host(host, ("s3.test",)) == bucket


def test_a_query_keeps_order_and_blanks_and_its_first_values():
    query = parse_query(b"b=1&a&c=&b=2&&=x&d=+%2B%20&e=%C3%A9=&%66=%ff")
    assert list(query.items()) == [
        ("b", "1"), ("a", ""), ("c", ""), ("d", " + "), ("e", "é="), ("f", "\udcff"),
    ]  # fmt: skip


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=8), max_size=5))
def test_any_query_round_trips(query):
    def enc(text):
        return quote(text, safe="", errors="surrogatepass")

    try:
        raw = "&".join(f"{enc(name)}={enc(value)}" for name, value in query.items()).encode()
        list(map(str.encode, [*query, *query.values()]))
    except UnicodeEncodeError:
        return
    assert parse_query(raw) == query


def test_presigned_headers_in_the_query_count_as_headers():
    target = b"/b/k?X-Amz-Signature=0&X-Amz-Date=d&x-amz-meta-a=1%2B1&X-Amz-Acl=private&x-amz-copy-source=%2Fb%2Fk"
    parsed = parse(target, "PUT", **{"x-amz-acl": "public-read"})
    assert parsed.operation is Operation.CopyObject
    assert parsed.headers == {
        "host": "h",
        "x-amz-acl": "public-read",
        "x-amz-meta-a": "1+1",
        "x-amz-copy-source": "/b/k",
    }
    assert "x-amz-meta-a" not in parsed.request.headers


def test_without_a_signature_in_the_query_they_do_not():
    assert parse(b"/b/k?x-amz-meta-a=1").headers == {"host": "h"}


# --- headers -----------------------------------------------------------------------------------------


def test_headers_fold():
    pairs = [
        (b"Host", b" h "),
        (b"X-Amz-Meta-A", b"1"),
        (b"x-amz-meta-a", b"2\t"),
        (b"E", b"\xc3\xa9"),
    ]
    assert fold_headers(pairs) == {"host": "h", "x-amz-meta-a": "1,2", "e": "Ã©"}


@pytest.mark.parametrize("name", [b"Host", b"content-length", b"AUTHORIZATION", b"content-md5"])
def test_headers_that_decide_must_be_single(name):
    with pytest.raises(InvalidHeaderError):
        fold_headers([(name, b"1"), (name.lower(), b"1")])


def test_headers_are_bounded():
    assert len(fold_headers((b"h%d" % n, b"") for n in range(HEADERS_MAX))) == HEADERS_MAX
    for pairs in ([(b"h", b"")] * (HEADERS_MAX + 1), [(b"h", b"x" * 40_000)]):
        with pytest.raises(HeadersTooLargeError):
            fold_headers(pairs)


# --- anything at all -------------------------------------------------------------------------------------

SCRAPS = st.sampled_from(
    [
        b"/",
        b"?",
        b"&",
        b"=",
        b"%",
        b"+",
        b"b",
        b"acl",
        b"uploadId",
        b"uploads",
        b"list-type=2",
        b"http://",
        b"X-Amz-Signature",
    ]
)


@given(
    st.sampled_from(sorted(METHODS)) | st.text(max_size=8),
    st.lists(SCRAPS | st.binary(max_size=12), max_size=12).map(b"".join),
    st.sampled_from(["", "h", "b.h", "h:9", "[::1]:1"]) | st.text(max_size=12),
)
def test_whatever_comes_is_a_request_or_a_domain_error(method, tail, host):
    for target in (tail, b"/" + tail):
        try:
            parsed = parse(target, method, domains=("h",), host=host)
        except ApplianceError:
            continue
        assert isinstance(parsed.operation, Operation)
        assert bool(parsed.key) <= bool(parsed.bucket)


@pytest.mark.parametrize("query", [b"partNumber=1&partNumber=2", b"uploadId=a&x&uploadId=b", b"prefix&pre%66ix=a"])  # fmt: skip
def test_a_parameter_that_decides_must_not_come_twice(query):
    with pytest.raises(InvalidArgumentValueError, match="twice"):
        parse(b"/b/k?" + query)
    assert parse(b"/b/k?x=1&x=2").query == {"x": "1"}
