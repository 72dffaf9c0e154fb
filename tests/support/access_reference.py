"""A second judge, slow and obvious: evaluates the JSON of a policy as AWS's pages tell it, one sentence after the other, without any of the
product's code; and strategies for small policies and requests that meet often.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

BUCKET_OWNER, OTHER, THIRD, NOBODY = "a" * 64, "b" * 64, "c" * 64, ""
ALL = "http://acs.amazonaws.com/groups/global/AllUsers"
KNOWN = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
Keys = Mapping[str, Sequence[str]]


def wild(pattern: str, text: str) -> bool:
    """`*` is anything, `?` one character."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(wild(pattern[1:], text[start:]) for start in range(len(text) + 1))
    return bool(text) and pattern[0] in {"?", text[0]} and wild(pattern[1:], text[1:])


def listed(element: Any) -> list[Any]:
    return element if isinstance(element, list) else [element]


# --- one statement ------------------------------------------------------------------------------------


def about(statement: Mapping[str, Any], who: str) -> bool:
    negated = "NotPrincipal" in statement
    principal = statement["NotPrincipal" if negated else "Principal"]
    names = ["*"] if principal == "*" else listed(principal["AWS"])
    return ("*" in names or (who != NOBODY and who in names)) is not negated


def names_action(statement: Mapping[str, Any], action: str) -> bool:
    negated = "NotAction" in statement
    patterns = listed(statement["NotAction" if negated else "Action"])
    return any(wild(one.lower(), action.lower()) for one in patterns) is not negated


def names_resource(statement: Mapping[str, Any], resource: str) -> bool:
    negated = "NotResource" in statement
    patterns = listed(statement["NotResource" if negated else "Resource"])
    arn = f"arn:aws:s3:::{resource}"
    return any(wild(one, arn) for one in patterns) is not negated


def fits(operator: str, wanted: str, value: str) -> bool:
    """One value of a request against one of a policy, by the comparison's positive name."""
    if operator == "StringEquals":
        return wanted == value
    if operator == "StringEqualsIgnoreCase":
        return wanted.lower() == value.lower()
    if operator == "StringLike":
        return wild(wanted, value)
    if operator == "NumericLessThan":
        return value.isdigit() and int(value) < int(wanted)
    if operator == "NumericEquals":
        return value.isdigit() and int(value) == int(wanted)
    if operator == "Bool":
        return wanted.lower() == value.lower()
    assert operator == "IpAddress"
    return ipaddress.ip_address(value) in ipaddress.ip_network(wanted, strict=False)


NEGATIONS = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "NumericNotEquals": "NumericEquals",
    "NotIpAddress": "IpAddress",
}


def condition_holds(operator: str, wanted: Sequence[str], values: Sequence[str]) -> bool:
    if operator == "Null":
        return (wanted[0] == "true") == (not values)
    plain = operator.removesuffix("IfExists")
    if not values and plain != operator:
        return True
    quantifier, _, plain = plain.rpartition(":")
    negated = plain in NEGATIONS
    plain = NEGATIONS.get(plain, plain)

    def one(value: str) -> bool:
        found = [fits(plain, each, value) for each in wanted]
        return not any(found) if negated else any(found)

    if quantifier == "ForAllValues":
        return all(one(value) for value in values)
    if quantifier == "ForAnyValue":
        return any(one(value) for value in values)
    if not values:
        return negated
    return all(one(value) for value in values) if negated else any(one(value) for value in values)


def applies(statement: Mapping[str, Any], who: str, action: str, resource: str, keys: Keys) -> bool:
    return (
        about(statement, who)
        and names_action(statement, action)
        and names_resource(statement, resource)
        and all(
            condition_holds(operator, listed(wanted), keys.get(key, ()))
            for operator, tests in statement.get("Condition", {}).items()
            for key, wanted in tests.items()
        )
    )


# --- strategies -----------------------------------------------------------------------------------------

