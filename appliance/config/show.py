"""A configuration as TOML, with every default spelled out and no secret in it."""

from __future__ import annotations

from typing import Any

import msgspec
import tomli_w

from appliance.config.schema import Config
from appliance.config.secrets import public_url, sounds_secret
from appliance.config.values import encode

_HIDDEN = "<hidden>"


def show(config: Config) -> str:
    """The effective configuration; values of keys that sound secret are replaced."""
    return tomli_w.dumps(_plain(msgspec.to_builtins(config, enc_hook=encode, str_keys=True)))


def _plain(value: Any, name: str = "") -> Any:
    """Without nulls (TOML has none), and without secrets."""
    if isinstance(value, dict):
        return {key: _plain(item, key) for key, item in value.items() if item is not None}
    if name == "url":
        return public_url(value)
    if isinstance(value, list | tuple):
        return [_plain(item, name) for item in value]
    secret = sounds_secret(name) and not name.endswith("_file")
    return _HIDDEN if secret and value else value
