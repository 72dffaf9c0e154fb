"""What the URL and the options say about an S3 upstream, checked. Pure: no network, no disk.

    s3://?endpoint_url=http://host:port&region=us-east-1      every bucket of the account
    s3://bucket/prefix?...                                    one bucket, optionally only what lies below a prefix

Every setting in `SETTINGS` may stand in the URL's query or in the options; the credentials in `CREDENTIALS` only in the options (URLs end
up in logs and process lists). Without credentials boto3's usual chain applies: environment, shared files, container, instance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from appliance.model.errors import ConfigError
from appliance.model.names import is_bucket_name


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """Keys for the upstream; all empty: boto3's usual chain. Never printed."""

    access_key: str = ""
    secret_key: str = ""
    session_token: str = ""
    profile: str = ""

    def __repr__(self) -> str:
        return "Credentials(…)"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """See the table `SETTINGS`. `bucket` "" means every bucket; `prefix` is "" or ends in "/". Times in seconds."""

    bucket: str = ""
    prefix: str = ""
    endpoint_url: str | None = None
    region: str = "us-east-1"
    addressing_style: str = "auto"
    verify: bool = True
    ca_bundle: str = ""
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 60.0
    max_attempts: int = 4
    max_connections: int = 32
    # Measured on loopback, radosgw, 256 MiB, warm: 1 stream 665 MiB/s at 0.10 s of CPU, 2 segments at a time 427, 4 466 MiB/s at 0.21 s.
    # So one stream, until a site whose latency bounds a connection says otherwise; the cache reads several ranges at a time as it is.
    read_parallelism: int = 1
    checksums: str = "when_supported"
    fast_reads: bool = True
    register_bucket: str = ""
    credentials: Credentials = Credentials()


def parse(url: str, options: dict[str, Any], name: str) -> Settings:
    """Settings of the backend `name`. Raises ConfigError with a sentence for whatever is wrong."""
    try:
        return _settings(url, options)
    except _WrongError as wrong:
        raise ConfigError(f"Backend {name}: {wrong}") from None


class _WrongError(Exception):
    """Reason why a setting is refused."""


def _settings(url: str, options: dict[str, Any]) -> Settings:
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise _WrongError(
            "credentials do not belong in the URL; set access_key and secret_key in the options."
        )
    if parts.netloc and not is_bucket_name(parts.netloc):
        raise _WrongError(f"{parts.netloc!r} in the URL is not a bucket name.")
    if parts.path.strip("/") and not parts.netloc:
        raise _WrongError("a prefix in the URL needs a bucket before it.")
    if parts.fragment:
        raise _WrongError("the URL has a fragment (#…); write # in a prefix as %23.")
    given = _gather(parts.query, options)
    values = {key: SETTINGS[key](value, key) for key, value in given.items() if key in SETTINGS}
    keys = {key: _text(given[key], key) for key in CREDENTIALS if key in given}
    _check_together(values, keys)
    return Settings(
        bucket=parts.netloc,
        prefix=_prefix(parts.path),
        credentials=Credentials(**keys),
        **values,
    )


def _gather(query: str, options: dict[str, Any]) -> dict[str, Any]:
    """Query and options as one table; nothing unknown, nothing twice, no secret in the query."""
    given: dict[str, Any] = {}
    pairs = parse_qsl(query, keep_blank_values=True)
    for key, value in [*pairs, *options.items()]:
        if key in given:
            raise _WrongError(f"{key} is given twice (URL and options are one table).")
        if key not in SETTINGS and key not in CREDENTIALS:
            known = ", ".join([*SETTINGS, *CREDENTIALS])
            raise _WrongError(f"{key!r} is not a setting of the S3 backend; known are: {known}.")
        given[key] = value
    for key in CREDENTIALS:
        if any(key == seen for seen, _ in pairs):
            raise _WrongError(f"{key} does not belong in the URL; set it in the options.")
    return given


