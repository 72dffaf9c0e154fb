"""Names, metadata, xattrs, mountinfo, listings: decisions without I/O."""

from __future__ import annotations

import errno
import stat

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.model.names import key_bytes
from appliance.model.objects import ListPage, ObjectInfo
from appliance.mount import posix_metadata, xattrs
from appliance.mount.directory import Entries
from appliance.mount.failure import Errno
from appliance.mount.hints import Hints
from appliance.mount.mountpoint import is_inside, parse_mountinfo
from appliance.mount.names import ancestors, child_key, fits, is_component, split
from appliance.mount.posix_metadata import PosixFacts
from appliance.mount.recent import Recent

components = st.binary(min_size=1, max_size=12).filter(
    lambda name: b"/" not in name and b"\0" not in name
)


# --- names --------------------------------------------------------------------------------


@given(st.lists(components, max_size=4), components)
def test_a_key_splits_into_directory_and_name(parents, name):
    directory = "".join(child_key("", parent) + "/" for parent in parents)
    key = child_key(directory, name)
    assert split(key) == (directory, name)
    assert split(key + "/") == (directory, name)
    assert key_bytes(key) == b"/".join([*parents, name])


@pytest.mark.parametrize(
    ("key", "above"),
    [
        ("a", []),
        ("a/", []),
        ("a/b", ["a/"]),
        ("a/b/", ["a/"]),
        ("a/b/c", ["a/b/", "a/"]),
        ("", []),
        ("/a", ["/"]),
    ],
)
def test_ancestors(key, above):
    assert ancestors(key) == above


@pytest.mark.parametrize("name", [b"", b".", b"..", b"x" * 256, b"a/b"])
def test_what_no_directory_can_hold(name):
    assert not is_component(name)


def test_component_and_key_limits():
    assert is_component(b"x" * 255)
    assert fits("x" * 1024)
    assert not fits("ü" * 513)


# --- metadata -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("33188", 0o644),  # s3fs, regular
        ("33261", 0o755),
        ("16877", 0o755),  # s3fs, directory
        ("100644", 0o644),  # rclone
        ("0100644", 0o644),
        ("040755", 0o755),
        ("0644", 0o644),
        ("644", 0o644),
        ("", None),
        ("rw-r--r--", None),
        ("099", None),
        ("-1", None),
        ("9" * 20, None),
        ("٣", None),
    ],
)
def test_modes_of_others(text, mode):
    assert posix_metadata.parse_mode(text) == mode


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("1600000000", 1600000000_000000000),
        ("1600000000.5", 1600000000_500000000),
        ("1600000000.123456789", 1600000000_123456789),
        ("1600000000.1234567891", 1600000000_123456789),
        ("2020-09-13T12:26:40Z", 1600000000_000000000),
        ("2020-09-13T14:26:40.123456789+02:00", 1600000000_123456000),
        ("2020-09-13T12:26:40", None),
        ("yesterday", None),
        ("1e9", None),
        ("", None),
        ("9" * 30, None),
    ],
)
def test_times_of_others(text, time_ns):
    assert posix_metadata.parse_time_ns(text) == time_ns


@given(
    st.builds(
        PosixFacts,
        st.none() | st.integers(0, 0o7777),
        st.none() | st.integers(0, 2**32 - 2),
        st.none() | st.integers(0, 2**32 - 2),
        st.none() | st.integers(0, 2**62),
    ),
    st.booleans(),
)
def test_facts_round_trip_through_metadata(facts, directory):
    metadata = posix_metadata.merge({"own": "kept"}, facts, directory=directory)
    assert posix_metadata.parse(metadata) == facts
    assert posix_metadata.user_metadata(metadata) == {"own": "kept"}


@given(st.integers(0, 0o7777), st.booleans())
def test_a_mode_is_written_so_that_s3fs_reads_the_same(mode, directory):
    text = posix_metadata.format_mode(mode, directory=directory)
    # strtoll with base 0, as s3fs reads it.
    assert text.startswith("0")
    assert int(text, 8) == mode | (stat.S_IFDIR if directory else stat.S_IFREG)


@given(st.dictionaries(st.text(), st.text()))
def test_nonsense_in_metadata_is_survived(metadata):
    assert isinstance(posix_metadata.parse(metadata), PosixFacts)


# --- xattrs -------------------------------------------------------------------------------


def test_xattrs_round_trip():
    metadata = xattrs.with_value({"mtime": "1"}, b"user.colour", "grün".encode())
    assert metadata == {"mtime": "1", "colour": "grün"}
    assert xattrs.get(metadata, b"user.colour") == "grün".encode()
    assert xattrs.listing(metadata) == [b"user.colour"]
    assert xattrs.without(metadata, b"user.colour") == {"mtime": "1"}


@pytest.mark.parametrize(
    ("name", "value", "number"),
    [
        (b"user.Upper", b"1", errno.EOPNOTSUPP),
        (b"user.", b"1", errno.EOPNOTSUPP),
        (b"user.a b", b"1", errno.EOPNOTSUPP),
        (b"user.\xff", b"1", errno.EOPNOTSUPP),
        (b"user.mtime", b"1", errno.EOPNOTSUPP),
        (b"security.selinux", b"1", errno.EOPNOTSUPP),
        (b"user.a", b"\xff", errno.EINVAL),
        (b"user.a", b"line\n", errno.EINVAL),
        (b"user.a", b" padded", errno.EINVAL),
        (b"user.a", b"x" * 2048, errno.E2BIG),
    ],
)
def test_xattrs_that_would_not_come_back_as_they_went(name, value, number):
    with pytest.raises(Errno) as caught:
        xattrs.with_value({}, name, value)
    assert caught.value.number == number


