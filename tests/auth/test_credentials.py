"""Root credentials: where they come from, and that their secret stays where it is."""

import hashlib
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.auth.credentials import (
    ACCESS_KEY_VARIABLE,
    FILE_NAME,
    SECRET_KEY_VARIABLE,
    from_environment,
    generate_credentials,
    load_or_create,
    make_credentials,
)
from appliance.model.errors import ConfigError
from tests.support.root_credentials import RootCredentials


def test_the_environment_gives_both_or_neither():
    both = {ACCESS_KEY_VARIABLE: "access", SECRET_KEY_VARIABLE: "secret-key"}
    assert from_environment({}) is None
    assert from_environment(both).secret_key == "secret-key"
    for name, value in both.items():
        with pytest.raises(ConfigError, match="belong together"):
            from_environment({name: value})


@pytest.mark.parametrize(
    ("access_key", "secret_key"),
    [
        ("", "long-enough"),
        ("ab", "long-enough"),
        ("a/b", "long-enough"),
        ("a,b", "long-enough"),
        ("abc", "short"),
        ("abc", "with space s"),
        ("abc", "é" * 20),
    ],
)
def test_keys_that_cannot_be_signed_with_are_refused_without_telling_the_secret(
    access_key, secret_key
):
    with pytest.raises(ConfigError) as caught:
        make_credentials(access_key, secret_key)
    assert secret_key not in str(caught.value)


def test_a_secret_does_not_show():
    credentials = make_credentials("access", "the-secret-key")
    assert "the-secret-key" not in repr(credentials)
    assert "the-secret-key" not in f"{credentials} {credentials.identity}"


def test_the_canonical_id_stays_when_keys_change():
    first, second = (make_credentials(f"access{n}", f"secret-key-{n}") for n in (1, 2))
    assert first.identity.account_id == second.identity.account_id
    assert len(first.identity.account_id) == 64


@given(st.binary(min_size=30, max_size=30))
def test_generated_keys_are_valid_and_differ(seed):
    credentials = generate_credentials(lambda size: hashlib.shake_128(seed).digest(size))
    assert (len(credentials.access_key), len(credentials.secret_key)) == (20, 40)


def test_only_the_root_is_known():
    root = make_credentials("access", "secret-key")
    store = RootCredentials(root)
    assert store.lookup("access") is root
    assert store.lookup("another") is None


def test_keys_are_made_once_and_kept_private(tmp_path):
    created, new = load_or_create(tmp_path, os.urandom)
    assert new
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert load_or_create(tmp_path, os.urandom) == (created, False)
    assert os.listdir(tmp_path) == [FILE_NAME]


def test_of_those_who_start_at_once_all_get_the_same_keys(tmp_path):
    results = []
    barrier = threading.Barrier(8)

    def start():
        barrier.wait()
        results.append(load_or_create(tmp_path, os.urandom))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({credentials.secret_key for credentials, _ in results}) == 1
    assert [new for _, new in results].count(True) == 1
    assert os.listdir(tmp_path) == [FILE_NAME]


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1]", b'{"access_key":1,"secret_key":2}', b"\xff" * 9000]
)
def test_a_broken_file_is_named(tmp_path, content):
    path = tmp_path / FILE_NAME
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=FILE_NAME):
        load_or_create(tmp_path, os.urandom)


def test_a_file_that_others_may_read_is_refused(tmp_path):
    load_or_create(tmp_path, os.urandom)
    (tmp_path / FILE_NAME).chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_or_create(tmp_path, os.urandom)


def test_a_directory_in_its_place_is_named(tmp_path):
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        load_or_create(tmp_path, os.urandom)
