"""What is known about buckets, objects, uploads and parts. Frozen values; they cross every boundary in the product.

Times are nanoseconds since the Unix epoch (`*_ns`), sizes are bytes (`size`, `*_bytes`). ETags are without quotes.
"""

from __future__ import annotations

import enum
import re

import msgspec

from appliance.model.errors import NotModifiedError, PreconditionFailedError
from appliance.model.ranges import ByteRange

# The version id of what was written while a bucket was not versioned, or suspended.
NULL_VERSION = "null"


class Versioning(enum.StrEnum):
    """A bucket's versioning state, by S3's words for it: https://docs.aws.amazon.com/AmazonS3/latest/userguide/Versioning.html."""

    OFF = ""  # never enabled; there is no way back to it
    ENABLED = "Enabled"
    SUSPENDED = "Suspended"


class BucketInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A bucket. `created_ns` is 0 where the backend does not know."""

    name: str
    created_ns: int = 0


class ObjectInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One version of one object: everything but its bytes.

    `version` is the backend's opaque token for exactly this state of bytes and metadata: two reads that see the same token saw the same
    object, and any change, also by a foreign writer, yields another. It is compared, never parsed, and never shown to S3 clients as a
    version id.

    `headers` holds system headers by lower-case name (`SYSTEM_HEADERS`), `metadata` the user's, without `x-amz-meta-`, lower-case.
    `checksums` maps an algorithm of `appliance.model.checksums` to its base64 value, without the `-N` of a composite one.
    `part_sizes` is empty unless the object was uploaded in parts.

    `version_id` is the S3 version id: "" in a bucket that was never versioned, `NULL_VERSION` for the null version of one that was.
    `owner` is a canonical user id, "" for the bucket's owner. `acl` is opaque here (`appliance.policy.access` encodes it), b"" for none.
    """

    key: str
    size: int
    etag: str
    version: str
    modified_ns: int
    headers: dict[str, str] = {}
    metadata: dict[str, str] = {}
    checksums: dict[str, str] = {}
    checksum_type: str = "FULL_OBJECT"
    part_sizes: tuple[int, ...] = ()
    part_checksums: tuple[dict[str, str], ...] = ()
    tag_count: int = 0
    version_id: str = ""
    owner: str = ""
    acl: bytes = b""


_MULTIPART_ETAG = re.compile(r"[0-9a-f]{32}-([1-9][0-9]{0,4})\Z")


def part_count(info: ObjectInfo) -> int:
    """How many parts an object was uploaded in; 0 if not in parts. Without the parts' sizes the ETag's `-N` tells."""
    if info.part_sizes:
        return len(info.part_sizes)
    match = _MULTIPART_ETAG.match(info.etag)
    return int(match[1]) if match else 0


class ObjectPart(msgspec.Struct, frozen=True, kw_only=True):
    """One of the `count` parts that an object was uploaded in, and where it lies."""

    range: ByteRange
    count: int


# System headers kept with an object and given back as they came:
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html
SYSTEM_HEADERS = frozenset(
    {
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-type",
        "expires",
        "x-amz-storage-class",
        "x-amz-website-redirect-location",
    }
)


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """Preconditions of a read or write. ETags without quotes; `"*"` means any. Times in ns; S3 compares whole seconds.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html and RFC 9110 section 13.2.2.
    """

    if_match: tuple[str, ...] = ()
    if_none_match: tuple[str, ...] = ()
    if_modified_since_ns: int | None = None
    if_unmodified_since_ns: int | None = None

    def __bool__(self) -> bool:
        return bool(
            self.if_match
            or self.if_none_match
            or self.if_modified_since_ns is not None
            or self.if_unmodified_since_ns is not None
        )

    def check_read(self, info: ObjectInfo) -> None:
        """Raise NotModifiedError or PreconditionFailedError unless a read of `info` may go on (RFC 9110 section 13.2.2 order)."""
        modified_s = info.modified_ns // 10**9
        if self.if_match:
            if "*" not in self.if_match and info.etag not in self.if_match:
                raise PreconditionFailedError(key=info.key)
        elif (
            self.if_unmodified_since_ns is not None
            and modified_s > self.if_unmodified_since_ns // 10**9
        ):
            raise PreconditionFailedError(key=info.key)
        if self.if_none_match:
            if "*" in self.if_none_match or info.etag in self.if_none_match:
                raise NotModifiedError(key=info.key, etag=info.etag, modified_ns=info.modified_ns)
        elif (
            self.if_modified_since_ns is not None
            and modified_s <= self.if_modified_since_ns // 10**9
        ):
            raise NotModifiedError(key=info.key, etag=info.etag, modified_ns=info.modified_ns)

    def check_write(self, current: ObjectInfo | None) -> None:
        """Raise PreconditionFailedError unless a write over `current` (None: no object) may go on.

        NoSuchKey for `If-Match` on a missing object is the caller's to raise: S3 answers 404 there.
        """
        if current is not None and (
            "*" in self.if_none_match or current.etag in self.if_none_match
        ):
            raise PreconditionFailedError(key=current.key)
        if self.if_match and (
            current is None or ("*" not in self.if_match and current.etag not in self.if_match)
        ):
            raise PreconditionFailedError(key=current.key if current else "")


