"""What a writer says about an object besides its bytes: system headers, user metadata, tags, checksums to keep, from request headers.

What the product does not have but a header asks for - encryption, object lock - is refused, never dropped: a client that asked for
encryption must not believe that it got it. Grants to others are `grants`' business.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

from appliance.model.checksums import DIGEST_BYTES, FULL_OBJECT_ALGORITHMS
from appliance.model.errors import InvalidTagError, MetadataTooLargeError, UnsupportedError
from appliance.model.names import key_text
from appliance.model.objects import SYSTEM_HEADERS, TAGS_MAX, PutOptions
from appliance.s3.wire.digest import declared_checksum
from appliance.s3.wire.errors import (
    BadRequestError,
    HeadersTooLargeError,
    InvalidArgumentValueError,
    InvalidRequestError,
    InvalidStorageClassError,
)
from appliance.s3.wire.request import parse_query

# What S3 computes where the client declares no checksum.
DEFAULT_CHECKSUM = "crc64nvme"
METADATA_PREFIX = "x-amz-meta-"
METADATA_BYTES_MAX = 2048
# As at AWS, where all headers of a PUT together have so much: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
SYSTEM_BYTES_MAX = 8192
TAG_KEY_CHARS_MAX = 128
TAG_VALUE_CHARS_MAX = 256
BUCKET_TAGS_MAX = 50
# Letters, digits and spaces of any language, and these.
_TAG_TEXT = re.compile(r"[\w\s+\-=.:/@]*\Z")

STORAGE_CLASSES = frozenset(
    [
        "STANDARD",
        "REDUCED_REDUNDANCY",
        "STANDARD_IA",
        "ONEZONE_IA",
        "INTELLIGENT_TIERING",
        "GLACIER",
        "DEEP_ARCHIVE",
        "OUTPOSTS",
        "GLACIER_IR",
        "SNOW",
        "EXPRESS_ONEZONE",
        "FSX_OPENZFS",
    ]
)
_UNSUPPORTED_PREFIXES = (
    "x-amz-server-side-encryption",
    "x-amz-object-lock-",
    "x-amz-copy-source-server-side-encryption",
    "x-amz-write-offset-bytes",
    # Conditions of directory buckets: ignored, they would delete what was not to be deleted.
    "x-amz-if-match-last-modified-time",
    "x-amz-if-match-size",
)


class CopyDirectives(msgspec.Struct, frozen=True, kw_only=True):
    """CopyObject: which of the source's properties are replaced by `options`, and which come along."""

    replace_metadata: bool
    replace_tags: bool
    options: PutOptions


def put_options(headers: Mapping[str, str], default_checksum: str = "") -> PutOptions:
    """Options of a PutObject. `default_checksum` is kept where the client declares none.

    Raises MetadataTooLargeError, InvalidTagError, InvalidStorageClassError, InvalidRequestError, UnsupportedError, ...
    """
    refuse_unsupported(headers)
    algorithm = declared_checksum(headers)[0] or _checksum_algorithm(headers) or default_checksum
    return PutOptions(
        headers=system_headers(headers),
        metadata=user_metadata(headers),
        tags=tags_of_header(headers),
        checksums=(algorithm,) if algorithm else (),
    )


def upload_options(headers: Mapping[str, str], default_checksum: str = "") -> PutOptions:
    """Options of a CreateMultipartUpload: here the checksum's algorithm and type are announced for the parts to come.

    `default_checksum`, a CRC of the whole object, is kept where the client announces none.
    """
    refuse_unsupported(headers)
    algorithm = _checksum_algorithm(headers)
    kind = headers.get("x-amz-checksum-type", "").upper()
    if kind and not algorithm:
        raise InvalidRequestError(
            "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header."
        )
    if kind not in {"", "COMPOSITE", "FULL_OBJECT"}:
        raise InvalidRequestError("Value for x-amz-checksum-type header is invalid.")
    if not kind:
        kind = "FULL_OBJECT" if algorithm in {"", "crc64nvme"} else "COMPOSITE"
    fits = algorithm != "crc64nvme" if kind == "COMPOSITE" else algorithm in FULL_OBJECT_ALGORITHMS
    if algorithm and not fits:
        raise InvalidRequestError(
            f"The {kind} checksum type cannot be used with the {algorithm} checksum algorithm."
        )
    kept = algorithm or default_checksum
    return PutOptions(
        headers=system_headers(headers),
        metadata=user_metadata(headers),
        tags=tags_of_header(headers),
        checksums=(kept,) if kept else (),
        checksum_type=kind,
    )


def copy_directives(headers: Mapping[str, str]) -> CopyDirectives:
    """Options and directives of a CopyObject. Raises InvalidArgumentValueError for an unknown directive."""
    refuse_unsupported(headers)
    algorithm = _checksum_algorithm(headers)
    options = PutOptions(
        headers=system_headers(headers),
        metadata=user_metadata(headers),
        tags=tags_of_header(headers),
        checksums=(algorithm,) if algorithm else (),
    )
    return CopyDirectives(
        replace_metadata=_replaces(headers, "x-amz-metadata-directive", "metadata"),
        replace_tags=_replaces(headers, "x-amz-tagging-directive", "tagging"),
        options=options,
    )


