"""Version ids as clients see them: the backend's, sealed for their bucket and key, so that a made-up one never gets to a backend.

"null", the version that an object has without versioning, is S3's own word and stays as it is; so does "", which names no version.
"""

from __future__ import annotations

from appliance.model.objects import NULL_VERSION
from appliance.s3.wire.errors import InvalidArgumentValueError
from appliance.s3.wire.tokens import seal, unseal

_PURPOSE = "version"


def sealed_version_id(version_id: str, bucket: str, key: str, secret: bytes) -> str:
    """Always the same for the same version."""
    if version_id in {"", NULL_VERSION}:
        return version_id
    return seal(version_id, secret, _PURPOSE, bucket, key)


def opened_version_id(
    sealed: str, bucket: str, key: str, secret: bytes, parameter: str = "versionId"
) -> str:
    """The backend's version id. Raises InvalidArgumentValueError for one that we did not make, or made for another object."""
    if sealed in {"", NULL_VERSION}:
        return sealed
    version_id = unseal(sealed, secret, _PURPOSE, bucket, key)
    if not version_id:
        raise InvalidArgumentValueError("Invalid version id specified", parameter, sealed)
    return version_id
