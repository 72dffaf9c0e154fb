"""Hybrid logical clock: 64-bit stamps that follow wall time and never run backwards.

48 bits of milliseconds since the Unix epoch, 16 bits of counter (Kulkarni et al., "Logical Physical Clocks", 2014). For people and logs;
no promise rests on it.
"""

from __future__ import annotations

_COUNTER_BITS = 16


def tick(last: int, now_ns: int) -> int:
    """The stamp of an event that happens at wall time `now_ns`, after every event stamped `last` or less."""
    return max((now_ns // 1_000_000) << _COUNTER_BITS, last + 1)


def merge(last: int, remote: int, now_ns: int) -> int:
    """The stamp of receiving an event stamped `remote`."""
    return tick(max(last, remote), now_ns)


def unix_ms(stamp: int) -> int:
    """Wall time of a stamp, in milliseconds."""
    return stamp >> _COUNTER_BITS
