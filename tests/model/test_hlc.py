"""Hybrid logical clock: follows wall time, and never runs backwards whatever wall time does."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from appliance.model.hlc import merge, tick, unix_ms

NOW_NS = st.integers(0, 2**62)
STAMPS = st.integers(0, 2**63)


@given(STAMPS, NOW_NS)
def test_a_tick_is_after_the_last_and_not_before_now(last: int, now_ns: int) -> None:
    stamp = tick(last, now_ns)
    assert stamp > last or stamp == (now_ns // 10**6) << 16 > last
    assert unix_ms(stamp) >= now_ns // 10**6


@given(st.lists(NOW_NS, min_size=1, max_size=30))
def test_stamps_rise_strictly_while_wall_time_jumps_about(times: list[int]) -> None:
    stamps = [0]
    for now_ns in times:
        stamps.append(tick(stamps[-1], now_ns))
    assert all(first < second for first, second in itertools.pairwise(stamps))


@given(STAMPS, STAMPS, NOW_NS)
def test_receiving_comes_after_both_sides(last: int, remote: int, now_ns: int) -> None:
    assert merge(last, remote, now_ns) > max(last, remote)


def test_a_clock_that_stands_still_counts_and_a_full_counter_borrows_a_millisecond() -> None:
    now_ns = 1_700_000_000_123 * 10**6
    stamp = tick(0, now_ns)
    assert unix_ms(stamp) == 1_700_000_000_123
    for _ in range(1 << 16):
        stamp = tick(stamp, now_ns)
    assert unix_ms(stamp) == 1_700_000_000_124


def test_stamps_fit_64_bits_until_the_year_10889() -> None:
    assert tick(0, (2**48 - 1) * 10**6) < 2**64
