"""ACLs in headers and documents: what they say, and that anything else is refused with an error of the domain."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model.errors import ApplianceError
from appliance.policy.access.acl import ALL_USERS, Grant, Permission
from appliance.policy.access.bucket import Ownership, PublicAccessBlock
from appliance.policy.access.errors import InvalidGranteeError, MalformedAclError, UnknownEmailError
from appliance.s3.wire.errors import MalformedXmlError
from appliance.s3.wire.faults import InvalidArgumentValueError, InvalidRequestError
from appliance.s3.wire.grants import Grantees, acl_of_headers, says_acl
from appliance.s3.wire.xml import access

ME, YOU = "a" * 64, "b" * 64
KNOWN = Grantees({ME, YOU}.__contains__, lambda email: YOU if email == "you@example.org" else "")


def of_headers(headers, *, of_bucket: bool = False):
    return acl_of_headers(headers, ME, YOU, KNOWN, of_bucket=of_bucket)


def test_headers_say_who_gets_what():
    assert of_headers({}) is None
    assert not says_acl({"x-amz-date": "x"})
    grants = {
        "x-amz-grant-full-control": f'id="{ME}"',
        "x-amz-grant-read": f'ID={YOU} , emailAddress="you@example.org",uri="{ALL_USERS}"',
    }
    assert says_acl(grants)
    assert of_headers(grants) == (
        Grant(YOU, Permission.READ),
        Grant(ALL_USERS, Permission.READ),
        Grant(ME, Permission.FULL_CONTROL),
    )
    assert of_headers({"x-amz-acl": "bucket-owner-read"}) == (
        Grant(ME, Permission.FULL_CONTROL),
        Grant(YOU, Permission.READ),
    )
    assert of_headers({"x-amz-acl": "bucket-owner-read"}, of_bucket=True) is None


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({"x-amz-acl": "open"}, InvalidArgumentValueError),
        ({"x-amz-acl": "private", "x-amz-grant-read": f"id={ME}"}, InvalidRequestError),
        ({"x-amz-grant-read": "id=unknown"}, InvalidGranteeError),
        ({"x-amz-grant-read": "emailAddress=x@y"}, UnknownEmailError),
        ({"x-amz-grant-read": "uri=http://x"}, InvalidGranteeError),
        ({"x-amz-grant-read": ""}, InvalidArgumentValueError),
        ({"x-amz-grant-read": "name=me"}, InvalidArgumentValueError),
        ({"x-amz-grant-read": f"id={ME} {YOU}"}, InvalidArgumentValueError),
    ],
)
def test_headers_that_say_nothing_known_are_refused(headers, error):
    with pytest.raises(error):
        of_headers(headers)


@given(st.text(max_size=40))
def test_any_header_is_an_acl_or_refused(value):
    assert outcome(of_headers, {"x-amz-grant-read": value}) is not None


# --- documents -----------------------------------------------------------------------------------------


def document(grants: str, owner: str = f"<Owner><ID>{ME}</ID></Owner>") -> bytes:
    listed = f"<AccessControlList>{grants}</AccessControlList>"
    return f"<AccessControlPolicy>{owner}{listed}</AccessControlPolicy>".encode()


def grant(grantee: str, permission: str = "READ") -> str:
    return f"<Grant><Grantee>{grantee}</Grantee><Permission>{permission}</Permission></Grant>"


def test_a_document_is_read_as_it_is_written():
    grants = (Grant(ALL_USERS, Permission.READ), Grant(YOU, Permission.WRITE_ACP))
    body = access.acl(ME, grants, lambda _account: "name & co")
    assert access.parse_acl(body, KNOWN) == access.AccessControlPolicy(ME, grants)
    by_email = grant("<EmailAddress>you@example.org</EmailAddress>", "FULL_CONTROL")
    found = access.parse_acl(document(by_email), KNOWN)
    assert found.grants == (Grant(YOU, Permission.FULL_CONTROL),)
    assert access.parse_acl(document(""), KNOWN).grants == ()


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", MalformedAclError),
        (document(grant(f"<ID>{ME}</ID>", "OWN")), MalformedAclError),
        (document(grant("")), MalformedAclError),
        (document(grant(f"<ID>{ME}</ID><URI>{ALL_USERS}</URI>")), MalformedAclError),
        (document("<Grant/>"), MalformedAclError),
        (document("<Other/>"), MalformedAclError),
        (document("", owner=""), MalformedAclError),
        (document("", owner="<Owner/>"), MalformedAclError),
        (document(grant("<ID>unknown</ID>")), InvalidGranteeError),
        (document(grant("<EmailAddress>x@y</EmailAddress>")), UnknownEmailError),
    ],
)
def test_documents_that_are_none_are_refused(body, error):
    with pytest.raises(error):
        access.parse_acl(body, KNOWN)


@pytest.mark.parametrize("rule", Ownership)
def test_ownership_controls(rule):
    assert access.parse_ownership(access.ownership(rule)) is rule
    for bad in ("", "<Rule/>", "<Rule><ObjectOwnership>Mine</ObjectOwnership></Rule>"):
        with pytest.raises(MalformedXmlError):
            access.parse_ownership(f"<OwnershipControls>{bad}</OwnershipControls>".encode())


@given(st.lists(st.booleans(), min_size=4, max_size=4))
def test_public_access_blocks(flags):
    names = PublicAccessBlock.__struct_fields__
    block = PublicAccessBlock(**dict(zip(names, flags, strict=True)))
    assert access.parse_public_access_block(access.public_access_block(block)) == block


@given(
    st.binary(max_size=200) | st.text(alphabet="<>/ACLOwnerGrantIDx", max_size=200).map(str.encode)
)
def test_any_document_is_understood_or_refused(body):
    for parse in (access.parse_ownership, access.parse_public_access_block):
        assert outcome(parse, body) is not None
    assert outcome(lambda given: access.parse_acl(given, KNOWN), body) is not None


def outcome(function, argument) -> object:
    """What comes of it: a value, or an error of the domain."""
    try:
        return function(argument)
    except ApplianceError as error:
        return error