# --- mountinfo ------------------------------------------------------------------------------


def test_mountinfo():
    raw = (
        b"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        b"99 22 0:57 / /srv/a\\040b\\134c rw,nosuid - fuse.appliance appliance: rw\n"
        b"garbage\n"
    )
    mounts = parse_mountinfo(raw)
    assert [(info.device, info.path, info.kind) for info in mounts] == [
        ("8:1", "/", "ext4"),
        ("0:57", "/srv/a b\\c", "fuse.appliance"),
    ]


def test_is_inside():
    assert is_inside("/srv/mount/x", "/srv/mount")
    assert is_inside("/srv/mount", "/srv/mount")
    assert not is_inside("/srv/mountain", "/srv/mount")


# --- listings -------------------------------------------------------------------------------


def object_info(key, version="1"):
    return ObjectInfo(key=key, size=1, etag="e", version=version, modified_ns=0)


def page_of(keys, prefix):
    """What a listing with delimiter "/" has for these keys, as a single page."""
    objects, prefixes = [], []
    for key in sorted(keys, key=key_bytes):
        head, slash, _ = key[len(prefix) :].partition("/")
        if not slash:
            objects.append(object_info(key))
        elif prefix + head + "/" not in prefixes:
            prefixes.append(prefix + head + "/")
    return objects, prefixes


def paged(objects, prefixes, size):
    items = sorted(
        [(key_bytes(info.key), info, None) for info in objects]
        + [(key_bytes(prefix), None, prefix) for prefix in prefixes],
        key=lambda item: item[0],
    )
    for start in range(0, max(len(items), 1), size):
        part = items[start : start + size]
        yield ListPage(
            objects=tuple(info for _, info, _ in part if info),
            common_prefixes=tuple(prefix for _, _, prefix in part if prefix),
        )


@given(st.sets(st.text(alphabet="ab-./0", min_size=1, max_size=6), max_size=25), st.integers(1, 5))
@example({"a", "a-", "a-/x", "a/b", "a.", "b"}, 1)
@example({"d", "d-", "d--", "d--/x", "d-/x", "d/x"}, 2)
def test_a_listing_shows_each_name_once_and_directories_before_files(keys, size):
    prefix = "p/"
    objects, prefixes = page_of([prefix + key for key in keys], prefix)
    entries = Entries(prefix)
    found = [entry for page in paged(objects, prefixes, size) for entry in entries.feed(page)]
    found += entries.finish()
    names = [entry.name for entry in found]
    assert len(names) == len(set(names))
    heads = {key.partition("/")[0] for key in keys}
    assert set(names) == {head.encode() for head in heads if is_component(head.encode())}
    directories = {key.partition("/")[0].encode() for key in keys if "/" in key}
    for entry in found:
        assert (entry.info is None) == (entry.name in directories)


# --- what changed lately -----------------------------------------------------------------


def test_a_change_touches_the_name_and_all_above():
    recent = Recent()
    before = recent.mark()
    recent.touch("b", "a/b/c")
    for key in ("a/b/c", "a/b/c/", "a/b/", "a/"):
        assert recent.touched(before, "b", key)
        assert not recent.touched(recent.mark(), "b", key)
    assert not recent.touched(before, "b", "a/b")
    assert not recent.touched(before, "other", "a/")


@given(
    st.lists(st.sampled_from(["a", "b", "c/d", "c/e", "f/g/h"]), max_size=30), st.integers(0, 29)
)
def test_no_change_is_ever_missed(keys, since):
    recent = Recent(remembered=3)
    mark = 0
    for index, key in enumerate(keys):
        if index == since:
            mark = recent.mark()
        recent.touch("b", key)
    for key in keys[since:]:
        assert recent.touched(mark, "b", key)
    assert recent.statistics()["changes_remembered"] <= 3


# --- hints --------------------------------------------------------------------------------


def test_hints_are_for_files_that_cannot_be_directories():
    page = ListPage(
        objects=tuple(object_info(key) for key in ("d/a", "d/b", "d/c")),
        common_prefixes=("d/a/",),
        continuation="more",
        last="d/c",
    )
    hints = Hints(Recent())
    hints.learn("b", page, 0, until_s=10)
    assert [hints.size("b", f"d/{name}", 5) for name in "abcd"] == [None, 1, None, None]
    assert hints.size("b", "d/b", 10) is None


def test_a_hint_is_void_once_a_directory_of_that_name_may_have_come():
    recent = Recent()
    hints = Hints(recent)
    hints.learn("b", ListPage(objects=(object_info("d/a"),), last="d/a"), recent.mark(), until_s=10)
    assert hints.size("b", "d/a", 0) == 1
    recent.touch("b", "d/a/below")
    assert hints.size("b", "d/a", 0) is None


def test_the_second_miss_in_a_directory_is_worth_a_listing():
    hints = Hints(Recent())
    assert not hints.missed("b", "d/", 0, within_s=60)
    assert not hints.missed("b", "other/", 0, within_s=60)
    assert hints.missed("b", "d/", 59, within_s=60)
    assert not hints.missed("b", "d/", 119, within_s=60)
