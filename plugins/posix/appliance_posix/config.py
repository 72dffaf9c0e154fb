"""What the configuration may say about a posix backend: the URL's path, and options."""

from __future__ import annotations

import re
import urllib.parse
from typing import Any

import msgspec

from appliance.model.errors import ConfigError

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d+)\s*([smhd])\Z")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """`metadata`: "auto" (xattrs where the filesystem has them) or "sidecar". `upload_max_age_s`: when the reaper takes leftovers.

    `openat2`: False walks paths component by component even where the kernel could do better (for tests and odd sandboxes).
    """

    root: str
    metadata: str = "auto"
    upload_max_age_s: float = 7 * 86400
    openat2: bool = True


def parse(url: str, name: str, options: dict[str, Any]) -> Options:
    """Raises ConfigError naming what is wrong."""
    parts = urllib.parse.urlsplit(url)
    if parts.netloc:
        raise ConfigError(
            f"The URL {url!r} of backend {name} names a host ({parts.netloc}); "
            "a directory of this machine has three slashes: posix:///srv/data."
        )
    path = urllib.parse.unquote(parts.path, errors="surrogateescape")
    if not path.startswith("/") or "\0" in path:
        raise ConfigError(
            f"The URL {url!r} of backend {name} needs an absolute path: posix:///srv/data."
        )
    given = {**dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True)), **options}
    unknown = sorted(set(given) - {"metadata", "upload_max_age", "openat2"})
    if unknown:
        raise ConfigError(
            f"Backend {name}: unknown option {unknown[0]!r}; known are metadata, upload_max_age and openat2."
        )
    return Options(
        root=path,
        metadata=_choice(given, name, "metadata", ("auto", "sidecar")),
        upload_max_age_s=_duration_s(given.get("upload_max_age", "7d"), name),
        openat2=_choice(given, name, "openat2", ("auto", "never")) == "auto",
    )


def _choice(given: dict[str, Any], name: str, option: str, choices: tuple[str, ...]) -> str:
    value = given.get(option, choices[0])
    if value not in choices:
        allowed = " or ".join(repr(choice) for choice in choices)
        raise ConfigError(f"Backend {name}: {option} = {value!r} is not valid; it is {allowed}.")
    return str(value)


def _duration_s(value: object, name: str) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
        return float(value)
    match = _DURATION.match(value) if isinstance(value, str) else None
    if match is None or int(match[1]) == 0:
        raise ConfigError(
            f"Backend {name}: upload_max_age = {value!r} is not valid; write seconds, or a string like '7d', '12h', '30m'."
        )
    return float(int(match[1]) * _UNITS_S[match[2]])
