"""Names of keys and buckets: every byte string is a key, in the order of its bytes; what may name a bucket."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model.errors import InvalidBucketNameError, InvalidKeyError, KeyTooLongError
from appliance.model.names import (
    check_bucket_name,
    check_key,
    check_new_bucket_name,
    is_bucket_name,
    key_bytes,
    key_text,
)


@given(st.binary(max_size=50))
def test_every_byte_string_round_trips(raw: bytes) -> None:
    assert key_bytes(key_text(raw)) == raw


def test_every_byte_and_every_pair_round_trips() -> None:
    for number in range(1 << 16):
        raw = number.to_bytes(2, "big")
        assert key_bytes(key_text(raw)) == raw


@given(st.text(max_size=30))
def test_every_text_round_trips(text: str) -> None:
    assert key_text(key_bytes(text)) == text


@given(st.lists(st.text(max_size=5), max_size=8))
def test_text_sorts_as_its_bytes_so_sorting_by_either_is_s3_order(texts: list[str]) -> None:
    assert sorted(texts) == sorted(texts, key=key_bytes)


def test_raw_bytes_do_not_sort_as_their_escapes() -> None:
    raw, emoji = key_text(b"\xff"), "\U0001f600"
    assert key_bytes(emoji) < key_bytes(raw)
    assert raw < emoji  # so sort by key_bytes


@pytest.mark.parametrize("unit", ["a", "é", "€", "\U0001f600", key_text(b"\xff")])
def test_keys_are_measured_in_bytes(unit: str) -> None:
    size = len(key_bytes(unit))
    fits, over = unit * (1024 // size), unit * (1024 // size + 1)
    check_key(fits)
    with pytest.raises(KeyTooLongError):
        check_key(over)
    check_key(fits + "x" * (1024 - len(key_bytes(fits))))


def test_a_key_that_is_too_long_is_not_repeated_whole_in_its_error() -> None:
    with pytest.raises(KeyTooLongError) as caught:
        check_key("k" * 100_000)
    assert len(caught.value.key) < 100


@pytest.mark.parametrize(
    "key", ["", "\0", "a\0", "\0" * 2000, "\ud800", "a\udbffb", "\ud800" * 500]
)
def test_impossible_keys_are_refused(key: str) -> None:
    with pytest.raises((InvalidKeyError, KeyTooLongError)):
        check_key(key)


@given(
    st.text(
        st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=256
    )
)
def test_all_other_keys_are_allowed(key: str) -> None:
    check_key(key)
    assert len(key_bytes(key)) <= 1024


GOOD_BUCKETS = (
    "abc",
    "a1b",
    "my-bucket",
    "my.bucket",
    "0ab",
    "a" * 63,
    "1.2.3",
    "1.2.3.4.5",
    "a--b",
)
BAD_NEW_BUCKETS = (
    "", "a", "ab", "a" * 64, "ABC", "aBc", "a_b", "-ab", "ab-", ".ab", "ab.", "a..b", "1.2.3.4", "192.168.5.4", "xn--abc", "sthree-x",
    "amzn-s3-demo-bucket", "abc-s3alias", "abc--ol-s3", "abc.mrap", "abc--x-s3", "abc--table-s3", "a b", "a/b", "a\n", "abc\n", "ü-b",
    "a\0b", "٣٣٣", "..", "../x",
)  # fmt: skip


@pytest.mark.parametrize("bucket", GOOD_BUCKETS)
def test_buckets_that_may_be_created(bucket: str) -> None:
    check_new_bucket_name(bucket)
    check_bucket_name(bucket)


@pytest.mark.parametrize("bucket", BAD_NEW_BUCKETS)
def test_buckets_that_may_not_be_created(bucket: str) -> None:
    with pytest.raises(InvalidBucketNameError) as caught:
        check_new_bucket_name(bucket)
    assert repr(bucket) in caught.value.message


@given(st.text("ab1.-_A/\n", max_size=6))
def test_new_names_are_known_names_and_follow_the_written_rules(bucket: str) -> None:
    """The first four rules of the page, one by one, instead of one expression."""
    expected = (
        3 <= len(bucket) <= 63
        and set(bucket) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-")
        and bucket[0].isalnum()
        and bucket[-1].isalnum()
        and ".." not in bucket
        and not re.fullmatch(r"\d+(\.\d+){3}", bucket)
    )
    try:
        check_new_bucket_name(bucket)
    except InvalidBucketNameError:
        assert not expected
    else:
        assert expected
        assert is_bucket_name(bucket)


@pytest.mark.parametrize(
    "bucket", ["Old_Bucket", "under_score", "UPPER", "a" * 255, "_tmp", "a.b-C_d"]
)
def test_existing_buckets_may_have_older_names(bucket: str) -> None:
    check_bucket_name(bucket)


@pytest.mark.parametrize(
    "bucket", ["", ".", "..", "...", "a", "ab", "a/b", "/etc", ".hidden", "-ab", "a..b", "a\0b", "abc\n", "a" * 256, "a b"]
)  # fmt: skip
def test_no_known_name_reaches_out_of_a_directory(bucket: str) -> None:
    assert not is_bucket_name(bucket)
    with pytest.raises(InvalidBucketNameError):
        check_bucket_name(bucket)
