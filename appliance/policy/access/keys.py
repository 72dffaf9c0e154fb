"""The condition keys that can be told here. A policy with any other is refused: a condition that is never known is a trap.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html#amazons3-policy-keys
"""

from __future__ import annotations

import enum


class Kind(enum.Enum):
    """What values of a key are, beside text."""

    TEXT = "text"
    NUMBER = "number"
    DATE = "date"
    BOOL = "bool"
    ADDRESS = "address"
    ARN = "arn"


# Lower-case names: names of keys are compared without case.
KEYS: dict[str, Kind] = {
    "aws:currenttime": Kind.DATE,
    "aws:epochtime": Kind.DATE,
    "aws:principalaccount": Kind.TEXT,  # the canonical id: accounts have no other number here
    "aws:principalarn": Kind.ARN,  # arn:aws:iam::<canonical id>:root
    "aws:principaltype": Kind.TEXT,  # Account or Anonymous
    "aws:referer": Kind.TEXT,
    "aws:resourceaccount": Kind.TEXT,  # the canonical id of the bucket's owner
    "aws:securetransport": Kind.BOOL,
    "aws:sourceip": Kind.ADDRESS,
    "aws:useragent": Kind.TEXT,
    "aws:userid": Kind.TEXT,  # the canonical id, ANONYMOUS_USERID without one
    "aws:username": Kind.TEXT,  # the display name
    "s3:authtype": Kind.TEXT,  # REST-HEADER, REST-QUERY-STRING, POST
    "s3:delimiter": Kind.TEXT,
    "s3:if-match": Kind.TEXT,
    "s3:if-none-match": Kind.TEXT,
    "s3:locationconstraint": Kind.TEXT,
    "s3:max-keys": Kind.NUMBER,
    "s3:prefix": Kind.TEXT,
    "s3:requestobjecttagkeys": Kind.TEXT,
    "s3:resourceaccount": Kind.TEXT,
    "s3:signatureage": Kind.NUMBER,  # milliseconds, of presigned requests
    "s3:signatureversion": Kind.TEXT,
    "s3:versionid": Kind.TEXT,
    "s3:x-amz-acl": Kind.TEXT,
    "s3:x-amz-content-sha256": Kind.TEXT,
    "s3:x-amz-copy-source": Kind.TEXT,
    "s3:x-amz-grant-full-control": Kind.TEXT,
    "s3:x-amz-grant-read": Kind.TEXT,
    "s3:x-amz-grant-read-acp": Kind.TEXT,
    "s3:x-amz-grant-write": Kind.TEXT,
    "s3:x-amz-grant-write-acp": Kind.TEXT,
    "s3:x-amz-metadata-directive": Kind.TEXT,
    "s3:x-amz-object-ownership": Kind.TEXT,
    "s3:x-amz-server-side-encryption": Kind.TEXT,
    "s3:x-amz-server-side-encryption-aws-kms-key-id": Kind.ARN,
    "s3:x-amz-server-side-encryption-customer-algorithm": Kind.TEXT,
    "s3:x-amz-storage-class": Kind.TEXT,
    "s3:x-amz-website-redirect-location": Kind.TEXT,
}
# A key per tag: what follows the slash is the tag's key, with its case.
EXISTING_TAG = "s3:existingobjecttag/"
REQUEST_TAG = "s3:requestobjecttag/"

# What aws:userid is of requests without credentials, as at AWS.
ANONYMOUS_USERID = "anonymous"

# Conditions on these can make a grant to everybody one to somebody: https://docs.aws.amazon.com/AmazonS3/latest/userguide/
# access-control-block-public-access.html#access-control-block-public-access-policy-status
# Not s3:x-amz-server-side-encryption-aws-kms-key-id: no KMS asks here who uses the key, so anybody may send that header.
NARROWING = frozenset(
    {
        "aws:principalaccount",
        "aws:principalarn",
        "aws:sourceip",
        "aws:userid",
        "aws:username",
    }
)


def key_kind(key: str) -> tuple[str, Kind] | None:
    """A key as it is looked up, and its kind; None for one that is not known."""
    lower = key.lower()
    for prefix in (EXISTING_TAG, REQUEST_TAG):
        if lower.startswith(prefix) and len(key) > len(prefix):
            return prefix + key[len(prefix) :], Kind.TEXT
    kind = KEYS.get(lower)
    return None if kind is None else (lower, kind)


def of_object(key: str) -> bool:
    """Whether a key (as `key_kind` spells it) may have another value for another object of the same request."""
    return key == "s3:versionid" or key.startswith(EXISTING_TAG)
