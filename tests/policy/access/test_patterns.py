"""Wildcards: as the obvious definition has them, for any text, and quickly for hostile ones."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.policy.access.actions import ACTIONS, matching_actions
from appliance.policy.access.patterns import matcher
from tests.support.access_reference import wild

FEW = st.text(alphabet="ab*?/\n.\\", max_size=8)


@given(FEW, st.text(alphabet="ab/\n.\\", max_size=8))
def test_patterns_match_what_the_definition_says(pattern, text):
    assert bool(matcher(pattern)(text)) is wild(pattern, text)


@given(st.text(max_size=12))
def test_text_without_wildcards_matches_itself_only(text):
    if not {"*", "?"} & set(text):
        assert matcher(text)(text)
        assert not matcher(text)(text + "x")


def test_hostile_patterns_do_not_blow_up():
    # Each star could stop anywhere: 10**50 ways, had they all to be tried.
    assert not matcher("a*" * 50 + "b")("a" * 1024)
    assert not matcher("*a?" * 300 + "b")("a" * 1024)
    assert matcher("*a" * 500)("a" * 1024)


def test_actions_are_known_by_name_and_pattern_in_any_case():
    assert matching_actions("S3:getOBJECT") == {"s3:GetObject"}
    assert matching_actions("s3:GetBucketPolic*") == {
        "s3:GetBucketPolicy",
        "s3:GetBucketPolicyStatus",
    }
    assert matching_actions("*") == matching_actions("s3:*") == ACTIONS
    assert not matching_actions("s3:Nothing")
    assert not matching_actions("s*")
    assert not matching_actions("iam:*")