ACCOUNTS = st.sampled_from([BUCKET_OWNER, OTHER, THIRD, NOBODY])
ACTIONS = ["s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:DeleteObject", "s3:PutBucketPolicy"]
ACTION_PATTERNS = [*ACTIONS, "s3:*", "*", "s3:Get*", "S3:getobject", "s3:?utObject", "s3:*Bucket*"]
RESOURCES = ["b", "b/k", "b/d/k", "b/d/"]
RESOURCE_PATTERNS = ["b", "b/*", "b/k", "b/d/*", "b/?", "*", "b*", "b/*k"]
VALUES = {
    "s3:prefix": ["d/", "d/k", "D/", ""],
    "s3:max-keys": ["1", "10", "ten"],
    "aws:securetransport": ["true", "false"],
    "aws:sourceip": ["10.0.0.1", "192.168.1.1", "::1"],
    "s3:requestobjecttagkeys": ["x", "y"],
}
OPERATORS = {
    "s3:prefix": ["StringEquals", "StringNotEquals", "StringLike", "StringNotLike", "Null"],
    "s3:max-keys": ["NumericLessThan", "NumericEquals", "NumericNotEquals", "Null"],
    "aws:securetransport": ["Bool", "Null"],
    "aws:sourceip": ["IpAddress", "NotIpAddress", "Null"],
    "s3:requestobjecttagkeys": ["StringEquals", "StringNotEquals", "StringEqualsIgnoreCase"],
}
WANTED = {
    "s3:prefix": ["d/", "d/*", "*", "?/"],
    "s3:max-keys": ["1", "5", "10"],
    "aws:securetransport": ["true", "False"],
    "aws:sourceip": ["10.0.0.0/8", "192.168.1.1", "::/0"],
    "s3:requestobjecttagkeys": ["x", "Y", "z"],
}


@st.composite
def conditions(draw: st.DrawFn) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for key in draw(st.lists(st.sampled_from(sorted(VALUES)), max_size=2, unique=True)):
        operator = draw(st.sampled_from(OPERATORS[key]))
        if operator == "Null":
            found.setdefault(operator, {})[key] = draw(st.sampled_from(["true", "false"]))
            continue
        operator = draw(st.sampled_from(["", "", "ForAnyValue:", "ForAllValues:"])) + operator
        operator += draw(st.sampled_from(["", "", "IfExists"]))
        wanted = draw(st.lists(st.sampled_from(WANTED[key]), min_size=1, max_size=2))
        found.setdefault(operator, {})[key] = wanted if len(wanted) > 1 else wanted[0]
    return found


@st.composite
def statements(draw: st.DrawFn) -> dict[str, Any]:
    effect = draw(st.sampled_from(["Allow", "Deny"]))
    one_or_two = {"min_size": 1, "max_size": 2}
    names = draw(st.lists(st.sampled_from(["*", BUCKET_OWNER, OTHER, THIRD]), **one_or_two))
    principal = draw(st.sampled_from(["*", {"AWS": names}, {"AWS": names[0]}]))
    not_principal = effect == "Deny" and draw(st.integers(0, 4)) == 0
    action = draw(st.sampled_from(["Action", "Action", "Action", "NotAction"]))
    resource = draw(st.sampled_from(["Resource", "Resource", "Resource", "NotResource"]))
    arns = [
        one if one == "*" else f"arn:aws:s3:::{one}"
        for one in draw(st.lists(st.sampled_from(RESOURCE_PATTERNS), **one_or_two))
    ]
    found = {
        "Effect": effect,
        "NotPrincipal" if not_principal else "Principal": principal,
        action: draw(st.lists(st.sampled_from(ACTION_PATTERNS), **one_or_two)),
        resource: arns,
    }
    condition = draw(conditions())
    return {**found, "Condition": condition} if condition else found


POLICIES = st.lists(statements(), min_size=1, max_size=4)
KEYS = st.fixed_dictionaries(
    {},
    optional={
        key: st.lists(
            st.sampled_from(values),
            min_size=1,
            max_size=2 if key == "s3:requestobjecttagkeys" else 1,
        )
        for key, values in VALUES.items()
    },
)
