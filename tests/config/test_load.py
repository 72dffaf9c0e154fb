"""A configuration is accepted whole or refused with file, key and reason."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config import Config, load
from appliance.config.load import build
from appliance.config.secrets import public_url
from appliance.config.show import show
from appliance.config.values import Address, Duration, Freshness, Size
from appliance.model.errors import ConfigError

REFUSED = [
    ({"foo": 1}, "f.toml: foo: unknown key"),
    ({"cache": {"capcity": 1}}, "f.toml: cache.capcity: unknown key; did you mean 'capacity'?"),
    (
        {"bucket": [{"match": "x", "freshnes": "60s"}]},
        "f.toml: bucket[0].freshnes: unknown key; did you mean 'freshness'?",
    ),
    ({"cache": {"capacity": "many"}}, "f.toml: cache.capacity: 'many' is not a size"),
    ({"cache": {"capacity": -1}}, "f.toml: cache.capacity: -1 is not a size"),
    ({"cache": {"capacity": True}}, "f.toml: cache.capacity: True is not a size"),
    ({"cache": {"capacity": "1MiB"}}, "f.toml: cache.capacity: 1MiB is less than 16MiB"),
    ({"cache": {"high": "x"}}, "f.toml: cache.high: Expected `float`, got `str`"),
    ({"cache": {"high": 0.5, "low": 0.6}}, "f.toml: cache.high: needs 0 < low < high"),
    ({"s3": {"listen": "9000"}}, "f.toml: s3.listen: '9000' is not an address"),
    ({"s3": {"listen": "::1:9000"}}, "f.toml: s3.listen: '::1:9000' is not an address"),
    ({"s3": {"listen": "h:70000"}}, "f.toml: s3.listen: 'h:70000' is not an address"),
    ({"s3": {"tls_key": "/k"}}, "f.toml: s3.tls_certificate: TLS needs both"),
    ({"s3": {"redirect_listen": "h:1"}}, "f.toml: s3.redirect_listen: sends clients to HTTPS"),
    (
        {"s3": {"connections_per_address_max": -1}},
        "f.toml: s3.connections_per_address_max: must be at least 0",
    ),
    ({"s3": {"connections_max": 0}}, "f.toml: s3.connections_max: must be at least 1"),
    (
        {"s3": {"listen": "h:1"}, "admin": {"listen": "h:1"}},
        "f.toml: admin.listen: is the same address",
    ),
    ({"s3": {"idle_timeout": "soon"}}, "f.toml: s3.idle_timeout: 'soon' is not a duration"),
    ({"node": {"data": "x"}}, "f.toml: node.data: 'x' is not an absolute path"),
    ({"mount": {"path": "x"}}, "f.toml: mount.path: 'x' is not an absolute path"),
    ({"mount": {"bucket": "x"}}, "f.toml: mount.bucket: needs mount.path"),
    ({"s3": {"region": ""}}, "f.toml: s3.region: '' is not a region name"),
    (
        {"s3": {"domains": ["bad domain!"]}},
        "f.toml: s3.domains: 'bad domain!' is not a domain name",
    ),
    ({"s3": {"header_bytes_max": 10}}, "f.toml: s3.header_bytes_max: 10 is not between"),
    ({"s3": {"drain_timeout": "99999999d"}}, "f.toml: s3.drain_timeout: "),
    ({"s3": {"idle_timeout": "0s"}}, "f.toml: s3.idle_timeout: 0s is not between"),
    ({"mount": {"uid": -5}}, "f.toml: mount.uid: -5 is not a user or group id"),
    ({"mount": {"umask": 0o7777}}, "f.toml: mount.umask: 0o7777 is not between"),
    ({"mount": {"path": "/m", "bucket": "_"}}, "f.toml: mount.bucket: '_' is not a bucket name"),
    ({"backend": [{"url": "s3://?secret_key=x"}]}, "f.toml: backend[0].url: holds a secret"),
    (
        {"backend": [{"url": "s3://?endpoint_url=http://u:pw@h"}]},
        "f.toml: backend[0].url: holds a secret",
    ),
    ({"credentials": {"access_key": "a"}}, "f.toml: credentials.access_key: give both"),
    (
        {"credentials": {"access_key": "a", "secret_key": "short"}},
        "f.toml: credentials.secret_key: is shorter",
    ),
    (
        {"credentials": {"access_key": "a", "secret_key": "long enough", "secret_key_file": "/f"}},
        "f.toml: credentials.secret_key_file: give secret_key or secret_key_file",
    ),
    ({"backend": [{}]}, "f.toml: backend[0]: Object missing required field `url`"),
    ({"backend": [{"url": "/srv"}]}, "f.toml: backend[0].url: '/srv' is not a URL"),
    ({"backend": [{"url": "a://", "buckets": []}]}, "f.toml: backend[0].buckets: is empty"),
    (
        {"backend": [{"url": "a://", "name": "n"}, {"url": "b://", "name": "n"}]},
        "f.toml: backend[0].name: 'n' names two",
    ),
    (
        {"bucket": [{"match": "x", "freshness": "often"}]},
        "f.toml: bucket[0].freshness: 'often' is not a freshness",
    ),
    (
        {"bucket": [{"match": "x", "write": "back"}]},
        'f.toml: bucket[0].write: "back" needs a cluster',
    ),
    (
        {"bucket": [{"match": "x", "write": "sideways"}]},
        "f.toml: bucket[0].write: Invalid enum value 'sideways'",
    ),
    (
        {"bucket": [{"match": "x", "copies": 2}]},
        "f.toml: bucket[0].copies: 2 copies need as many nodes",
    ),
    ({"limits": {"requests_per_s": -1}}, "limits.requests_per_s: -1.0 is not between 0 and"),
    (
        {"account": [{"match": "a", "requests_in_flight": 10**9}]},
        "account[0].requests_in_flight: 1000000000 is not between 0 and",
    ),
    ({"account": [{}]}, "account[0]: Object missing required field `match`"),
    (
        {"cluster": {"secret": "s" * 32, "secret_file": "/x"}},
        "cluster.secret_file: give secret or secret_file, not both",
    ),
]


@pytest.mark.parametrize(
    ("tables", "message"), REFUSED, ids=[message[:60] for _, message in REFUSED]
)
def test_what_cannot_be_is_refused_with_file_key_and_reason(tables, message):
    with pytest.raises(ConfigError) as caught:
        build(tables, "f.toml")
    assert message in str(caught.value)


def test_every_problem_is_reported_at_once():
    with pytest.raises(ConfigError) as caught:
        build({"node": {"data": "x"}, "mount": {"bucket": "bbb"}}, "f.toml")
    assert len(str(caught.value).splitlines()) == 2


def test_a_file_that_is_missing_or_not_toml_is_named(tmp_path: Path):
    missing = tmp_path / "missing.toml"
    with pytest.raises(ConfigError, match=r"missing\.toml: cannot be read: No such file"):
        load(missing)
    broken = tmp_path / "broken.toml"
    broken.write_text("a = = 1")
    with pytest.raises(ConfigError, match=r"broken\.toml: is not TOML"):
        load(broken)
    broken.write_bytes(b"a = '\xff'")
    with pytest.raises(ConfigError, match=r"broken\.toml: is not TOML"):
        load(broken)


def test_the_command_line_wins_over_the_file(tmp_path: Path):
    file = tmp_path / "a.toml"
    file.write_text('[cache]\ncapacity = "1GiB"\nlow = 0.5\n[[backend]]\nurl = "posix:///a"\n')
    config = load(file, {"cache": {"capacity": "2GiB"}, "backend": [{"url": "posix:///b"}]})
    assert config.cache.capacity == 2 * 1024**3
    assert config.cache.low == 0.5
    assert [entry.url for entry in config.backend] == ["posix:///b"]


def test_defaults_are_valid():
    assert load() == Config()


def test_show_round_trips_and_hides_secrets():
    tables = {
        "credentials": {"access_key": "AK", "secret_key": "hunter2-hunter2"},
        "backend": [{"url": "s3://", "options": {"secret_key": "deep-secret", "region": "x"}}],
        "bucket": [{"match": "a-*", "freshness": "exclusive"}, {"match": "*", "freshness": "90s"}],
        "cache": {"capacity": "3GiB"},
    }
    config = build(tables, "f.toml")
    page = show(config)
    assert "hunter2" not in page
    assert "deep-secret" not in page
    again = build(tomllib.loads(page), "shown")
    hidden = "<hidden>"
    expected = msgspec.structs.replace(
        config,
        credentials=msgspec.structs.replace(config.credentials, secret_key=hidden),
        backend=(
            msgspec.structs.replace(
                config.backend[0], options={"secret_key": hidden, "region": "x"}
            ),
        ),
    )
    assert again == expected


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://?endpoint_url=http://h:1&region=r", "s3://?endpoint_url=http://h:1&region=r"),
        ("s3://?secret_key=abc&region=r", "s3://?secret_key=<hidden>&region=r"),
        ("s3://?endpoint_url=http://u:pw@h:1", "s3://?endpoint_url=http://u:<hidden>@h:1"),
        ("x://user:pw@host/path", "x://user:<hidden>@host/path"),
        ("posix:///srv/a:b@c", "posix:///srv/a:b@c"),
    ],
)
def test_urls_are_shown_without_what_is_secret_in_them(url, shown):
    assert public_url(url) == shown


@given(st.integers(min_value=0, max_value=2**60))
def test_a_size_round_trips_through_its_text(size):
    assert Size.parse(str(Size(size))) == size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1kB", 1000),
        ("1KiB", 1024),
        ("1.5 GiB", 1610612736),
        ("2T", 2 * 10**12),
        ("7", 7),
    ],
)
def test_sizes_are_read_in_the_usual_units(text, size):
    assert Size.parse(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"), [("250ms", 0.25), ("60s", 60), ("5m", 300), ("12h", 43200), ("7d", 604800)]
)
def test_durations_are_read_in_the_usual_units(text, seconds):
    assert Duration.parse(text) == seconds


def test_freshness_has_two_words_and_durations():
    assert Freshness.parse("always") == 0
    assert Freshness.parse("exclusive") == math.inf
    assert Freshness.parse("5m") == 300
    assert [str(Freshness.parse(word)) for word in ("always", "exclusive", "90s")] == [
        "always",
        "exclusive",
        "90s",
    ]


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:9000", "127.0.0.1", 9000),
        ("[::1]:80", "::1", 80),
        (":0", "", 0),
        ("h:1", "h", 1),
    ],
)
def test_addresses_have_a_host_and_a_port(text, host, port):
    address = Address.parse(text)
    assert (address.host, address.port) == (host, port)


def test_secrets_of_the_cluster_are_not_shown():
    config = build({"cluster": {"secret": "not-to-be-seen" * 3}}, "f.toml")
    assert "not-to-be-seen" not in show(config)
