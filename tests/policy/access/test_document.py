"""Policies: what is understood, and that everything else is refused with a sentence, never ignored and never a crash."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.policy.access.document import POLICY_BYTES_MAX, deny_all, load_policy, parse_policy
from appliance.policy.access.errors import MalformedPolicyError
from tests.support import access_reference as reference
from tests.support.access_reference import OTHER, THIRD

NAMES = {OTHER: OTHER, THIRD: THIRD, "bob": OTHER}
KMS_KEY = "x-amz-server-side-encryption-aws-kms-key-id"
GOOD: dict[str, Any] = {
    "Version": "2012-10-17",
    "Id": "one",
    "Statement": [
        {
            "Sid": "s",
            "Effect": "Allow",
            "Principal": {"AWS": ["*"]},
            "Action": "s3:GetObject",
            "Resource": "arn:aws:s3:::b/*",
            "Condition": {"StringEquals": {"s3:prefix": "x"}},
        }
    ],
}


def parse(tree: Any, bucket: str = "b"):
    return parse_policy(json.dumps(tree).encode(), bucket, lambda name: NAMES.get(name, ""))


def changed(path: str, value: object) -> dict[str, Any]:
    """GOOD with one thing set; the path's last word is the name, "-" in front of it takes it out; S is the statement, C its condition."""
    tree = copy.deepcopy(GOOD)
    place, _, name = path.rpartition(".")
    node = {"": tree, "S": tree["Statement"][0], "C": tree["Statement"][0]["Condition"]}[place]
    if name.startswith("-"):
        del node[name[1:]]
    else:
        node[name] = value
    return tree


def test_the_good_one_is_good():
    assert parse(GOOD).document == json.dumps(GOOD).encode()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("Extra", 1),
        ("Version", "2020-01-01"),
        ("Version", ["2012-10-17"]),
        ("Id", 7),
        ("-Statement", None),
        ("Statement", []),
        ("Statement", "all"),
        ("Statement", [1]),
        ("S.Extra", 1),
        ("S.Sid", 7),
        ("S.Sid", "x" * 257),
        ("S.Sid", "line\nline"),
        ("S.Sid", "\ud800"),
        ("Id", "\ud800"),
        ("\udfff", 1),
        ("S.Resource", "arn:aws:s3:::b/\ud800"),
        ("C.StringEquals", {"s3:prefix": "\ud800"}),
        ("C.StringEquals", {"s3:ExistingObjectTag/\ud800": "x"}),
        ("S.Effect", "allow"),
        ("S.Effect", {"a": 1}),
        ("S.-Effect", None),
        ("S.-Principal", None),
        ("S.NotPrincipal", "*"),
        ("S.Principal", {}),
        ("S.Principal", {"Service": "s3.amazonaws.com"}),
        ("S.Principal", {"Federated": "x"}),
        ("S.Principal", {"AWS": "nobody"}),
        ("S.Principal", {"AWS": "arn:aws:iam::123456789012:role/x"}),
        ("S.Principal", {"AWS": "arn:aws:iam:::user/*"}),
        ("S.Principal", {"AWS": 5}),
        ("S.Principal", {"AWS": []}),
        ("S.Principal", {"CanonicalUser": "*"}),
        ("S.-Action", None),
        ("S.NotAction", "s3:GetObject"),
        ("S.Action", "s3:GetEverything"),
        ("S.Action", "ec2:*"),
        ("S.Action", []),
        ("S.Action", [""]),
        ("S.Action", {"a": "b"}),
        ("S.-Resource", None),
        ("S.Resource", "arn:aws:s3:::c/*"),
        ("S.Resource", "b/*"),
        ("S.Resource", "arn:aws:s3:eu-1::b/*"),
        ("S.Resource", "arn:aws:s3:::b/${aws:username}/*"),
        ("S.Resource", "arn:aws:s3:::b/" + "x" * 2048),
        ("S.Condition", []),
        ("S.Condition", {"StringEquals": "x"}),
        ("C.StringSounds", {"s3:prefix": "x"}),
        ("C.StringEquals", {"s3:weather": "x"}),
        ("C.StringEquals", {"s3:ExistingObjectTag/": "x"}),
        ("C.StringEquals", {"s3:prefix": {}}),
        ("C.StringEquals", {"s3:prefix": []}),
        ("C.StringEquals", {"s3:prefix": "${aws:username}"}),
        ("C.StringEquals", {"aws:SourceIp": "10.0.0.1"}),
        ("C.IpAddress", {"aws:SourceIp": "10.0.0.256"}),
        ("C.IpAddress", {"s3:prefix": "10.0.0.1"}),
        ("C.NumericEquals", {"s3:max-keys": "many"}),
        ("C.NumericEquals", {"s3:prefix": "1"}),
        ("C.DateLessThan", {"aws:CurrentTime": "tomorrow"}),
        ("C.DateLessThan", {"aws:CurrentTime": "2024-02-31T00:00:00Z"}),
        ("C.Bool", {"aws:SecureTransport": "yes"}),
        ("C.Null", {"s3:prefix": "maybe"}),
        ("C.NullIfExists", {"s3:prefix": "true"}),
        ("C.ForSomeValues:StringEquals", {"s3:prefix": "x"}),
        ("C.BinaryEquals", {"s3:prefix": "eA=="}),
        ("C.ArnLike", {"aws:PrincipalArn": "bob"}),
        ("C.StringLike", {"s3:prefix": ["*" + "a?" * 40 + f"{one}*" for one in range(4)]}),
        ("S.Resource", ["arn:aws:s3:::b/*" + "?" * 150 + f"{one}*" for one in range(2)]),
    ],
)
def test_what_is_not_understood_is_refused(path, value):
    with pytest.raises(MalformedPolicyError):
        parse(changed(path, value))


