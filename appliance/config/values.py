"""Values that a configuration writes as text: sizes, durations, addresses. Each parses or says what it would have accepted."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)(i?)b?\Z", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\Z")
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Size(int):
    """Bytes. Written as an integer or "10GiB" (powers of 1,024) or "10GB" (powers of 1,000)."""

    @classmethod
    def parse(cls, value: object) -> Size:
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return cls(value)
        match = _SIZE.match(value.strip()) if isinstance(value, str) else None
        if match is None:
            raise ValueError(f'{value!r} is not a size; write bytes, or "500GB", "1.5TiB"')
        number, prefix, binary = match.groups()
        base = 1024 if binary else 1000
        # Exact for integers: a float has 53 bits.
        return cls(int(Fraction(number) * base ** _POWERS[prefix.lower()]))

    def __str__(self) -> str:
        for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
            if self and self % 1024**power == 0:
                return f"{int(self) // 1024**power}{unit}"
        return f"{int(self)}"


class Duration(float):
    """Seconds. Written as "250ms", "60s", "5m", "12h", "7d"."""

    @classmethod
    def parse(cls, value: object) -> Duration:
        match = _DURATION.match(value.strip()) if isinstance(value, str) else None
        if match is None:
            raise ValueError(
                f'{value!r} is not a duration; write "250ms", "60s", "5m", "12h" or "7d"'
            )
        return cls(float(match[1]) * _SECONDS[match[2]])

    def __str__(self) -> str:
        return f"{float(self):g}s"


class Freshness(float):
    """Seconds an entry is trusted: "always" (0: validate at each use), "exclusive" (for ever: nobody else writes), or a duration."""

    @classmethod
    def parse(cls, value: object) -> Freshness:
        if value == "always":
            return cls(0.0)
        if value == "exclusive":
            return cls(math.inf)
        try:
            return cls(Duration.parse(value))
        except ValueError:
            raise ValueError(
                f'{value!r} is not a freshness; write "always", "exclusive" or a duration such as "60s"'
            ) from None

    def __str__(self) -> str:
        names = {0.0: "always", math.inf: "exclusive"}
        return names.get(float(self), f"{float(self):g}s")


class Address(str):
    """HOST:PORT of a listener; IPv6 hosts in brackets. An empty host means every address."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Address:
        text = value if isinstance(value, str) else ""
        host, colon, port = text.rpartition(":")
        if (
            not colon
            or not port.isdecimal()
            or int(port) > 65535
            or (":" in host and "[" not in host)
        ):
            raise ValueError(f'{value!r} is not an address; write "127.0.0.1:9000" or "[::]:9000"')
        return cls(text)

    @property
    def host(self) -> str:
        return self.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self.rpartition(":")[2])


_PARSED = (Size, Duration, Freshness, Address)


def decode(kind: type, value: Any) -> Any:
    """msgspec's hook for the types above."""
    if kind in _PARSED:
        return kind.parse(value)
    raise NotImplementedError(f"no decoder for {kind}")


def encode(value: Any) -> Any:
    """msgspec's hook for the types above, into what `decode` takes."""
    if isinstance(value, _PARSED):
        return str(value)
    raise NotImplementedError(f"no encoder for {type(value)}")
