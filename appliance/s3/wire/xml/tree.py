"""XML documents of requests, safely: no DTD, no entities but the five of XML, bounded in size, depth and number of elements.

A document becomes a tree of `Node`s without attributes, comments or namespaces. S3's own namespace may be there or not, as clients do both;
an element of another one means something else, or nothing, and makes the document malformed. What a document may hold is each operation's
table of children: an element that is not in it makes the document malformed, as in AWS's schema, so that a condition we do not know is
never dropped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.parsers import expat

from appliance.s3.wire.errors import BodyTooLargeError, MalformedXmlError

# 1,000 keys of 1,024 bytes, each byte written as a reference, or 10,000 parts with checksums, stay below these.
DOCUMENT_BYTES_MAX = 8 * 1024**2
_DEPTH_MAX = 16
_NODES_MAX = 65_536


class Node:
    """An element: its local name, its own text, its children in order."""

    __slots__ = ("children", "name", "text")

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = ""
        self.children: list[Node] = []

    def fields(self, allowed: frozenset[str], many: str = "") -> Mapping[str, Node]:
        """Children by name; each of `allowed` at most once, `many` (not in the result) any number of times. Raises MalformedXmlError."""
        found: dict[str, Node] = {}
        for child in self.children:
            if child.name == many:
                continue
            if child.name not in allowed or child.name in found:
                raise MalformedXmlError
            found[child.name] = child
        return found

    def all(self, name: str) -> list[Node]:
        """Children of that name."""
        return [child for child in self.children if child.name == name]


# Of S3, in the spellings of its own documentation, and of older clients.
_NAMESPACE = re.compile(r"https?://(s3\.amazonaws\.com/doc|doc\.s3\.amazonaws\.com)/2006-03-01/?\Z")


class _Builder:
    def __init__(self) -> None:
        self.root: Node | None = None
        self._open: list[Node] = []
        self._count = 0

    def start(self, name: str, _attributes: object) -> None:
        self._count += 1
        if len(self._open) >= _DEPTH_MAX or self._count > _NODES_MAX:
            raise MalformedXmlError
        # With namespace processing expat says "uri name".
        namespace, _, local = name.rpartition(" ")
        if namespace and not _NAMESPACE.match(namespace):
            raise MalformedXmlError
        node = Node(local)
        if self._open:
            self._open[-1].children.append(node)
        else:
            self.root = node
        self._open.append(node)

    def end(self, _name: str) -> None:
        self._open.pop()

    def text(self, text: str) -> None:
        # Expat joins text (buffer_text) but for what children or its buffer split.
        self._open[-1].text += text


def parse_tree(body: bytes, root: str) -> Node:
    """The document, whose root element must be called `root`. Raises MalformedXmlError, BodyTooLargeError."""
    if len(body) > DOCUMENT_BYTES_MAX:
        raise BodyTooLargeError
    builder = _Builder()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.buffer_size = 64 * 1024
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    # Entities need a DTD: without one there is nothing to expand, nested or external.
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, ValueError, LookupError, UnicodeError):
        # LookupError and ValueError: an encoding that Python does not know, or that is no 8-bit one.
        raise MalformedXmlError from None
    if builder.root is None or builder.root.name != root:
        raise MalformedXmlError
    return builder.root


def _refuse(*_arguments: object) -> None:
    raise MalformedXmlError
