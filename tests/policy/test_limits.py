"""Rates and numbers of requests: what a meter admits, whatever the order of things."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.policy.limits import BURST_S, AccountLimit, Limit, Meter, limit_of


def admitted(meter: Meter, now_s: float) -> bool:
    if meter.refusal(now_s):
        return False
    meter.admit(now_s)
    return True


def test_no_limit_refuses_nothing():
    meter = Meter(Limit())
    assert not Limit()
    assert all(admitted(meter, 0.0) for _ in range(1000))


def test_so_many_are_in_flight_and_no_more():
    meter = Meter(Limit(requests_in_flight=2))
    assert [admitted(meter, 0.0) for _ in range(3)] == [True, True, False]
    assert meter.refusal(0.0) == "2 requests are in flight already"
    meter.release()
    assert [admitted(meter, 0.0) for _ in range(2)] == [True, False]


def test_a_seconds_rate_may_come_at_once_and_then_evenly():
    meter = Meter(Limit(requests_per_s=4))
    assert sum(admitted(meter, 100.0) for _ in range(10)) == 4
    assert "more than 4 requests per second" in meter.refusal(100.0)
    assert sum(admitted(meter, 100.25) for _ in range(10)) == 1
    assert sum(admitted(meter, 100.76) for _ in range(10)) == 2
    assert sum(admitted(meter, 200.0) for _ in range(10)) == 4


def test_rates_below_one_a_second_let_one_through():
    meter = Meter(Limit(requests_per_s=0.5))
    assert [admitted(meter, now_s) for now_s in (10.0, 11.0, 12.0, 13.0, 14.0)] == [
        *(True, False, True, False, True)
    ]


@given(
    st.floats(0.1, 1000.0),
    st.lists(st.floats(0.0, 2.0), max_size=200),
)
def test_over_any_time_no_more_pass_than_rate_and_burst_allow(rate, pauses):
    meter = Meter(Limit(requests_per_s=rate))
    now_s, passed = 1000.0, []
    for pause_s in pauses:
        now_s += pause_s
        if admitted(meter, now_s):
            passed.append(now_s)
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            span_s = passed[last] - passed[first]
            allowed = max(1.0, rate * BURST_S) + span_s * rate
            assert last - first + 1 <= allowed + 1 + 1e-6


@given(st.integers(1, 5), st.lists(st.booleans(), max_size=60))
def test_what_is_in_flight_is_counted_exactly(most, steps):
    meter = Meter(Limit(requests_in_flight=most))
    running = 0
    for arrives in steps:
        if arrives:
            got_in = admitted(meter, 0.0)
            assert got_in == (running < most)
            running += got_in
        elif running:
            meter.release()
            running -= 1
        assert meter.in_flight == running


@pytest.mark.parametrize(
    ("name", "per_s"), [("batch-1", 1.0), ("batch-vip", 1.0), ("alice", 2.0), ("Batch-1", 2.0)]
)
def test_the_first_pattern_that_matches_decides(name, per_s):
    limits = [
        AccountLimit(match="batch-*", limit=Limit(requests_per_s=1.0)),
        AccountLimit(match="*", limit=Limit(requests_per_s=2.0)),
        AccountLimit(match="batch-vip", limit=Limit(requests_per_s=3.0)),
    ]
    assert limit_of(name, limits).requests_per_s == per_s
    assert not limit_of(name, [])
