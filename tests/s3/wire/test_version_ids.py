"""Version ids: opaque, the same each time, and useless for anything but their object."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.s3.wire.errors import InvalidArgumentValueError
from appliance.s3.wire.version_ids import opened_version_id, sealed_version_id

SECRET = b"secret"


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=100))
def test_they_come_back(version_id: str):
    sealed = sealed_version_id(version_id, "bucket", "key", SECRET)
    assert sealed == sealed_version_id(version_id, "bucket", "key", SECRET)
    assert opened_version_id(sealed, "bucket", "key", SECRET) == version_id


@pytest.mark.parametrize("version_id", ["", "null"])
def test_what_is_no_secret_is_not_sealed(version_id: str):
    assert sealed_version_id(version_id, "b", "k", SECRET) == version_id
    assert opened_version_id(version_id, "b", "k", SECRET) == version_id


def test_a_made_up_one_is_an_error():
    sealed = sealed_version_id("v1", "bucket", "key", SECRET)
    for other in ("v1", "../../etc/passwd", sealed[:-1], sealed + "A", "é", "x" * 100_000):
        with pytest.raises(InvalidArgumentValueError):
            opened_version_id(other, "bucket", "key", SECRET)
    for place in (("other", "key"), ("bucket", "other"), ("bucketkey", "")):
        with pytest.raises(InvalidArgumentValueError):
            opened_version_id(sealed, *place, SECRET)
    with pytest.raises(InvalidArgumentValueError):
        opened_version_id(sealed, "bucket", "key", b"another")
