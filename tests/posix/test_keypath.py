"""Key <-> path: a bijection, whatever the key, and nothing that leads out."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.model.names import KEY_BYTES_MAX, key_bytes, key_text
from appliance_posix.keypath import (
    NAME_MAX,
    ancestors,
    decode_name,
    directory_path,
    is_canonical,
    locate,
    plain_path,
)

_SEGMENTS = st.one_of(
    st.sampled_from([b"", b".", b"..", b".appliance", b".appliance-dir=", b".snap", b"a", b"%2F"]),
    st.integers(190, 300).map(lambda size: b"x" * size),
    st.integers(60, 120).map(lambda size: "日".encode() * size),
    st.binary(min_size=1, max_size=30).map(
        lambda raw: raw.replace(b"/", b"_").replace(b"\0", b"_")
    ),
    st.text(max_size=20).map(
        lambda text: text.encode("utf-8", "replace").replace(b"/", b"_").replace(b"\0", b"_")
    ),
)
KEYS = (
    st.lists(_SEGMENTS, min_size=1, max_size=8)
    .map(b"/".join)
    .filter(lambda raw: 0 < len(raw) <= KEY_BYTES_MAX)
    .map(key_text)
)


def decoded(path: bytes) -> bytes | None:
    """The key that a path means, by the rules that listings follow: an independent way back."""
    key, head, names = b"", b"", ()
    *directories, last = path.split(b"/")
    for name, is_dir in [*((name, True) for name in directories), (last, False)]:
        piece = decode_name(name, is_dir=is_dir)
        if piece is None:
            return None
        head, names = head + piece.segment, (*names, name)
        if piece.more:
            continue
        if not is_canonical(head, names, is_dir=is_dir):
            return None
        key += head + (b"/" if is_dir else b"")
        head, names = b"", ()
    return key


@given(KEYS)
@example("/" * KEY_BYTES_MAX)
@example("x" * KEY_BYTES_MAX)
@example("ü" * (KEY_BYTES_MAX // 2))
@example("a/../../b")
@example(".nfs0123456789abcdef01234567")
def test_every_place_of_a_key_leads_back_to_it(key: str) -> None:
    for place in locate(key).places():
        assert decoded(place.path) == key_bytes(key)


@given(KEYS)
def test_paths_have_only_harmless_names(key: str) -> None:
    for place in locate(key).places():
        for name in place.path.split(b"/"):
            assert name not in {b"", b".", b"..", b".appliance"}
            assert len(name) <= NAME_MAX
            assert b"\0" not in name


@given(KEYS, KEYS)
def test_two_keys_never_share_a_place(first: str, second: str) -> None:
    if first != second:
        assert not set(locate(first).places()) & set(locate(second).places())


@given(KEYS)
def test_the_fast_path_agrees_with_the_slow_one(key: str) -> None:
    fast = plain_path(key)
    if fast is not None:
        plain = locate(key).plain
        assert plain is not None
        assert plain.path == fast == key_bytes(key)


@given(KEYS)
def test_the_plain_place_of_an_ancestor_is_a_directory_on_the_way(key: str) -> None:
    directory = locate(key).plain.directory if locate(key).plain else locate(key).escaped.directory
    for ancestor in ancestors(key):
        place = locate(ancestor).plain
        assert place is not None
        assert (directory + b"/").startswith(place.path + b"/")
        assert directory_path(key_bytes(ancestor)) == place.path


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("a", b"a"),
        ("a/b.txt", b"a/b.txt"),
        ("a/", b"a/.appliance-object="),
        ("a//b", b"a/.appliance-dir=/b"),
        ("/a", b".appliance-dir=/a"),
        ("..", b".appliance-object=.."),
        ("../a", b".appliance-dir=../a"),
        (".appliance/locks", b".appliance-dir=.appliance/locks"),
        (".snap/x", b".appliance-dir=.snap/x"),
        ("x" * 256, b".appliance-more=" + b"x" * 200 + b"/.appliance-object=" + b"x" * 56),
    ],
)
def test_keys_lie_where_the_documentation_says(key: str, path: bytes) -> None:
    assert next(iter(locate(key).places())).path == path


def test_names_that_only_look_like_escapes_are_no_keys() -> None:
    assert (
        decoded(b".appliance-object=plain") == b"plain"
    )  # the place of an object that stepped aside
    assert decoded(b".appliance-dir=plain/x") is None
    assert decoded(b".appliance-more=short/.appliance-object=x") is None
    assert decoded(b".appliance/locks") is None
    assert decoded(b".snap/x") is None
