"""Cross-origin resource sharing: a bucket's rules, which of them fits a browser's request, and what to tell the browser. Pure.

The first rule that allows origin, method and headers counts. CORS gives no access to anything: it tells browsers which pages may see
answers that the account was entitled to anyway.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/ManageCorsUsing.html and https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from appliance.s3.wire.errors import (
    BadRequestError,
    CorsRefusedError,
    InvalidRequestError,
    MalformedXmlError,
)
from appliance.s3.wire.response import Headers
from appliance.s3.wire.xml.text import document, element
from appliance.s3.wire.xml.tree import Node, parse_tree

METHODS = frozenset({"GET", "PUT", "POST", "DELETE", "HEAD"})
RULES_MAX = 100
DOCUMENT_BYTES_MAX = 64 * 1024
_ID_CHARS_MAX = 255
_AGE_S_MAX = 2**31 - 1
# Headers that a preflight may ask about: anybody may send one, and each is held against every pattern.
_ASKED_MAX = 100
_MANY = frozenset({"AllowedOrigin", "AllowedMethod", "AllowedHeader", "ExposeHeader"})
_ONCE = frozenset({"ID", "MaxAgeSeconds"})
# What a cache between must not answer another request with.
_VARY = ("Vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method")


class CorsRule(msgspec.Struct, frozen=True, kw_only=True):
    """`origins` and `headers` may hold one "*" each; `max_age_s` is how long browsers may keep the answer."""

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    max_age_s: int | None = None
    name: str = ""

    def allows(self, origin: str, method: str, headers: Sequence[str]) -> bool:
        """`headers` are lower-case."""
        return (
            method in self.methods
            and any(_fits(pattern, origin) for pattern in self.origins)
            and all(
                any(_fits(pattern.lower(), name) for pattern in self.headers) for name in headers
            )
        )


def _fits(pattern: str, value: str) -> bool:
    before, star, after = pattern.partition("*")
    if not star:
        return value == pattern
    return (
        len(value) >= len(before) + len(after)
        and value.startswith(before)
        and value.endswith(after)
    )


# --- the document --------------------------------------------------------------------------------


def parse_cors(body: bytes) -> tuple[CorsRule, ...]:
    """1 to 100 rules. Raises MalformedXmlError, InvalidRequestError (a method or wildcard that S3 does not take)."""
    if len(body) > DOCUMENT_BYTES_MAX:
        raise MalformedXmlError
    root = parse_tree(body, "CORSConfiguration")
    root.fields(frozenset(), many="CORSRule")
    if not 1 <= len(root.children) <= RULES_MAX:
        raise MalformedXmlError
    return tuple(_rule(node) for node in root.children)


def _rule(node: Node) -> CorsRule:
    values: dict[str, list[str]] = {}
    for child in node.children:
        if child.name not in _MANY | _ONCE or (child.name in _ONCE and child.name in values):
            raise MalformedXmlError
        values.setdefault(child.name, []).append(child.text.strip())
    [name] = values.get("ID", [""])
    if not values.get("AllowedOrigin") or not values.get("AllowedMethod"):
        raise MalformedXmlError
    if len(name) > _ID_CHARS_MAX:
        raise InvalidRequestError("The ID of a CORS rule may have at most 255 characters.")
    _check_texts(values)
    return CorsRule(
        origins=tuple(values["AllowedOrigin"]),
        methods=tuple(values["AllowedMethod"]),
        headers=tuple(values.get("AllowedHeader", ())),
        exposed=tuple(values.get("ExposeHeader", ())),
        max_age_s=_age(values.get("MaxAgeSeconds")),
        name=name,
    )


def _check_texts(values: Mapping[str, Sequence[str]]) -> None:
    for method in values["AllowedMethod"]:
        if method not in METHODS:
            raise InvalidRequestError(
                f"Found unsupported HTTP method in CORS config. Unsupported method is {method}"
            )
    for kind in ("AllowedOrigin", "AllowedHeader"):
        for text in values.get(kind, ()):
            if text.count("*") > 1:
                raise InvalidRequestError(f'{kind} "{text}" can not have more than one wildcard.')
    for text in values.get("ExposeHeader", ()):
        if "*" in text:
            raise InvalidRequestError(
                f'ExposeHeader "{text}" contains wildcard. We currently do not support wildcard for ExposeHeader.'
            )
        if not (text.isascii() and text.isprintable()):
            # It will be part of a header.
            raise InvalidRequestError("An ExposeHeader is not the name of a header.")


def render_cors(rules: Sequence[CorsRule]) -> bytes:
    """CORSConfiguration."""
    return document("CORSConfiguration", *(_rendered(rule) for rule in rules))


def _rendered(rule: CorsRule) -> str:
    rows = [element("ID", rule.name)] if rule.name else []
    for name, values in (
        ("AllowedHeader", rule.headers),
        ("AllowedMethod", rule.methods),
        ("AllowedOrigin", rule.origins),
        ("ExposeHeader", rule.exposed),
    ):
        rows += [element(name, value) for value in values]
    if rule.max_age_s is not None:
        rows.append(element("MaxAgeSeconds", str(rule.max_age_s)))
    return f"<CORSRule>{''.join(rows)}</CORSRule>"


def _age(values: Sequence[str] | None) -> int | None:
    if values is None:
        return None
    [text] = values
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or int(text) > _AGE_S_MAX:
        raise MalformedXmlError
    return int(text)


# --- answers to browsers -----------------------------------------------------------------------------


def preflight(rules: Sequence[CorsRule] | None, headers: Mapping[str, str]) -> Headers:
    """What to answer an OPTIONS request. Raises BadRequestError, CorsRefusedError. `rules` is None where the bucket has none."""
    origin = headers.get("origin", "")
    method = headers.get("access-control-request-method", "")
    if not origin:
        raise BadRequestError("Insufficient information. Origin request header needed.")
    if method not in METHODS:
        raise BadRequestError(f"Invalid Access-Control-Request-Method: {method or 'null'}")
    if rules is None:
        raise CorsRefusedError("CORSResponse: CORS is not enabled for this bucket.")
    names = headers.get("access-control-request-headers", "").lower().split(",")
    wanted = list(dict.fromkeys(name.strip() for name in names if name.strip()))
    if len(wanted) > _ASKED_MAX:
        raise CorsRefusedError
    for rule in rules:
        if rule.allows(origin, method, wanted):
            found = _told(rule, origin)
            if wanted:
                found.append(("Access-Control-Allow-Headers", ", ".join(wanted)))
            return found
    raise CorsRefusedError


def shared_with(rules: Sequence[CorsRule], method: str, headers: Mapping[str, str]) -> Headers:
    """What to add to the answer of a request with an Origin; nothing where no rule allows it (the browser then hides the answer)."""
    origin = headers["origin"]
    # As Ceph has it, a request may say for which method it asks.
    method = headers.get("access-control-request-method", method)
    for rule in rules:
        if rule.allows(origin, method, ()):
            return _told(rule, origin)
    return []


def _told(rule: CorsRule, origin: str) -> Headers:
    anybody = "*" in rule.origins
    headers = [
        ("Access-Control-Allow-Origin", "*" if anybody else origin),
        ("Access-Control-Allow-Methods", ", ".join(rule.methods)),
    ]
    if rule.exposed:
        headers.append(("Access-Control-Expose-Headers", ", ".join(rule.exposed)))
    if rule.max_age_s is not None:
        headers.append(("Access-Control-Max-Age", str(rule.max_age_s)))
    if not anybody:
        headers.append(("Access-Control-Allow-Credentials", "true"))
    return [*headers, _VARY]
