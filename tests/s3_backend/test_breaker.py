"""The circuit breaker, with a clock that the test turns."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from appliance_s3 import breaker as breakers
from appliance_s3.breaker import PAUSE_MAX_S, PAUSE_S, THRESHOLD, Breaker


def opened(now_s: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(THRESHOLD):
        breaker = breakers.failed(breaker, now_s)
    return breaker


def test_a_closed_breaker_admits() -> None:
    assert breakers.admit(Breaker(), 0.0) == (Breaker(), None)


def test_it_opens_after_failures_in_a_row_only() -> None:
    breaker = Breaker()
    for _ in range(THRESHOLD - 1):
        breaker = breakers.failed(breaker, 0.0)
    assert breaker.state == "closed"
    assert breakers.failed(breaker, 0.0).state == "open"
    assert breakers.failed(breakers.succeeded(), 0.0).state == "closed"


def test_an_open_one_refuses_and_tells_for_how_long() -> None:
    breaker = opened(10.0)
    same, wait_s = breakers.admit(breaker, 10.25)
    assert (same, wait_s) == (breaker, PAUSE_S - 0.25)


def test_after_the_pause_one_trial_goes_through() -> None:
    trial, wait_s = breakers.admit(opened(0.0), PAUSE_S)
    assert wait_s is None
    assert trial.state == "half-open"
    _, wait_s = breakers.admit(trial, PAUSE_S)
    assert wait_s == PAUSE_S


def test_a_trial_that_succeeds_closes_it() -> None:
    assert breakers.succeeded().state == "closed"


def test_trials_that_fail_double_the_pause_up_to_its_limit() -> None:
    breaker, now_s, pauses = opened(0.0), 0.0, []
    for _ in range(8):
        assert breaker.until_s is not None
        pauses.append(breaker.until_s - now_s)
        now_s = breaker.until_s
        trial, _ = breakers.admit(breaker, now_s)
        breaker = breakers.failed(trial, now_s)
        assert breaker.state == "open"
    assert pauses == [min(PAUSE_S * 2**n, PAUSE_MAX_S) for n in range(8)]


def test_a_trial_that_was_cancelled_may_be_tried_again() -> None:
    trial, _ = breakers.admit(opened(0.0), PAUSE_S)
    _, wait_s = breakers.admit(breakers.withdrawn(trial), PAUSE_S)
    assert wait_s is None


def test_stragglers_do_not_prolong_the_pause() -> None:
    breaker = opened(0.0)
    assert breakers.failed(breaker, PAUSE_S / 2) == breaker


@given(
    st.lists(st.tuples(st.sampled_from(["admit", "fail", "succeed", "withdraw"]), st.floats(0, 50)))
)
def test_whatever_happens_it_recovers(steps: list[tuple[str, float]]) -> None:
    """No sequence leaves it shut for longer than the longest pause, and never are two trials under way."""
    breaker, now_s = Breaker(), 0.0
    for what, later_s in steps:
        now_s += later_s
        match what:
            case "admit":
                before = breaker
                breaker, wait_s = breakers.admit(breaker, now_s)
                assert not (before.trial and wait_s is None)
                assert wait_s is None or 0 < wait_s <= PAUSE_MAX_S
            case "fail":
                breaker = breakers.failed(breaker, now_s)
            case "succeed":
                breaker = breakers.succeeded()
            case "withdraw":
                breaker = breakers.withdrawn(breaker)
    breaker = msgspec.structs.replace(breaker, trial=False)
    _, wait_s = breakers.admit(breaker, now_s + PAUSE_MAX_S)
    assert wait_s is None
