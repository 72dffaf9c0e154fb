"""What is fuzzed: bytes from a client into the pure part of the S3 endpoint. A value or a domain error comes out, nothing else.

Each target takes any bytes. It also checks what must hold of the result: pieces decode as the whole does, what was parsed and rendered is
parsed to the same again, an error's document is XML. `SEEDS` shows a fuzzer what the bytes look like.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable, Iterable
from xml.etree import ElementTree as ET

from appliance.auth.credentials import make_credentials
from appliance.auth.errors import AuthError
from appliance.auth.identity import Authentication
from appliance.auth.sigv4 import (
    STREAMING_SIGNED,
    STREAMING_SIGNED_TRAILER,
    STREAMING_UNSIGNED_TRAILER,
    Verifier,
)
from appliance.model.errors import ApplianceError
from appliance.model.objects import ObjectInfo
from appliance.policy.access.bucket import BucketAccess
from appliance.policy.access.decide import Allow, Caller, Deny, Facts, decide
from appliance.policy.access.document import Policy, load_policy, parse_policy
from appliance.s3.http.chunked import ChunkedDecoder as HttpChunkedDecoder
from appliance.s3.http.head import parse_head
from appliance.s3.wire import digest, headers, listing, options, post_policy
from appliance.s3.wire.actions import needs_of
from appliance.s3.wire.bucket_listing import buckets_query
from appliance.s3.wire.chunked import decoder_for
from appliance.s3.wire.cors import parse_cors, preflight, render_cors, shared_with
from appliance.s3.wire.errors import error_response
from appliance.s3.wire.form import FormDecoder
from appliance.s3.wire.grants import Grantees, acl_of_headers
from appliance.s3.wire.request import S3Request, parse_request
from appliance.s3.wire.request_keys import RequestKeys
from appliance.s3.wire.versions import checked_version_id
from appliance.s3.wire.xml import access, parse, render
from tests.support.root_credentials import RootCredentials

Target = Callable[[bytes], None]

SECRET = b"seals"
ROOT = make_credentials("AKROOT0000000000TEST", "a-secret-of-some-length")
NOW_NS = 1_800_000_000 * 10**9
INFO = ObjectInfo(
    key="key", size=1000, etag="0" * 32, version="1", modified_ns=NOW_NS, part_sizes=(600, 400)
)
_verifier = Verifier(RootCredentials(ROOT))
OWNER = ROOT.identity.account_id
_grantees = Grantees(lambda account: account == OWNER, lambda _: "")


def attempt(function: Callable[..., object], *arguments: object) -> object:
    """The value; None where a domain error comes, whose answer to the client must be XML."""
    try:
        return function(*arguments)
    except ApplianceError as error:
        answer = error_response(error, resource="/b/k", request_id="R", host_id="H")
        if answer.body:
            ET.fromstring(answer.body)  # noqa: S314  # our own document
        return None


# Every kind of condition there is, on everything that can be asked.
_HEAD = parse_head(b"GET /bucket/key?versionId=1 HTTP/1.1\r\nHost: x\r\nReferer: y\r\n\r\n")
_POLICY = parse_policy(
    json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": effect,
                    "Principal": "*",
                    "Action": "s3:*",
                    "Resource": "arn:aws:s3:::bucket/*",
                    "Condition": {operator: {key: value}},
                }
                for effect in ("Allow", "Deny")
                for operator, key, value in (
                    ("StringLike", "s3:prefix", "a*b?c"),
                    ("StringEquals", "s3:x-amz-copy-source", "bucket/key"),
                    ("StringEquals", "s3:RequestObjectTag/a", "b"),
                    ("NumericLessThan", "s3:max-keys", "10"),
                    ("IpAddress", "aws:SourceIp", "10.0.0.0/8"),
                    ("Null", "s3:x-amz-acl", "true"),
                )
            ],
        }
    ).encode(),
    "bucket",
    lambda _: "",
)

# --- requests --------------------------------------------------------------------


def request(data: bytes) -> None:
    """A head: request line and headers."""
    head = attempt(parse_head, data + b"\r\n\r\n")
    if head is None:
        return
    parsed = attempt(parse_request, head.request, ("s3.test",))
    with contextlib.suppress(AuthError):
        _verifier.verify(
            head.request.method, head.request.target, head.request.headers, now_ns=NOW_NS
        )
    if parsed is not None:
        _read_headers(parsed)
        _read_query(parsed)
        _judge(parsed)


_HEADER_READERS: tuple[Callable[..., object], ...] = (
    headers.conditions,
    headers.copy_conditions,
    headers.range_spec,
    headers.copy_source_range,
    headers.copy_source,
    options.put_options,
    options.upload_options,
    options.copy_directives,
    options.refuse_unsupported,
    digest.declared_checksum,
    lambda found: digest.declared_digests(found, "UNSIGNED-PAYLOAD"),
    lambda found: acl_of_headers(found, OWNER, OWNER, _grantees),
    lambda found: headers.if_range_holds(found, INFO),
)


def _read_headers(parsed: S3Request) -> None:
    for reader in _HEADER_READERS:
        attempt(reader, parsed.headers)
    conditions = attempt(headers.conditions, parsed.headers)
    if conditions is not None:
        attempt(conditions.check_read, INFO)
        attempt(conditions.check_write, INFO)
    spec = attempt(headers.range_spec, parsed.headers)
    if spec is not None:
        found = attempt(spec.resolve, INFO.size)
        assert found is None or 0 <= found.offset < found.end <= INFO.size


def _read_query(parsed: S3Request) -> None:
    query = parsed.query
    attempt(listing.list_query_v1, parsed.bucket, query)
    attempt(listing.list_query_v2, parsed.bucket, query, SECRET)
    attempt(listing.list_query_versions, parsed.bucket, query)
    attempt(listing.uploads_query, parsed.bucket, query)
    attempt(listing.parts_query, query)
    attempt(listing.part_number, query)
    attempt(headers.response_overrides, query)
    attempt(buckets_query, query, ROOT.identity.account_id, SECRET)
    forged = query.get("uploadId", "")
    assert attempt(listing.opened_upload_id, forged, parsed.bucket, parsed.key, SECRET) is None
    attempt(checked_version_id, query.get("versionId", ""))


def _authentication(payload: str = "") -> Authentication:
    return Authentication(
        identity=ROOT.identity,
        payload=payload,
        presigned=False,
        signature="0" * 64,
        signing_key=b"k" * 32,
        scope="20270115/us-east-1/s3/aws4_request",
        timestamp="20270115T080000Z",
    )


def _judge(parsed: S3Request, policy: Policy = _POLICY) -> None:
    """Whatever is asked, by the owner or another, something is decided."""
    place = BucketAccess(owner=OWNER, policy=policy)
    keys = RequestKeys(
        request=parsed, authentication=_authentication(), now_ns=NOW_NS, bucket_owner=OWNER
    )
    for need in needs_of(parsed):
        for caller in (Caller(OWNER), Caller("b" * 64), Caller("")):
            facts = Facts(
                caller=caller,
                need=need,
                bucket=place,
                resource=f"{parsed.bucket}/{parsed.key}".rstrip("/"),
                keys=keys,
            )
            assert isinstance(decide(facts), Allow | Deny)


# --- documents -------------------------------------------------------------------

_DOCUMENTS: tuple[tuple[Callable[..., object], Callable[..., bytes] | None], ...] = (
    (parse.parse_complete_multipart_upload, None),
    (parse.parse_delete, None),
    (parse.parse_create_bucket, None),
    (parse.parse_versioning, render.versioning),
    (parse.parse_tagging, render.tagging),
    (parse.parse_bucket_tagging, render.tagging),
    (parse_cors, render_cors),
    (lambda body: access.parse_acl(body, _grantees), None),
    (access.parse_ownership, access.ownership),
    (access.parse_public_access_block, access.public_access_block),
)


def document(data: bytes) -> None:
    """XML, to every parser. What one takes and another renders, it takes again."""
    for parser, renderer in _DOCUMENTS:
        value = attempt(parser, data)
        if value is not None and renderer is not None:
            assert parser(renderer(value)) == value


def cors(data: bytes) -> None:
    """Rules, and a browser's headers after a line of its own."""
    body, _, rest = data.partition(b"\n\n")
    rules = attempt(parse_cors, body)
    lines = (line.partition(b":") for line in rest.split(b"\n"))
    given = {name.decode("latin-1").lower(): value.decode("latin-1") for name, _, value in lines}
    attempt(preflight, rules, given)
    if rules is not None and "origin" in given:
        attempt(shared_with, rules, "GET", given)


