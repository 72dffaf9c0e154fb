"""URL and options of the S3 backend: what is taken, and the sentence for what is not."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.model.errors import ConfigError
from appliance.plugin import BackendConfig
from appliance_s3.plugin import appliance_backend
from appliance_s3.settings import Settings, parse
from tests.support.s3_backends import ThreadHost


def test_an_account() -> None:
    settings = parse("s3://?endpoint_url=http://host:7480&region=eu-1", {}, "x")
    assert settings == Settings(endpoint_url="http://host:7480", region="eu-1")


def test_a_bucket_and_a_prefix_that_ends_in_a_slash() -> None:
    settings = parse("s3://data/a%20b/c?max_attempts=2", {"connect_timeout_s": 1}, "x")
    assert (settings.bucket, settings.prefix) == ("data", "a b/c/")
    assert (settings.max_attempts, settings.connect_timeout_s) == (2, 1.0)


def test_other_schemes_are_left_to_others() -> None:
    config = BackendConfig(name="x", host=ThreadHost())
    assert appliance_backend("posix:///srv", config) is None


@pytest.mark.parametrize(
    ("url", "options", "word"),
    [
        ("s3://key:secret@bucket", {}, "credentials"),
        ("s3://?secret_key=x&access_key=y", {}, "does not belong in the URL"),
        ("s3://bucket?colour=blue", {}, "colour"),
        ("s3://bucket", {"colour": "blue"}, "colour"),
        ("s3://bucket?region=a", {"region": "b"}, "twice"),
        ("s3://bucket?region=a&region=b", {}, "twice"),
        ("s3://B@d!", {}, "credentials"),
        ("s3://b_", {}, "bucket name"),
        ("s3:///prefix", {}, "needs a bucket"),
        ("s3://bucket/a#b", {}, "fragment"),
        ("s3://?endpoint_url=ftp://x", {}, "endpoint_url"),
        ("s3://?endpoint_url=http://a:b@x", {}, "endpoint_url"),
        ("s3://", {"max_connections": 1000}, "max_connections"),
        ("s3://", {"max_attempts": 1.5}, "whole number"),
        ("s3://", {"max_attempts": True}, "max_attempts"),
        ("s3://", {"read_timeout_s": "soon"}, "read_timeout_s"),
        ("s3://", {"verify": "perhaps"}, "verify"),
        ("s3://", {"addressing_style": "round"}, "addressing_style"),
        ("s3://", {"checksums": "never"}, "checksums"),
        ("s3://", {"access_key": "x"}, "go together"),
        ("s3://", {"session_token": "x"}, "session_token"),
        ("s3://", {"profile": "p", "access_key": "x", "secret_key": "y"}, "either"),
        ("s3://", {"verify": False, "ca_bundle": "/x"}, "ca_bundle"),
        ("s3://", {"region": 7}, "region"),
    ],
)
def test_what_is_wrong_is_refused_with_a_sentence(
    url: str, options: dict[str, Any], word: str
) -> None:
    with pytest.raises(ConfigError, match=word) as caught:
        parse(url, options, "upstream")
    assert str(caught.value).startswith("Backend upstream: ")


def test_credentials_are_never_printed() -> None:
    settings = parse("s3://", {"access_key": "AKIA", "secret_key": "hush"}, "x")
    assert settings.credentials.secret_key == "hush"
    assert "hush" not in f"{settings} {settings!r} {settings.credentials!r}"


def test_a_secret_in_the_url_is_not_repeated_in_the_error() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("s3://?access_key=AKIA&secret_key=hush", {}, "x")
    assert "hush" not in str(caught.value)
