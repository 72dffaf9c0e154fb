"""Which parts of a configuration are secrets, and URLs without them."""

from __future__ import annotations

import re

_WORDS = ("secret", "password", "token", "private")
_USER = re.compile(r"(//[^/@:?&]*):[^/@]*@")
_PARAMETER = re.compile(r"([?&])([^=&]+)=([^&]*)")
_HIDDEN = "<hidden>"


def sounds_secret(name: str) -> bool:
    """True if a value of this name is not to be shown."""
    return any(word in name.lower() for word in _WORDS)


def public_url(url: str) -> str:
    """A URL with its passwords and secret parameters hidden."""

    def parameter(match: re.Match[str]) -> str:
        mark, name, value = match.groups()
        return f"{mark}{name}={_HIDDEN if sounds_secret(name) else value}"

    return _PARAMETER.sub(parameter, _USER.sub(rf"\1:{_HIDDEN}@", url))


def carries_secret(url: str) -> bool:
    """True if a URL holds what belongs into `options`."""
    return public_url(url) != url
