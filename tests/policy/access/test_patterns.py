"""Wildcards: as the obvious definition has them, for any text, and quickly for hostile ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.policy.access.actions import ACTIONS, matching_actions
from appliance.policy.access.patterns import TEXT_CHARS_MAX, TooLongError, matcher, searched_chars
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


@pytest.mark.parametrize("pattern", ["a", "*", "a*", "*a*", "*a", "?" * 9, "*a?*"])
def test_texts_have_an_end(pattern):
    matcher(pattern)("a" * TEXT_CHARS_MAX)
    with pytest.raises(TooLongError):
        matcher(pattern)("a" * (TEXT_CHARS_MAX + 1))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("a?", 0), ("a?*b?", 0), ("*ab*", 0), ("*a?*", 2), ("*a?*bcd*?*", 3), ("?*?*?", 1)],
)
def test_what_has_to_be_tried_everywhere_is_known(pattern, expected):
    assert searched_chars(pattern) == expected


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
