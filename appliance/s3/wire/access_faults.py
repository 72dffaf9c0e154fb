"""Errors about policies, ACLs and owners, and how S3 answers them: rows of the table in `errors`, which is long enough."""

from __future__ import annotations

from appliance.model.errors import ApplianceError
from appliance.policy.access import errors as access
from appliance.s3.wire.faults import WireError


class NoSuchPolicyError(WireError):
    """The bucket policy does not exist"""


class NoSuchOwnershipError(WireError):
    """The bucket ownership controls were not found"""


class NoSuchBlockError(WireError):
    """The public access block configuration was not found"""


class BucketTakenError(WireError):
    """The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name
    and try again.
    """


# Class -> code, status, sentence.
ROWS: dict[type[ApplianceError], tuple[str, int, str]] = {
    access.AccessSettingError: ("InvalidRequest", 400, "Invalid Request"),
    access.MalformedPolicyError: (
        "MalformedPolicy",
        400,
        "Policies must be valid JSON and the first byte must be '{'",
    ),
    access.MalformedAclError: (
        "MalformedACLError",
        400,
        "The XML you provided was not well-formed or did not validate against our published schema",
    ),
    access.InvalidGranteeError: ("InvalidArgument", 400, "Invalid id"),
    access.UnknownEmailError: (
        "UnresolvableGrantByEmailAddress",
        400,
        "The e-mail address you provided does not match any account on record.",
    ),
    access.AclNotSupportedError: (
        "AccessControlListNotSupported",
        400,
        "The bucket does not allow ACLs",
    ),
    access.AclWithOwnershipError: (
        "InvalidBucketAclWithObjectOwnership",
        400,
        "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
    ),
    access.PublicAccessBlockedError: ("AccessDenied", 403, "Access Denied"),
    NoSuchPolicyError: ("NoSuchBucketPolicy", 404, "The bucket policy does not exist"),
    NoSuchOwnershipError: (
        "OwnershipControlsNotFoundError",
        404,
        "The bucket ownership controls were not found",
    ),
    NoSuchBlockError: (
        "NoSuchPublicAccessBlockConfiguration",
        404,
        "The public access block configuration was not found",
    ),
    BucketTakenError: (
        "BucketAlreadyExists",
        409,
        (
            "The requested bucket name is not available. The bucket namespace is shared by all users of the system. "
            "Please select a different name and try again."
        ),
    ),
}