def _check_together(values: dict[str, Any], keys: dict[str, str]) -> None:
    if ("access_key" in keys) != ("secret_key" in keys):
        raise _WrongError("access_key and secret_key go together; one is missing.")
    if "session_token" in keys and "access_key" not in keys:
        raise _WrongError("session_token needs access_key and secret_key.")
    if "profile" in keys and "access_key" in keys:
        raise _WrongError("give either profile or access_key and secret_key.")
    if values.get("ca_bundle") and not values.get("verify", True):
        raise _WrongError("ca_bundle has no effect with verify = false.")


def _prefix(path: str) -> str:
    """Below which all keys lie: as in the URL, percent-decoded, ending in "/"."""
    from urllib.parse import unquote  # noqa: PLC0415  # used here only

    prefix = unquote(path.removeprefix("/"))
    return prefix if not prefix or prefix.endswith("/") else prefix + "/"


# --- kinds of values: from the URL they are text, from TOML they have their types ---------------------------------------


def _text(value: object, key: str) -> str:
    if not isinstance(value, str) or not value:
        raise _WrongError(f"{key} must be a text that is not empty.")
    return value


def _bucket(value: object, key: str) -> str:
    text = _text(value, key)
    if not is_bucket_name(text):
        raise _WrongError(f"{key} = {text!r} is not a bucket name.")
    return text


def _endpoint(value: object, key: str) -> str:
    text = _text(value, key)
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _WrongError(f"{key} = {text!r} must be like http://host:port or https://host.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise _WrongError(f"{key} must be only scheme, host and port.")
    return text.rstrip("/")


def _flag(value: object, key: str) -> bool:
    match value:
        case bool():
            return value
        case "true" | "1" | "yes":
            return True
        case "false" | "0" | "no":
            return False
    raise _WrongError(f"{key} must be true or false.")


def _number(low: float, high: float) -> Callable[[object, str], float]:
    def parse_number(value: object, key: str) -> float:
        try:
            number = float(value) if isinstance(value, str | int | float) else float("nan")
        except ValueError:
            number = float("nan")
        if isinstance(value, bool) or not low <= number <= high:
            raise _WrongError(f"{key} must be a number from {low:g} to {high:g}.")
        return number

    return parse_number


def _count(low: int, high: int) -> Callable[[object, str], int]:
    parse_number = _number(low, high)

    def parse_count(value: object, key: str) -> int:
        number = parse_number(value, key)
        if number != int(number):
            raise _WrongError(f"{key} must be a whole number.")
        return int(number)

    return parse_count


def _choice(*words: str) -> Callable[[object, str], str]:
    def parse_choice(value: object, key: str) -> str:
        if value not in words:
            raise _WrongError(f"{key} must be one of: {', '.join(words)}.")
        return str(value)

    return parse_choice


# Setting -> how its value is read. What each means:
SETTINGS: dict[str, Callable[[object, str], Any]] = {
    "endpoint_url": _endpoint,  # where the upstream is; AWS by region if absent
    "region": _text,
    "addressing_style": _choice("auto", "path", "virtual"),
    "verify": _flag,  # check the upstream's TLS certificate
    "ca_bundle": _text,  # file of certificates to trust instead of the system's
    "connect_timeout_s": _number(0.01, 300),
    "read_timeout_s": _number(0.01, 3600),  # the longest silence of the upstream
    "max_attempts": _count(1, 20),  # of calls that may be repeated, the first included
    "max_connections": _count(
        2, 64
    ),  # calls at a time; one process has 64 threads for all backends
    "read_parallelism": _count(1, 16),  # ranged GETs at a time for one large range; 1: one stream
    "checksums": _choice("when_supported", "when_required"),
    "fast_reads": _flag,  # GET and HEAD at a quarter of boto3's cost (fastpath.py); false: by boto3 itself
    "register_bucket": _bucket,  # where nodes keep what they agree on; the URL's bucket if absent
}
CREDENTIALS = ("access_key", "secret_key", "session_token", "profile")