def policy(data: bytes) -> None:
    """A bucket policy: what is accepted can be stored, read again, and decided by."""
    found = attempt(parse_policy, data, "bucket", lambda name: name if len(name) == 64 else "")
    if found is None:
        return
    assert load_policy(found.encode(), "bucket").public == found.public
    _judge(parse_request(_HEAD.request), found)


def form_policy(data: bytes) -> None:
    """The policy of a browser's form."""
    found = attempt(post_policy.parse_policy, base64.b64encode(data).decode())
    if found is not None:
        attempt(found.check, {"key": "k", "acl": "private"}, "bucket", 1_800_000_000.0)


# --- bodies in pieces --------------------------------------------------------------


def _pieces(data: bytes) -> tuple[int, bytes]:
    """How large the pieces are that something arrives in, and what arrives."""
    return (data[0] % 64 + 1 if data else 1), data[1:]


def _decoded(decoder: object, pieces: Iterable[bytes]) -> tuple[bytes, str]:
    """What a decoder gave before it ended or failed, and the name of the error."""
    out = bytearray()
    try:
        for piece in pieces:
            for view in decoder.feed(piece):
                out += view
        decoder.finish()
    except ApplianceError as error:
        return bytes(out), type(error).__name__
    return bytes(out), ""


def _same_in_pieces(make: Callable[[], object], data: bytes) -> None:
    size, body = _pieces(data)
    whole, error = _decoded(make(), [body])
    cut, error_cut = _decoded(make(), [body[at : at + size] for at in range(0, len(body), size)])
    assert error == error_cut, (error, error_cut)
    # What came before an error may have been told already, or not yet.
    assert (whole == cut) if not error else cut.startswith(whole)


