"""Extended attributes: `user.<name>` is the user metadata `<name>` of the object (the header `x-amz-meta-<name>`).

S3 knows lower-case names and printable text. A name or value that would not come back as it went is refused rather than changed.
"""

from __future__ import annotations

import errno
import re

from appliance.mount.failure import Errno
from appliance.mount.posix_metadata import RESERVED

_PREFIX = b"user."
# RFC 9110 section 5.6.2: what a header's name may hold, less upper case.
_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,200}\Z")
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html: names and values together.
METADATA_BYTES_MAX = 2048


def metadata_name(xattr: bytes) -> str | None:
    """The metadata name of an xattr; None if it can have none (another namespace, or a name S3 cannot keep)."""
    if not xattr.startswith(_PREFIX):
        return None
    name = xattr[len(_PREFIX) :].decode("ascii", "replace")
    return name if _NAME.match(name) and name not in RESERVED else None


def listing(metadata: dict[str, str]) -> list[bytes]:
    """Names of all xattrs."""
    return [
        _PREFIX + name.encode("utf-8", "surrogateescape")
        for name in metadata
        if name not in RESERVED
    ]


def get(metadata: dict[str, str], xattr: bytes) -> bytes:
    """The value of an xattr. Raises ENODATA."""
    name = metadata_name(xattr)
    value = None if name is None else metadata.get(name)
    if value is None:
        raise Errno(errno.ENODATA)
    return value.encode("utf-8", "surrogateescape")


def with_value(metadata: dict[str, str], xattr: bytes, value: bytes) -> dict[str, str]:
    """`metadata` with one xattr set. Raises EOPNOTSUPP (name), EINVAL (value), E2BIG."""
    name = metadata_name(xattr)
    if name is None:
        raise Errno(errno.EOPNOTSUPP)
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        raise Errno(errno.EINVAL) from None
    if not text.isprintable() or text != text.strip():
        raise Errno(errno.EINVAL)
    changed = {**metadata, name: text}
    if sum(len(k) + len(v.encode()) for k, v in changed.items()) > METADATA_BYTES_MAX:
        raise Errno(errno.E2BIG)
    return changed


def without(metadata: dict[str, str], xattr: bytes) -> dict[str, str]:
    """`metadata` without one xattr. Raises ENODATA."""
    get(metadata, xattr)
    name = metadata_name(xattr)
    return {key: value for key, value in metadata.items() if key != name}
