"""From a TOML file and overrides of the command line to a `Config`, or one ConfigError that names file, key and reason."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from appliance.config.check import problems
from appliance.config.schema import Config
from appliance.config.values import decode
from appliance.model.errors import ConfigError

_AT = re.compile(r" - at `\$(.*)`$")
_UNKNOWN = re.compile(r"unknown field `(.*)`")


def load(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read `path` (None: only defaults), lay `overrides` (nested tables, from options) over it, check everything.

    Raises ConfigError. Problems of an override are reported as the command line's.
    """
    source = str(path) if path else "command line"
    tables = _read(path) if path else {}
    return build(_merge(tables, overrides or {}), source)


def build(tables: Mapping[str, Any], source: str) -> Config:
    """Pure: nested tables to a checked Config. `source` names the file in errors."""
    try:
        config = msgspec.convert(tables, Config, dec_hook=decode)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: {_sentence(str(error))}") from None
    found = [f"{source}: {key}: {reason}" for key, reason in problems(config)]
    if found:
        raise ConfigError("\n".join(found))
    return config


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from None


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[key] = _merge(below, value)
        else:
            merged[key] = value
    return merged


def _sentence(message: str) -> str:
    """msgspec's "reason - at `$.cache.high`" as "cache.high: reason", with a guess where a key is unknown."""
    where = _AT.search(message)
    reason = message[: where.start()] if where else message
    path = where[1].lstrip(".") if where else ""
    unknown = _UNKNOWN.search(reason)
    if unknown is None:
        return f"{path}: {reason}" if path else reason
    key = f"{path}.{unknown[1]}" if path else unknown[1]
    guess = difflib.get_close_matches(unknown[1], _known_keys(path), n=1)
    return f"{key}: unknown key" + (f"; did you mean {guess[0]!r}?" if guess else "")


def _known_keys(path: str) -> list[str]:
    kind: Any = Config
    for step in filter(None, re.split(r"\.|\[\d*\]|\[\.\.\.\]", path)):
        field = next((f for f in msgspec.structs.fields(kind) if f.name == step), None)
        if field is None:
            return []
        # tuple[BackendEntry, ...] is a list of tables.
        arguments = getattr(field.type, "__args__", ())
        kind = arguments[0] if arguments else field.type
        if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
            return []
    return [field.name for field in msgspec.structs.fields(kind)]