NO_CONDITIONS = Conditions()


class PutOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a writer says about an object besides its bytes. `checksums`: algorithms to compute and keep.

    `checksum_type` matters for multipart uploads only: "COMPOSITE" or "FULL_OBJECT". `owner` and `acl` as in `ObjectInfo`; backends
    without `Capabilities.acls` ignore them.
    """

    headers: dict[str, str] = {}
    metadata: dict[str, str] = {}
    tags: dict[str, str] = {}
    checksums: tuple[str, ...] = ()
    checksum_type: str = "FULL_OBJECT"
    owner: str = ""
    acl: bytes = b""


class ListRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a listing. `start_after` is exclusive; `continuation` is a token from an earlier page and wins over it.

    `limit` bounds keys and common prefixes together (0 is an empty, untruncated page).
    """

    prefix: str = ""
    delimiter: str = ""
    start_after: str = ""
    continuation: str = ""
    limit: int = 1000


class ListPage(msgspec.Struct, frozen=True, kw_only=True):
    """Objects and common prefixes, each in S3 order (bytewise). `continuation` is empty on the last page.

    `last` is the greatest key or common prefix in this page ("" if empty), for clients that page by marker.
    Items of a listing may lack metadata, checksums, headers and tag counts: `head` has them.
    """

    objects: tuple[ObjectInfo, ...] = ()
    common_prefixes: tuple[str, ...] = ()
    continuation: str = ""
    last: str = ""


class ObjectVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a listing of versions. Of a delete marker `info` tells key, version id, time and owner only."""

    info: ObjectInfo
    latest: bool = True
    delete_marker: bool = False


class VersionListRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One page of ListObjectVersions. `key_marker` is exclusive; with `version_id_marker`, the listing goes on after that version of it.

    `limit` bounds versions, delete markers and common prefixes together (0 is an empty, untruncated page).
    """

    prefix: str = ""
    delimiter: str = ""
    key_marker: str = ""
    version_id_marker: str = ""
    limit: int = 1000


class VersionPage(msgspec.Struct, frozen=True, kw_only=True):
    """Versions and delete markers by key in S3 order, of one key the newest first. The markers are "" unless `truncated`."""

    versions: tuple[ObjectVersion, ...] = ()
    common_prefixes: tuple[str, ...] = ()
    truncated: bool = False
    next_key_marker: str = ""
    next_version_id_marker: str = ""


class UploadInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A multipart upload in progress."""

    key: str
    upload_id: str
    initiated_ns: int
    checksums: tuple[str, ...] = ()
    checksum_type: str = "COMPOSITE"
    storage_class: str = ""
    owner: str = ""


class UploadPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of ListMultipartUploads, ordered by key, then by time of initiation."""

    uploads: tuple[UploadInfo, ...] = ()
    common_prefixes: tuple[str, ...] = ()
    truncated: bool = False
    next_key_marker: str = ""
    next_upload_id_marker: str = ""


class PartInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A part that has been uploaded."""

    number: int
    size: int
    etag: str
    modified_ns: int
    checksums: dict[str, str] = {}


class PartPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of ListParts, ordered by number. `next_marker` is 0 on the last page."""

    upload: UploadInfo
    parts: tuple[PartInfo, ...] = ()
    next_marker: int = 0


class CompletedPart(msgspec.Struct, frozen=True, kw_only=True):
    """A part as CompleteMultipartUpload names it; `checksums` only where the client gave them."""

    number: int
    etag: str
    checksums: dict[str, str] = {}


class DeleteTarget(msgspec.Struct, frozen=True, kw_only=True):
    """What to delete: the object (`version_id` ""), or one version of it, for good."""

    key: str
    version_id: str = ""


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    """What a delete did: it removed `version_id` for good, or made a delete marker of that id. "" in a bucket without versions.

    `delete_marker`: the version that was made, or removed, is a delete marker.
    """

    version_id: str = ""
    delete_marker: bool = False


DELETED = Deleted()


class DeleteOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one key of a multi-delete; `error` is None where it is gone (also if it was never there).

    `version_id` is the one that was asked for.
    """

    key: str
    error: Exception | None = None
    version_id: str = ""
    deleted: Deleted = DELETED


# S3's limits: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
PART_NUMBER_MAX = 10_000
PART_SIZE_MIN = 5 * 1024**2
PUT_SIZE_MAX = 5 * 1024**3
OBJECT_SIZE_MAX = 5 * 1024**4
LIST_LIMIT_MAX = 1000
DELETE_KEYS_MAX = 1000
TAGS_MAX = 10
