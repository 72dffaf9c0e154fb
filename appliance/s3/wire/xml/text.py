"""Text in XML documents, as S3 writes it: what is escaped, and how.

XML 1.0 has no way to carry most control characters; S3 writes them as numeric references all the same (and tells clients to ask for
`encoding-type=url`, which boto3 does). Bytes that are not UTF-8 cannot be shown at all and become U+FFFD, except with that option.
"""

from __future__ import annotations

import re

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_SPECIAL = re.compile("[&<>\"'\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_NAMED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;"}


def _replace(match: re.Match[str]) -> str:
    character = match[0]
    named = _NAMED.get(character)
    if named is not None:
        return named
    code = ord(character)
    if code < 0x80:
        return f"&#x{code:x};"
    return "\ufffd"


def escape(text: str) -> str:
    """Text for an element's content or an attribute; the result always encodes as UTF-8."""
    return _SPECIAL.sub(_replace, text)


def element(name: str, text: str) -> str:
    """`<name>text</name>`."""
    return f"<{name}>{escape(text)}</{name}>"


# What no XML document can hold, not even as a reference (https://www.w3.org/TR/xml/#charsets), and what is escaped above.
_ILLEGIBLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def legible_element(name: str, text: str) -> str:
    """As `element`, for a document that every parser must be able to read: what XML cannot hold becomes U+FFFD."""
    return element(name, _ILLEGIBLE.sub("\ufffd", text))


def document(root: str, *parts: str) -> bytes:
    """A document whose content is XML already."""
    body = "".join(parts)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="{NAMESPACE}">{body}</{root}>'.encode()