def test_allow_with_not_principal_is_refused():
    tree = changed("S.-Principal", None)
    tree["Statement"][0]["NotPrincipal"] = {"AWS": OTHER}
    with pytest.raises(MalformedPolicyError):
        parse(tree)
    tree["Statement"][0]["Effect"] = "Deny"
    assert not parse(tree).statements[0].who.includes(OTHER)
    assert parse(tree).statements[0].who.includes("")


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b'{"a":1}x',
        b"\xff\xfe{\x00}\x00",
        b'{"Statement": NaN}',
        b'{"Version": "2012-10-17", "Version": "2012-10-17"}',
        b'{"a":' * 5000,
        b'{"a": "' + b"x" * POLICY_BYTES_MAX + b'"}',
    ],
)
def test_what_is_no_policy_at_all_is_refused(document):
    with pytest.raises(MalformedPolicyError):
        parse_policy(document, "b", lambda _name: "")


@pytest.mark.parametrize(
    "principal",
    ["bob", OTHER, f"arn:aws:iam::{OTHER}:root", "arn:aws:iam:::user/bob", "arn:aws:iam::bob:root"],
)
def test_principals_that_are_understood(principal):
    policy = parse(changed("S.Principal", {"AWS": principal}))
    assert policy.statements[0].who.includes(OTHER)
    assert not policy.statements[0].who.includes(THIRD)
    assert not policy.statements[0].who.includes("")


def test_a_stored_policy_keeps_its_principals_whoever_has_their_names_now():
    stored = parse(changed("S.Principal", {"AWS": "arn:aws:iam:::user/bob"})).encode()
    again = load_policy(stored, "b")
    assert again.statements[0].who.accounts == frozenset({OTHER})
    assert (
        again.document
        == json.dumps(changed("S.Principal", {"AWS": "arn:aws:iam:::user/bob"})).encode()
    )


@pytest.mark.parametrize(
    ("path", "value", "public"),
    [
        ("S.Principal", "*", True),
        ("S.Principal", {"AWS": OTHER}, False),
        ("S.Effect", "Deny", False),
        ("S.Condition", {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, False),
        ("S.Condition", {"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "0.0.0.0/1"]}}, True),
        ("S.Condition", {"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, True),
        ("S.Condition", {"IpAddressIfExists": {"aws:SourceIp": "10.0.0.0/8"}}, True),
        ("S.Condition", {"StringEquals": {"aws:username": "bob"}}, False),
        ("S.Condition", {"StringEquals": {"aws:userid": OTHER}}, False),
        ("S.Condition", {"StringEquals": {"aws:userid": "anonymous"}}, True),
        ("S.Condition", {"StringEqualsIgnoreCase": {"aws:userid": [OTHER, "ANONYMOUS"]}}, True),
        ("S.Condition", {"ForAnyValue:StringLike": {"aws:userid": "anonymous"}}, True),
        ("S.Condition", {"StringEquals": {f"s3:{KMS_KEY}": "arn:aws:kms:::key/1"}}, True),
        ("S.Condition", {"StringLike": {"aws:username": "b*"}}, True),
        ("S.Condition", {"ForAllValues:StringEquals": {"aws:username": "bob"}}, True),
        ("S.Condition", {"StringEquals": {"aws:Referer": "https://example.org"}}, True),
    ],
)
def test_which_policies_are_public(path, value, public):
    assert parse(changed(path, value)).public is public


def test_the_stand_in_for_an_unreadable_policy_denies_everybody():
    denying, allowing = deny_all().about("")
    assert not allowing
    assert denying[0].applies("s3:GetObject", "b/k", lambda _key: ())


@settings(max_examples=200)
@given(reference.POLICIES)
def test_what_strategies_make_is_understood_and_stored(statements):
    document = json.dumps({"Version": "2012-10-17", "Statement": statements}).encode()
    policy = parse_policy(document, "b", lambda name: name if len(name) == 64 else "")
    again = load_policy(policy.encode(), "b")
    assert again.document == document
    assert [one.actions for one in again.statements] == [one.actions for one in policy.statements]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*GOOD, *GOOD["Statement"][0], "StringEquals", "s3:prefix", "AWS"])
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300)
@given(JSON | st.binary(max_size=64))
def test_anything_is_a_policy_or_refused(tree):
    document = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
    assert outcome(document)


def outcome(document: bytes) -> object:
    """The statements, or why not."""
    try:
        return parse_policy(document, "b", lambda _name: OTHER).statements
    except MalformedPolicyError as error:
        return str(error)