def refuse_unsupported(headers: Mapping[str, str]) -> None:
    """Raise UnsupportedError if a header asks for what is not implemented."""
    for name in headers:
        if name.startswith("x-amz-") and name.startswith(_UNSUPPORTED_PREFIXES):
            raise UnsupportedError(
                f"A header you provided implies functionality that is not implemented: {name}."
            )


def _checksum_algorithm(headers: Mapping[str, str]) -> str:
    value = headers.get("x-amz-checksum-algorithm", "")
    algorithm = value.lower()
    if algorithm and algorithm not in DIGEST_BYTES:
        raise InvalidRequestError(
            "Checksum algorithm provided is unsupported. Please try again with any of the valid types: "
            "[CRC32, CRC32C, CRC64NVME, SHA1, SHA256]"
        )
    return algorithm


def _replaces(headers: Mapping[str, str], name: str, what: str) -> bool:
    value = headers.get(name, "COPY")
    if value not in {"COPY", "REPLACE"}:
        raise InvalidArgumentValueError(f"Unknown {what} directive.", name, value)
    return value == "REPLACE"


# --- headers and metadata ----------------------------------------------------------------------


def text_of(value: str) -> str:
    """A header value as text: UTF-8 where its bytes are that, else latin-1."""
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


def system_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Those of SYSTEM_HEADERS that are there and mean something.

    Raises HeadersTooLargeError (names and values together: 8 KiB of UTF-8), InvalidStorageClassError, InvalidArgumentValueError.
    """
    kept = {
        name: text_of(headers[name]) for name in headers.keys() & SYSTEM_HEADERS if headers[name]
    }
    if sum(len(name) + len(text.encode()) for name, text in kept.items()) > SYSTEM_BYTES_MAX:
        raise HeadersTooLargeError(
            f"Headers that are kept with an object have at most {SYSTEM_BYTES_MAX} bytes together."
        )
    encoding = kept.get("content-encoding")
    if encoding is not None and "aws-chunked" in encoding:
        # A coding of this transfer, not of the object.
        codings = [coding.strip() for coding in encoding.split(",")]
        encoding = ",".join(coding for coding in codings if coding.lower() != "aws-chunked")
        if encoding:
            kept["content-encoding"] = encoding
        else:
            del kept["content-encoding"]
    storage_class = kept.get("x-amz-storage-class")
    if storage_class is not None:
        if storage_class not in STORAGE_CLASSES:
            raise InvalidStorageClassError
        if storage_class == "STANDARD":
            del kept["x-amz-storage-class"]
    redirect = kept.get("x-amz-website-redirect-location", "/")
    if not redirect.startswith(("/", "http://", "https://")):
        raise InvalidArgumentValueError(
            "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.",
            "x-amz-website-redirect-location",
            redirect,
        )
    return kept


def user_metadata(headers: Mapping[str, str]) -> dict[str, str]:
    """x-amz-meta-* without the prefix. Raises MetadataTooLargeError (names and values together: 2 KiB of UTF-8)."""
    metadata = {}
    size = 0
    for name, value in headers.items():
        if name.startswith(METADATA_PREFIX) and len(name) > len(METADATA_PREFIX):
            text = text_of(value)
            metadata[text_of(name[len(METADATA_PREFIX) :])] = text
            size += len(name) - len(METADATA_PREFIX) + len(text.encode())
    if size > METADATA_BYTES_MAX:
        raise MetadataTooLargeError
    return metadata


# --- tags -----------------------------------------------------------------------------------------


def tags_of_header(headers: Mapping[str, str]) -> dict[str, str]:
    """x-amz-tagging, which is encoded as a query. Raises InvalidTagError, BadRequestError."""
    value = headers.get("x-amz-tagging")
    if not value:
        return {}
    pairs: list[tuple[str, str]] = []
    for item in value.encode("latin-1").split(b"&"):
        decoded = parse_query(item)
        if len(decoded) != 1:
            raise InvalidArgumentValueError(
                "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.",
                "x-amz-tagging",
                key_text(item),
            )
        pairs.extend(decoded.items())
    return checked_tags(pairs)


def checked_tags(
    pairs: Iterable[tuple[str, str]], limit: int = TAGS_MAX, of: str = "Object"
) -> dict[str, str]:
    """Tags within S3's limits. Raises InvalidTagError; BadRequestError if there are more than `limit`.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html
    """
    tags: dict[str, str] = {}
    for key, value in pairs:
        if not key or len(key) > TAG_KEY_CHARS_MAX or not _TAG_TEXT.match(key):
            raise InvalidTagError("The TagKey you have provided is invalid")
        if len(value) > TAG_VALUE_CHARS_MAX or not _TAG_TEXT.match(value):
            raise InvalidTagError("The TagValue you have provided is invalid")
        if key.startswith("aws:"):
            raise InvalidTagError("System tags cannot be added/updated by requester")
        if key in tags:
            raise InvalidTagError("Cannot provide multiple Tags with the same key")
        tags[key] = value
    if len(tags) > limit:
        raise BadRequestError(f"{of} tags cannot be greater than {limit}")
    return tags