def aws_chunked(data: bytes) -> None:
    """Bodies in aws-chunked coding, signed and not."""
    for payload in (STREAMING_SIGNED, STREAMING_SIGNED_TRAILER, STREAMING_UNSIGNED_TRAILER):
        trailer = {} if payload == STREAMING_SIGNED else {"x-amz-trailer": "x-amz-checksum-crc32"}
        fields = {"x-amz-decoded-content-length": "5", **trailer}
        _same_in_pieces(lambda: decoder_for(_authentication(payload), fields), data)  # noqa: B023


def http_chunked(data: bytes) -> None:
    """Transfer-Encoding: chunked."""

    def read(pieces: Iterable[bytes]) -> tuple[bytes, bool, str]:
        decoder, out = HttpChunkedDecoder(), b""
        for piece in pieces:
            decoder.feed(piece)
            with contextlib.suppress(ApplianceError):
                while taken := decoder.take(1000):
                    out += taken
        return out, decoder.ended, decoder.failure

    size, body = _pieces(data)
    whole = read([body])
    assert whole == read(body[at : at + size] for at in range(0, len(body), size))


def form(data: bytes) -> None:
    """A browser's form, with the boundary `b`."""
    _same_in_pieces(lambda: FormDecoder(b"b"), data)


TARGETS: dict[str, Target] = {
    "request": request,
    "document": document,
    "cors": cors,
    "policy": policy,
    "form-policy": form_policy,
    "aws-chunked": aws_chunked,
    "http-chunked": http_chunked,
    "form": form,
}
