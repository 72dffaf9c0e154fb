"""Version ids on the wire: opaque, made by the backend from what nobody can guess, and looked up by it, so that a forged one finds nothing.

They are not sealed as upload ids and tokens are: clients write them down for years, where they must outlive the secret that would seal
them, and those of an S3 upstream are to be the same with and without the appliance.
"""

from __future__ import annotations

import re

from appliance.model.objects import NULL_VERSION, Deleted
from appliance.s3.wire.faults import InvalidArgumentValueError
from appliance.s3.wire.response import Headers

# What AWS, MinIO and Ceph make ids of, and at most as many characters as AWS allows.
_VERSION_ID = re.compile(r"[A-Za-z0-9._~+/=-]{1,1024}\Z")


def checked_version_id(version_id: str, name: str = "versionId") -> str:
    """The id, if it can be one. Raises InvalidArgumentValueError."""
    if not version_id:
        raise InvalidArgumentValueError("Version id cannot be the empty string", name, "")
    if not _VERSION_ID.match(version_id):
        raise InvalidArgumentValueError("Invalid version id specified", name, version_id)
    return version_id


def version_headers(version_id: str, name: str = "x-amz-version-id") -> Headers:
    """None for objects in buckets that were never versioned."""
    return [(name, version_id)] if version_id else []


def made_headers(version_id: str) -> Headers:
    """Of a write: the id of the version it made, if it has one of its own; the null version of a suspended bucket is not told."""
    return version_headers("" if version_id == NULL_VERSION else version_id)


def deleted_headers(deleted: Deleted) -> Headers:
    """What DeleteObject answers."""
    headers = version_headers(deleted.version_id)
    if deleted.delete_marker:
        headers.append(("x-amz-delete-marker", "true"))
    return headers
