"""ACLs in headers: a canned one (`x-amz-acl`), or grants one by one (`x-amz-grant-read: id="...", emailAddress="...", uri="..."`).

https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html#setting-acls
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import msgspec

from appliance.policy.access.acl import (
    CANNED,
    GROUPS,
    OBJECT_ONLY,
    PRIVATE,
    Acl,
    Grant,
    Permission,
    make_acl,
)
from appliance.policy.access.errors import InvalidGranteeError, UnknownEmailError
from appliance.s3.wire.faults import InvalidArgumentValueError, InvalidRequestError

CANNED_ACL = "x-amz-acl"
_GRANT_HEADERS = {
    "x-amz-grant-full-control": Permission.FULL_CONTROL,
    "x-amz-grant-read": Permission.READ,
    "x-amz-grant-read-acp": Permission.READ_ACP,
    "x-amz-grant-write": Permission.WRITE,
    "x-amz-grant-write-acp": Permission.WRITE_ACP,
}
# In the order in which S3 lists them.
_ORDER = (
    "x-amz-grant-read",
    "x-amz-grant-write",
    "x-amz-grant-read-acp",
    "x-amz-grant-write-acp",
    "x-amz-grant-full-control",
)
_GRANTEE = re.compile(
    r"\s*(id|emailAddress|uri)\s*=\s*(?:\"([^\"]*)\"|([^\s,\"]+))\s*\Z", re.IGNORECASE
)


class Grantees(msgspec.Struct, frozen=True):
    """Who can be granted anything: `known` says whether an account of that canonical id exists, `with_email` gives the id ("": none)."""

    known: Callable[[str], bool]
    with_email: Callable[[str], str]

    def by_id(self, account_id: str) -> str:
        """Raises InvalidGranteeError."""
        if not self.known(account_id):
            raise InvalidGranteeError
        return account_id

    def by_email(self, email: str) -> str:
        """Raises UnknownEmailError."""
        found = self.with_email(email)
        if not found:
            raise UnknownEmailError
        return found

    def by_uri(self, uri: str) -> str:
        """Raises InvalidGranteeError."""
        if uri not in GROUPS:
            raise InvalidGranteeError("Invalid group uri")
        return uri


def says_acl(headers: Mapping[str, str]) -> bool:
    """Whether a request says anything about an ACL in its headers."""
    return CANNED_ACL in headers or any(name in headers for name in _ORDER)


def acl_of_headers(
    headers: Mapping[str, str],
    owner: str,
    bucket_owner: str,
    grantees: Grantees,
    *,
    of_bucket: bool = False,
) -> Acl:
    """The ACL that headers ask for, PRIVATE if they do not, of what `owner` is to own.

    Raises InvalidRequestError (both kinds at once), InvalidArgumentValueError, InvalidGranteeError, UnknownEmailError, MalformedAclError.
    """
    given = [name for name in _ORDER if name in headers]
    canned = headers.get(CANNED_ACL)
    if canned is not None:
        if given:
            raise InvalidRequestError(
                "Specifying both Canned ACLs and Header Grants is not allowed"
            )
        make = CANNED.get(canned)
        if make is None:
            raise InvalidArgumentValueError("The canned ACL is not valid", CANNED_ACL, canned)
        return PRIVATE if of_bucket and canned in OBJECT_ONLY else make(owner, bucket_owner)
    if not given:
        return PRIVATE
    return make_acl(
        Grant(grantee, _GRANT_HEADERS[name])
        for name in given
        for grantee in _grantees(name, headers[name], grantees)
    )


def _grantees(name: str, value: str, grantees: Grantees) -> list[str]:
    find = {"id": grantees.by_id, "emailaddress": grantees.by_email, "uri": grantees.by_uri}
    found = []
    for item in value.split(","):
        match = _GRANTEE.match(item)
        if match is None:
            raise InvalidArgumentValueError("Argument format not recognized", name, value)
        kind, quoted, bare = match.groups()
        found.append(find[kind.lower()](quoted if quoted is not None else bare))
    return found
