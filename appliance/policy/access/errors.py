"""What can be wrong with a policy or an ACL that somebody wants to set. The front end has S3's codes for these.

https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from __future__ import annotations

from appliance.model.errors import ApplianceError


class AccessSettingError(ApplianceError):
    """What was to be set about access cannot be."""


class MalformedPolicyError(AccessSettingError):
    """Policies must be valid JSON and the first byte must be '{'"""  # S3's own sentence, without a full stop


class MalformedAclError(AccessSettingError):
    """The XML you provided was not well-formed or did not validate against our published schema"""


class InvalidGranteeError(AccessSettingError):
    """Invalid id"""


class UnknownEmailError(AccessSettingError):
    """The email address you provided does not match any account on record."""


class AclNotSupportedError(AccessSettingError):
    """The bucket does not allow ACLs"""


class AclWithOwnershipError(AccessSettingError):
    """Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting"""


class PublicAccessBlockedError(AccessSettingError):
    """Access Denied"""
