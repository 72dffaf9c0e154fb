"""Documents about access: AccessControlPolicy, OwnershipControls, PublicAccessBlockConfiguration, PolicyStatus; parsed and rendered."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from appliance.policy.access.acl import GROUPS, Grant, Grants, Permission, make_acl
from appliance.policy.access.bucket import Ownership, PublicAccessBlock
from appliance.policy.access.errors import MalformedAclError
from appliance.s3.wire.errors import MalformedXmlError
from appliance.s3.wire.grants import Grantees
from appliance.s3.wire.xml.text import element
from appliance.s3.wire.xml.tree import Node, parse_tree

_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
_XMLNS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
_NONE: frozenset[str] = frozenset()
_BLOCK = {
    "BlockPublicAcls": "block_public_acls",
    "IgnorePublicAcls": "ignore_public_acls",
    "BlockPublicPolicy": "block_public_policy",
    "RestrictPublicBuckets": "restrict_public_buckets",
}

# From a canonical id to a display name.
Named = Callable[[str], str]


class AccessControlPolicy(msgspec.Struct, frozen=True):
    """`owner` is the canonical id that the document names."""

    owner: str
    grants: Grants


def parse_acl(body: bytes, grantees: Grantees) -> AccessControlPolicy:
    """AccessControlPolicy. What a grantee is follows from what it is named by; `xsi:type` says the same again.

    Raises MalformedAclError, InvalidGranteeError, UnknownEmailError, BodyTooLargeError.
    """
    try:
        fields = parse_tree(body, "AccessControlPolicy").fields(
            frozenset({"Owner", "AccessControlList"})
        )
        owner = fields["Owner"].fields(frozenset({"ID", "DisplayName"}))["ID"].text.strip()
        listed = fields["AccessControlList"]
        listed.fields(_NONE, many="Grant")
        found = [_grant(node, grantees) for node in listed.children]
    except (MalformedXmlError, KeyError):
        raise MalformedAclError from None
    return AccessControlPolicy(owner, make_acl(found))


def _grant(node: Node, grantees: Grantees) -> Grant:
    fields = node.fields(frozenset({"Grantee", "Permission"}))
    permission = fields["Permission"].text.strip()
    if permission not in set(Permission):
        raise MalformedAclError
    named = fields["Grantee"].fields(frozenset({"ID", "DisplayName", "EmailAddress", "URI"}))
    ways: dict[str, Callable[[str], str]] = {
        "ID": grantees.by_id,
        "EmailAddress": grantees.by_email,
        "URI": grantees.by_uri,
    }
    used = [(find, named[name].text.strip()) for name, find in ways.items() if name in named]
    if len(used) != 1:
        raise MalformedAclError
    find, name = used[0]
    return Grant(find(name), Permission(permission))


def acl(owner: str, grants: Grants, named: Named) -> bytes:
    """AccessControlPolicy."""
    rows = "".join(
        f"<Grant>{_grantee(grant.grantee, named)}{element('Permission', grant.permission.value)}</Grant>"
        for grant in grants
    )
    whose = f"<Owner>{_account(owner, named)}</Owner>"
    return _document("AccessControlPolicy", f"{whose}<AccessControlList>{rows}</AccessControlList>")


def _account(account_id: str, named: Named) -> str:
    return element("ID", account_id) + element("DisplayName", named(account_id))


def _grantee(grantee: str, named: Named) -> str:
    if grantee in GROUPS:
        return f'<Grantee {_XSI} xsi:type="Group">{element("URI", grantee)}</Grantee>'
    return f'<Grantee {_XSI} xsi:type="CanonicalUser">{_account(grantee, named)}</Grantee>'


def parse_ownership(body: bytes) -> Ownership:
    """OwnershipControls: exactly one rule. Raises MalformedXmlError."""
    root = parse_tree(body, "OwnershipControls")
    try:
        rule = root.fields(frozenset({"Rule"}))["Rule"]
        return Ownership(
            rule.fields(frozenset({"ObjectOwnership"}))["ObjectOwnership"].text.strip()
        )
    except (KeyError, ValueError):
        raise MalformedXmlError from None


def ownership(rule: Ownership) -> bytes:
    """OwnershipControls."""
    return _document("OwnershipControls", f"<Rule>{element('ObjectOwnership', rule.value)}</Rule>")


def parse_public_access_block(body: bytes) -> PublicAccessBlock:
    """PublicAccessBlockConfiguration; what is not there is false. Raises MalformedXmlError."""
    fields = parse_tree(body, "PublicAccessBlockConfiguration").fields(frozenset(_BLOCK))
    return PublicAccessBlock(**{_BLOCK[name]: _flag(node) for name, node in fields.items()})


def _flag(node: Node) -> bool:
    text = node.text.strip().lower()
    if text not in {"true", "false"}:
        raise MalformedXmlError
    return text == "true"


def public_access_block(block: PublicAccessBlock) -> bytes:
    """PublicAccessBlockConfiguration."""
    flags = [
        element(name, "true" if getattr(block, field) else "false")
        for name, field in _BLOCK.items()
    ]
    return _document("PublicAccessBlockConfiguration", "".join(flags))


def policy_status(*, public: bool) -> bytes:
    """PolicyStatus."""
    return _document("PolicyStatus", element("IsPublic", "true" if public else "false"))


def _document(root: str, content: str) -> bytes:
    return f"{_HEAD}<{root} {_XMLNS}>{content}</{root}>".encode()
