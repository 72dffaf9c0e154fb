"""Conditions: each comparison, what is missing, and what several values mean. The rest is held to the reference in test_decide."""

from __future__ import annotations

import pytest

from appliance.policy.access.conditions import parse_conditions


def holds(operator: str, key: str, wanted: object, *values: str) -> bool:
    (condition,) = parse_conditions({operator: {key: wanted}})
    return condition.holds(lambda asked: values if asked == key.lower() else ())


@pytest.mark.parametrize(
    ("operator", "key", "wanted", "value", "expected"),
    [
        ("StringEquals", "s3:prefix", "a", "a", True),
        ("StringEquals", "s3:prefix", "a", "A", False),
        ("StringNotEquals", "s3:prefix", ["a", "b"], "b", False),
        ("StringEqualsIgnoreCase", "s3:prefix", "STRASSE", "straße", True),
        ("StringLike", "s3:prefix", "a/*/?", "a/b/c/d", True),
        ("StringNotLike", "s3:prefix", "a*", "b", True),
        ("stringequals", "S3:Prefix", "a", "a", True),
        ("NumericEquals", "s3:max-keys", 10, "10", True),
        ("NumericLessThan", "s3:max-keys", "10", "10", False),
        ("NumericLessThanEquals", "s3:max-keys", "10", "10", True),
        ("NumericGreaterThan", "s3:max-keys", "10", "10.5", True),
        ("NumericGreaterThanEquals", "s3:max-keys", "10", "9", False),
        ("NumericNotEquals", "s3:max-keys", "10", "no number", True),
        ("NumericLessThan", "s3:max-keys", "10", "no number", False),
        ("DateLessThan", "aws:CurrentTime", "2024-01-02T00:00:00Z", "2024-01-01T23:59:59Z", True),
        ("DateLessThan", "aws:CurrentTime", "2024-01-02", "2024-01-02T00:00:00Z", False),
        ("DateGreaterThan", "aws:CurrentTime", "2024-01-02T00:00+01:00", "2024-01-01T23:30Z", True),
        ("DateGreaterThanEquals", "aws:EpochTime", "1704153600", "1704153600", True),
        ("DateEquals", "aws:EpochTime", "2024-01-02T00:00:00Z", "1704153600", True),
        ("DateNotEquals", "aws:EpochTime", "2024-01-02T00:00:00Z", "1704153600", False),
        ("NumericGreaterThan", "aws:EpochTime", "1704153599", "1704153600", True),
        ("Bool", "aws:SecureTransport", True, "true", True),
        ("Bool", "aws:SecureTransport", "FALSE", "true", False),
        ("IpAddress", "aws:SourceIp", "10.0.0.0/8", "10.1.2.3", True),
        ("IpAddress", "aws:SourceIp", "10.0.0.1", "10.0.0.2", False),
        ("IpAddress", "aws:SourceIp", "10.0.0.0/8", "::ffff:10.1.2.3", True),
        ("IpAddress", "aws:SourceIp", "2001:db8::/32", "2001:db8::1", True),
        ("NotIpAddress", "aws:SourceIp", "10.0.0.0/8", "not an address", True),
        ("ArnLike", "aws:PrincipalArn", "arn:aws:iam::a*:root", "arn:aws:iam::abc:root", True),
        ("ArnNotLike", "aws:PrincipalArn", "arn:aws:iam::b:root", "arn:aws:iam::a:root", True),
        ("Null", "s3:prefix", "false", "x", True),
        ("Null", "s3:prefix", "true", "x", False),
    ],
)
def test_comparisons(operator, key, wanted, value, expected):
    assert holds(operator, key, wanted, value) is expected


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("StringEquals", False),
        ("StringNotEquals", True),
        ("StringEqualsIfExists", True),
        ("StringNotEqualsIfExists", True),
        ("ForAnyValue:StringEquals", False),
        ("ForAnyValue:StringNotEquals", False),
        ("ForAllValues:StringEquals", True),
        ("ForAllValues:StringNotEquals", True),
        ("ForAnyValue:StringEqualsIfExists", True),
    ],
)
def test_what_a_request_does_not_have(operator, expected):
    assert holds(operator, "s3:prefix", "a") is expected


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("ForAnyValue:StringEquals", True),
        ("ForAllValues:StringEquals", False),
        ("ForAnyValue:StringNotEquals", True),
        ("ForAllValues:StringNotEquals", False),
        ("StringEquals", True),
        ("StringNotEquals", False),
    ],
)
def test_several_values(operator, expected):
    assert holds(operator, "s3:RequestObjectTagKeys", "a", "a", "b") is expected


def test_tags_keep_the_case_of_their_keys():
    (condition,) = parse_conditions({"StringEquals": {"S3:existingobjectTAG/Key": "v"}})
    assert condition.key == "s3:existingobjecttag/Key"
    assert condition.holds({"s3:existingobjecttag/Key": ("v",)}.__getitem__)


def test_all_operators_and_keys_must_hold():
    conditions = parse_conditions(
        {
            "StringEquals": {"s3:prefix": "a", "s3:delimiter": "/"},
            "Bool": {"aws:SecureTransport": True},
        }
    )
    assert [one.key for one in conditions] == ["s3:prefix", "s3:delimiter", "aws:securetransport"]
