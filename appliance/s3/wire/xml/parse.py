"""Request documents as values. One function an operation; each yields a value or a domain error."""

from __future__ import annotations

import itertools

import msgspec

from appliance.model.checksums import ALGORITHMS
from appliance.model.errors import InvalidPartOrderError, UnsupportedError
from appliance.model.objects import (
    DELETE_KEYS_MAX,
    PART_NUMBER_MAX,
    CompletedPart,
    Versioning,
)
from appliance.s3.wire.errors import (
    IllegalVersioningError,
    InvalidArgumentValueError,
    MalformedXmlError,
)
from appliance.s3.wire.options import BUCKET_TAGS_MAX, checked_tags
from appliance.s3.wire.xml.tree import Node, parse_tree

CHECKSUM_ELEMENTS = {f"Checksum{name.upper()}": name for name in ALGORITHMS}

_PART_FIELDS = frozenset({"PartNumber", "ETag", *CHECKSUM_ELEMENTS})
_OBJECT_FIELDS = frozenset({"Key", "VersionId", "ETag", "LastModifiedTime", "Size"})
_BUCKET_FIELDS = frozenset({"LocationConstraint", "Location", "Bucket", "Tags"})
_NONE: frozenset[str] = frozenset()


class DeleteItem(msgspec.Struct, frozen=True):
    """One object of DeleteObjects. `etag` (without quotes) is a condition; "" where it is absent."""

    key: str
    version_id: str = ""
    etag: str = ""


class DeleteRequest(msgspec.Struct, frozen=True):
    """DeleteObjects: 1 to 1,000 objects; `quiet`: only errors are reported."""

    objects: tuple[DeleteItem, ...]
    quiet: bool = False


def parse_complete_multipart_upload(body: bytes) -> tuple[CompletedPart, ...]:
    """The parts, ascending; of a part named again (it was sent twice) the last counts, as ceph/s3-tests wants it.

    Raises MalformedXmlError (also for none), InvalidPartOrderError, InvalidArgumentValueError.
    """
    root = parse_tree(body, "CompleteMultipartUpload")
    root.fields(_NONE, many="Part")
    parts = [_completed_part(node) for node in root.children]
    if not parts or len(parts) > PART_NUMBER_MAX:
        raise MalformedXmlError
    if any(earlier.number > later.number for earlier, later in itertools.pairwise(parts)):
        raise InvalidPartOrderError
    return tuple({part.number: part for part in parts}.values())


def _completed_part(node: Node) -> CompletedPart:
    fields = node.fields(_PART_FIELDS)
    if "PartNumber" not in fields or "ETag" not in fields:
        raise MalformedXmlError
    text = fields["PartNumber"].text.strip()
    if not (text.isascii() and text.isdigit()):
        raise MalformedXmlError
    if len(text) > 9 or not 1 <= int(text) <= PART_NUMBER_MAX:
        raise InvalidArgumentValueError(
            "Part number must be an integer between 1 and 10000, inclusive", "partNumber", text
        )
    return CompletedPart(
        number=int(text),
        etag=_etag(fields["ETag"].text),
        checksums={
            algorithm: fields[name].text.strip()
            for name, algorithm in CHECKSUM_ELEMENTS.items()
            if name in fields
        },
    )


def _etag(text: str) -> str:
    return text.strip().strip('"')


def parse_delete(body: bytes) -> DeleteRequest:
    """Raises MalformedXmlError (no object, or more than 1,000), UnsupportedError (conditions of directory buckets)."""
    root = parse_tree(body, "Delete")
    quiet = root.fields(frozenset({"Quiet"}), many="Object").get("Quiet")
    objects = tuple(_delete_item(node) for node in root.all("Object"))
    if not 1 <= len(objects) <= DELETE_KEYS_MAX:
        raise MalformedXmlError
    return DeleteRequest(objects, quiet=quiet is not None and _boolean(quiet.text))


def _delete_item(node: Node) -> DeleteItem:
    fields = node.fields(_OBJECT_FIELDS)
    if "Key" not in fields:
        raise MalformedXmlError
    if "LastModifiedTime" in fields or "Size" in fields:
        raise UnsupportedError(
            "LastModifiedTime and Size as conditions of a delete are not implemented."
        )
    version_id = fields["VersionId"].text.strip() if "VersionId" in fields else ""
    etag = _etag(fields["ETag"].text) if "ETag" in fields else ""
    return DeleteItem(fields["Key"].text, version_id, etag)


def _boolean(text: str) -> bool:
    value = text.strip().lower()
    if value not in {"true", "false", "1", "0", ""}:
        raise MalformedXmlError
    return value in {"true", "1"}


def parse_create_bucket(body: bytes) -> str:
    """The location constraint; "" for none or an empty body. Raises MalformedXmlError, UnsupportedError (directory buckets, tags)."""
    if not body.strip():
        return ""
    fields = parse_tree(body, "CreateBucketConfiguration").fields(_BUCKET_FIELDS)
    for name in ("Location", "Bucket", "Tags"):
        if name in fields:
            raise UnsupportedError(f"{name} in CreateBucketConfiguration is not implemented.")
    return fields["LocationConstraint"].text.strip() if "LocationConstraint" in fields else ""


def parse_versioning(body: bytes) -> Versioning:
    """The state that is asked for. Raises MalformedXmlError, IllegalVersioningError (none), UnsupportedError (MFA)."""
    fields = parse_tree(body, "VersioningConfiguration").fields(frozenset({"Status", "MfaDelete"}))
    if "MfaDelete" in fields and fields["MfaDelete"].text.strip() != "Disabled":
        raise UnsupportedError("MfaDelete is not implemented.")
    if "Status" not in fields:
        raise IllegalVersioningError
    status = fields["Status"].text.strip()
    if status not in {Versioning.ENABLED, Versioning.SUSPENDED}:
        raise MalformedXmlError
    return Versioning(status)


def parse_tagging(body: bytes) -> dict[str, str]:
    """Tags of an object. Raises MalformedXmlError, InvalidTagError, BadRequestError (too many)."""
    return checked_tags(_tags(body))


def parse_bucket_tagging(body: bytes) -> dict[str, str]:
    """Tags of a bucket, of which there may be more. Raises as `parse_tagging`."""
    return checked_tags(_tags(body), BUCKET_TAGS_MAX, "Bucket")


def _tags(body: bytes) -> list[tuple[str, str]]:
    root = parse_tree(body, "Tagging").fields(frozenset({"TagSet"}))
    if "TagSet" not in root:
        raise MalformedXmlError
    tag_set = root["TagSet"]
    tag_set.fields(_NONE, many="Tag")
    return [_tag(node) for node in tag_set.children]


def _tag(node: Node) -> tuple[str, str]:
    fields = node.fields(frozenset({"Key", "Value"}))
    if len(fields) != 2:
        raise MalformedXmlError
    return fields["Key"].text, fields["Value"].text
