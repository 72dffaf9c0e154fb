"""Fields of a browser's form as the headers that a PutObject would have had, and as what to answer. Pure.

https://docs.aws.amazon.com/AmazonS3/latest/API/RESTObjectPOST.html
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode, urlsplit

from appliance.model.names import key_bytes
from appliance.s3.wire.errors import InvalidArgumentValueError
from appliance.s3.wire.xml.parse import parse_tagging
from appliance.s3.wire.xml.text import element

_HEADERS = frozenset(
    ["cache-control", "content-type", "content-disposition", "content-encoding", "content-md5", "expires"]
)  # fmt: skip
_ABOUT_SIGNATURE = frozenset(
    f"x-amz-{name}" for name in ("algorithm", "credential", "date", "signature", "security-token")
)
_STATUSES = {"200": 200, "201": 201, "204": 204}
_FILENAME = "${filename}"


def key_of(fields: Mapping[str, str], filename: str) -> str:
    """The key, with the file's name in it where the form wants that. Raises InvalidArgumentValueError."""
    key = fields.get("key", "")
    if not key:
        raise InvalidArgumentValueError(
            "Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields.",
            "key",
            "",
        )
    # Some browsers send the path of the file on its user's disk.
    name = filename.rpartition("/")[2].rpartition("\\")[2]
    return key.replace(_FILENAME, name)


def put_headers(fields: Mapping[str, str]) -> dict[str, str]:
    """Headers of the PutObject that the form amounts to. Raises InvalidArgumentValueError, and as `parse_tagging`."""
    headers = {
        name: _header_value(name, value)
        for name, value in fields.items()
        if name in _HEADERS or (name.startswith("x-amz-") and name not in _ABOUT_SIGNATURE)
    }
    if "acl" in fields:
        headers["x-amz-acl"] = _header_value("acl", fields["acl"])
    if "tagging" in fields:
        tags = parse_tagging(key_bytes(fields["tagging"]))
        headers["x-amz-tagging"] = urlencode(tags, quote_via=quote)
    return headers


def _header_value(name: str, value: str) -> str:
    """Bytes as latin-1, as headers come."""
    if any(character < " " or character == "\x7f" for character in value):
        raise InvalidArgumentValueError("A field of the form holds a control character.", name, "")
    return key_bytes(value.strip(" ")).decode("latin-1")


def success_status(fields: Mapping[str, str]) -> int:
    """200, 201 or 204, which is what anything else amounts to."""
    return _STATUSES.get(fields.get("success_action_status", ""), 204)


def success_redirect(fields: Mapping[str, str], bucket: str, key: str, etag: str) -> str:
    """Where to send the browser; "" where the form does not say, or it is no URL."""
    url = fields.get("success_action_redirect") or fields.get("redirect") or ""
    if not url.isascii() or not url.isprintable() or " " in url:
        return ""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        return ""
    told = urlencode(
        {"bucket": bucket, "key": key_bytes(key), "etag": f'"{etag}"'}, quote_via=quote
    )
    return parts._replace(query=f"{parts.query}&{told}" if parts.query else told).geturl()


def post_response(location: str, bucket: str, key: str, etag: str) -> bytes:
    """PostResponse, which has no namespace."""
    rows = (
        element("Location", location),
        element("Bucket", bucket),
        element("Key", key),
        element("ETag", f'"{etag}"'),
    )
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<PostResponse>{"".join(rows)}</PostResponse>'.encode()
