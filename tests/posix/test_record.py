"""Records: packed, unpacked, and told apart from files that were changed by hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance_posix.record import (
    CTIME_WINDOW_NS,
    Fingerprint,
    Record,
    info_of,
    pack,
    synthetic_etag,
    unpack,
    version_of,
)

_TEXTS = st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=4)


@given(
    st.builds(
        Record,
        etag=st.text(max_size=40),
        headers=_TEXTS,
        metadata=_TEXTS,
        tags=_TEXTS,
        checksums=_TEXTS,
        part_sizes=st.lists(st.integers(0, 2**40), max_size=5).map(tuple),
        part_checksums=st.lists(_TEXTS, max_size=3).map(tuple),
        key=st.binary(max_size=20),
    )
)
def test_a_record_round_trips(record: Record) -> None:
    assert unpack(pack(record)) == record


@given(st.binary(max_size=60))
def test_bytes_that_are_no_record_are_none(raw: bytes) -> None:
    found = unpack(b"\xff" + raw)
    assert found is None


def test_a_value_that_is_no_text_does_not_prevent_storing_it() -> None:
    record = Record(etag="e", metadata={"name": "a\udcffb"})
    assert unpack(pack(record)) == Record(etag="e", metadata={"name": "a?b"})


def _stat(path: Path, **changes: int) -> os.stat_result:
    real = path.stat()
    fields = list(real)
    names = {name: getattr(real, name) for name in dir(real) if name.startswith("st_")}
    return os.stat_result(fields, {**names, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"st_mtime_ns": 1},
        {"st_ctime_ns": 1},
    ],
)
def test_a_changed_file_has_a_fresh_etag_and_keeps_what_was_said_about_it(
    tmp_path: Path, changes: dict[str, int]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"data")
    stat = path.stat()
    record = Record(
        etag="e" * 32,
        fingerprint=Fingerprint.of(stat),
        metadata={"a": "b"},
        checksums={"crc32": "AAAAAA=="},
        part_sizes=(4,),
    )
    same = info_of("k", stat, record)
    assert (same.etag, same.checksums, same.part_sizes) == ("e" * 32, {"crc32": "AAAAAA=="}, (4,))
    other = _stat(path, **changes)
    info = info_of("k", other, record)
    assert info.etag == synthetic_etag(other) != record.etag
    assert (info.checksums, info.part_sizes, info.metadata) == ({}, (), {"a": "b"})
    assert info.version == version_of(other) != same.version


def test_ctime_may_move_by_as_much_as_publishing_moves_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"data")
    stat = path.stat()
    print_ = Fingerprint.of(stat)
    later = _stat(path, st_ctime_ns=stat.st_ctime_ns + CTIME_WINDOW_NS)
    too_late = _stat(path, st_ctime_ns=stat.st_ctime_ns + CTIME_WINDOW_NS + 1)
    assert print_.matches(later, CTIME_WINDOW_NS)
    assert not print_.matches(too_late, CTIME_WINDOW_NS)


def test_a_synthetic_etag_is_never_taken_for_an_md5(tmp_path: Path) -> None:
    etag = synthetic_etag(tmp_path.stat())
    assert len(etag) == 34
    assert etag.endswith("-0")


def test_files_without_a_record_have_a_type_by_their_name(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    types = {key: info_of(key, path.stat(), None).headers for key in ("a.html", "a.tar.gz", "a")}
    assert types == {
        "a.html": {"content-type": "text/html"},
        "a.tar.gz": {"content-type": "application/gzip"},
        "a": {},
    }
