"""Verification of presigned URLs of Signature Version 2. Pure: `now` is an argument.

boto3, aws-cli (version 1), fsspec and s3cmd still make such URLs by default for the regions that AWS had before 2014, us-east-1 among them:
software that hands out links would notice if they did not work. Requests signed by header in Version 2 are refused, nobody makes them.

The scheme signs the path, the headers x-amz-*, Content-MD5 and Content-Type, and of the query only the parameters it knows. Here a query
that holds any other parameter is refused: otherwise whoever holds a URL could turn it into another operation by a parameter that is younger
than the scheme. https://docs.aws.amazon.com/AmazonS3/latest/API/RESTAuthentication.html
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from urllib.parse import quote_from_bytes, unquote

from appliance.auth.canonical import normal_path
from appliance.auth.credentials import Credentials, CredentialStore
from appliance.auth.errors import (
    AuthorizationQueryError,
    InvalidAccessKeyError,
    RequestExpiredError,
    SecurityTokenError,
    SignatureMismatchError,
)
from appliance.auth.signing import equal

EXPIRES_MAX_S = 7 * 24 * 3600

# Parameters that name what is done, or change the answer: signed with their values.
_SIGNED_NAMES = (
    "acl accelerate analytics cors defaultObjectAcl delete inventory lifecycle location logging metrics notification object-lock "
    "partNumber policy replication requestPayment restore select select-type storageClass tagging torrent uploadId uploads "
    "versionId versioning versions website response-cache-control response-content-disposition response-content-encoding "
    "response-content-language response-content-type response-expires"
)
_SIGNED = frozenset(_SIGNED_NAMES.split(" "))
_OWN = frozenset({"AWSAccessKeyId", "Signature", "Expires"})
# botocore puts these there, but what counts (and is signed) is the header.
_HEADERS_TOO = frozenset({"content-type", "content-md5"})
_EXPIRES = re.compile(r"[0-9]{1,12}\Z")


def is_presigned_v2(query: str) -> bool:
    """Whether a raw query claims to be signed this way."""
    return "AWSAccessKeyId=" in query and "Signature=" in query and "X-Amz-Algorithm=" not in query


def verify_presigned_v2(
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    store: CredentialStore,
    *,
    now_s: int,
    host_bucket: str = "",
) -> tuple[Credentials, str]:
    """Whose URL this is, and its signature. `path` and `query` are raw; `host_bucket` is the bucket that the host named, if it did.

    Raises AuthError of the fitting kind.
    """
    parameters = [(name, _decoded(value)) for name, value in _split(query)]
    own = _own_fields(parameters)
    _check_covered(parameters, headers)
    _check_expiry(own["Expires"], now_s)
    credentials = store.lookup(own["AWSAccessKeyId"])
    if credentials is None:
        raise InvalidAccessKeyError(AWSAccessKeyId=own["AWSAccessKeyId"])
    prefix = f"/{host_bucket}" if host_bucket else ""
    head = _head_to_sign(method, own["Expires"], headers)
    tail = _signed_query(parameters)
    text = f"{head}{prefix}{path}{tail}"
    if not _is_signed(credentials, text, own["Signature"]):
        # Not as it was sent: then as the specification says; see `appliance.auth.canonical`.
        text = f"{head}{prefix}{normal_path(path)}{tail}"
        if not _is_signed(credentials, text, own["Signature"]):
            raise SignatureMismatchError(
                AWSAccessKeyId=credentials.access_key,
                StringToSign=text,
                SignatureProvided=own["Signature"],
            )
    return credentials, own["Signature"]


def _is_signed(credentials: Credentials, text: str, claimed: str) -> bool:
    digest = hmac.digest(credentials.secret_key.encode(), text.encode("latin-1"), hashlib.sha1)
    return equal(base64.b64encode(digest).decode("ascii"), claimed)


def _split(query: str) -> list[tuple[str, str]]:
    pairs = (item.partition("=") for item in query.split("&") if item)
    return [(name, value) for name, _, value in pairs]


def _decoded(value: str) -> str:
    return unquote(value, "latin-1") if "%" in value else value


def _own_fields(parameters: list[tuple[str, str]]) -> dict[str, str]:
    """The three that are about the signature, once each."""
    own = {name: value for name, value in parameters if name in _OWN and value}
    if len(own) != len(_OWN) or sum(name in _OWN for name, _ in parameters) != len(_OWN):
        raise AuthorizationQueryError(
            "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters, once each."
        )
    return own


def _check_covered(parameters: list[tuple[str, str]], headers: Mapping[str, str]) -> None:
    """Nothing may count that was not signed. Raises SignatureMismatchError, SecurityTokenError."""
    names = {name for name, _ in parameters}
    if "x-amz-security-token" in names or "x-amz-security-token" in headers:
        raise SecurityTokenError("Session tokens are not supported here: sign with long-term keys.")
    for name, value in parameters:
        known = name in _SIGNED or name in _OWN or name in _HEADERS_TOO
        # A header that botocore repeats in the URL counts where it is sent, as that is signed.
        repeated = name.startswith("x-amz-") and headers.get(name) == value
        if not known and not repeated:
            raise SignatureMismatchError(
                f"Signature Version 2 does not cover the parameter {quote_from_bytes(name.encode('latin-1'))}: sign with AWS4-HMAC-SHA256."
            )


def _check_expiry(expires: str, now_s: int) -> None:
    if not _EXPIRES.match(expires):
        raise AuthorizationQueryError(
            "Expires must be a number: seconds since 1970-01-01T00:00:00Z."
        )
    if int(expires) < now_s:
        raise RequestExpiredError(Expires=expires, ServerTime=str(now_s))
    if int(expires) > now_s + EXPIRES_MAX_S:
        raise AuthorizationQueryError("Expires must be less than a week from now.")


def _head_to_sign(method: str, expires: str, headers: Mapping[str, str]) -> str:
    lines = [method, headers.get("content-md5", ""), headers.get("content-type", ""), expires]
    lines += sorted(f"{name}:{headers[name]}" for name in headers if name.startswith("x-amz-"))
    return "\n".join(lines) + "\n"


def _signed_query(parameters: list[tuple[str, str]]) -> str:
    """Sorted by name; values decoded; without "=" where there is no value."""
    signed = sorted(item for item in parameters if item[0] in _SIGNED)
    texts = [f"{name}={value}" if value else name for name, value in signed]
    return "?" + "&".join(texts) if texts else ""
