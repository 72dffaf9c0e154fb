"""Policy documents of browser uploads: what they allow, and what of them is not understood."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.s3.wire.errors import PolicyDocumentError, PolicyRefusedError
from appliance.s3.wire.post_policy import PostPolicy, parse_policy

SOON = "2030-01-01T00:00:00.000Z"
SOON_S = 1_893_456_000.0
FIELDS = {"key": "user/a.txt", "content-type": "image/png", "policy": "…", "x-amz-signature": "…"}
CONDITIONS = [
    {"bucket": "bucket"},
    ["starts-with", "$key", "user/"],
    ["Starts-With", "$Content-Type", "image/"],
    ["content-length-range", 1, "1048576"],
]


def encoded(document: object) -> str:
    return base64.b64encode(json.dumps(document).encode()).decode()


def policy(*conditions: object, expiration: object = SOON) -> PostPolicy:
    return parse_policy(encoded({"expiration": expiration, "conditions": list(conditions)}))


def test_a_form_that_fits():
    found = policy(*CONDITIONS)
    found.check(FIELDS, "bucket", SOON_S)
    assert (found.size_min, found.size_max, found.expires_s) == (1, 1048576, SOON_S)


def test_all_of_several_sizes_must_hold():
    found = policy(["content-length-range", 1, 50], ["content-length-range", 10, 100])
    assert (found.size_min, found.size_max) == (10, 50)
    assert policy().size_max is None


@pytest.mark.parametrize(
    ("change", "bucket", "now_s", "words"),
    [
        ({}, "bucket", SOON_S + 1, "expired"),
        ({}, "other", SOON_S, '"eq", "$bucket", "bucket"'),
        ({"bucket": "bucket"}, "other", SOON_S, "$bucket"),
        ({"key": "else/a.txt"}, "bucket", SOON_S, "$key"),
        ({"content-type": "text/plain"}, "bucket", SOON_S, "$content-type"),
        ({"content-type": "image/png, text/html"}, "bucket", SOON_S, "$content-type"),
        ({"x-amz-meta-a": "1"}, "bucket", SOON_S, "Extra input fields: x-amz-meta-a"),
        ({"acl": "public-read"}, "bucket", SOON_S, "Extra input fields: acl"),
    ],
)
def test_a_form_that_does_not_fit(change: dict[str, str], bucket: str, now_s: float, words: str):
    with pytest.raises(PolicyRefusedError) as caught:
        policy(*CONDITIONS).check({**FIELDS, **change}, bucket, now_s)
    assert words in str(caught.value)


def test_what_a_condition_names_must_be_there():
    with pytest.raises(PolicyRefusedError):
        policy(["starts-with", "$x-amz-meta-a", ""], *CONDITIONS).check(FIELDS, "bucket", 0)
    policy(["starts-with", "$x-amz-meta-a", ""], *CONDITIONS).check(
        {**FIELDS, "x-amz-meta-a": "anything"}, "bucket", 0
    )


@pytest.mark.parametrize(
    "document",
    [
        [], "text", {}, {"expiration": SOON}, {"conditions": []},
        {"EXPIRATION": SOON, "conditions": []},
        {"expiration": SOON, "conditions": [], "version": 2},
        {"expiration": SOON, "conditions": {}},
        {"expiration": "tomorrow", "conditions": []},
        {"expiration": "2030-13-01T00:00:00Z", "conditions": []},
        {"expiration": 5, "conditions": []},
        *(
            {"expiration": SOON, "conditions": [condition]}
            for condition in (
                {}, {"a": "1", "b": "2"}, {"a": 1}, {"": "x"}, [], "eq", 7, None, ["eq"], ["eq", "$a"],
                ["eq", "a", "b"], ["eq", "$a", 1], ["ends-with", "$a", "b"], ["eq", "$a", "b", "c"], ["eq", "$", "b"],
                ["content-length-range"], ["content-length-range", 0], ["content-length-range", -1, 0],
                ["content-length-range", 0, True], ["content-length-range", 0, 1.5], ["content-length-range", 0, "x"],
                ["content-length-range", 0, 1, 2], [["eq"], "$a", "b"],
            )
        ),
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_not_understood_is_refused(document: object):
    with pytest.raises(PolicyDocumentError):
        parse_policy(encoded(document))


def test_what_is_no_json_is_refused():
    for raw in (b"{", b"\xff", b'{"expiration": 1, "expiration": 2}', b"[" * 100_000):
        with pytest.raises(PolicyDocumentError):
            parse_policy(base64.b64encode(raw).decode())
    with pytest.raises(PolicyDocumentError):
        parse_policy("not base64!")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@given(JSON, JSON)
@settings(max_examples=200, deadline=None)
def test_any_document_is_a_policy_or_an_error(expiration: object, conditions: object):
    try:
        found = parse_policy(encoded({"expiration": expiration, "conditions": conditions}))
    except PolicyDocumentError:
        return
    assert isinstance(found, PostPolicy)
