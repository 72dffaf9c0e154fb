"""Secrets at rest: what opens a sealed secret, and what does not."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.auth.sealing import (
    FILE_NAME,
    Sealer,
    UnsealError,
    check_secret,
    from_environment,
    load_or_create,
)
from appliance.model.errors import ConfigError

SECRET = "c" * 32
SEALER = Sealer(SECRET, os.urandom)


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
def test_a_node_with_the_same_cluster_secret_opens_it(secret, owner):
    elsewhere = Sealer(SECRET, os.urandom)
    assert elsewhere.open(SEALER.seal(secret, owner), owner) == secret


def test_sealed_twice_it_looks_different_and_never_shows_the_secret():
    first, second = (SEALER.seal("a-plain-secret", "owner") for _ in range(2))
    assert first != second
    assert b"plain" not in first


@pytest.mark.parametrize(
    ("sealer", "owner"),
    [(Sealer("d" * 32, os.urandom), "owner"), (SEALER, "another owner")],
    ids=["another cluster secret", "another owner"],
)
def test_it_opens_with_its_cluster_secret_for_its_owner_only(sealer, owner):
    with pytest.raises(UnsealError):
        sealer.open(SEALER.seal("a-plain-secret", "owner"), owner)


def test_every_changed_bit_is_noticed():
    sealed = SEALER.seal("a-plain-secret", "owner")
    for bit in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(UnsealError):
            SEALER.open(bytes(changed), "owner")


@given(st.binary(max_size=64))
def test_what_was_never_sealed_does_not_open(noise):
    with pytest.raises(UnsealError):
        SEALER.open(noise, "owner")


def test_the_cluster_secret_is_made_once_for_its_owner_only(tmp_path):
    made = load_or_create(tmp_path, os.urandom)
    assert load_or_create(tmp_path, os.urandom) == made
    assert len(made) == 64
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_a_cluster_secret_that_others_can_read_is_refused(tmp_path):
    load_or_create(tmp_path, os.urandom)
    (tmp_path / FILE_NAME).chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_or_create(tmp_path, os.urandom)


@pytest.mark.parametrize("weak", ["", "short", "x" * 31, "with spaces " * 4, "é" * 40, "x" * 1025])
def test_weak_cluster_secrets_are_refused_without_repeating_them(weak):
    with pytest.raises(ConfigError, match="32 to 1,024") as caught:
        check_secret(weak, "cluster.secret")
    assert not weak or weak not in str(caught.value)


def test_the_environment_may_give_it():
    assert from_environment({}) is None
    assert from_environment({"APPLIANCE_CLUSTER_SECRET": SECRET}) == SECRET
    with pytest.raises(ConfigError, match="APPLIANCE_CLUSTER_SECRET"):
        from_environment({"APPLIANCE_CLUSTER_SECRET": "weak"})
