"""Whatever a client sends, the pure part of the endpoint gives a value or a domain error. Longer by machine: `./dev fuzz`."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.fuzz_seeds import SEEDS, WORDS
from tests.support.fuzz_targets import TARGETS

places = st.integers(0, 2000)


@st.composite
def mutated(draw, name: str) -> bytes:
    """A right one, changed in up to four places: cut, doubled, or something put in."""
    data = draw(st.sampled_from(SEEDS[name]))
    for _ in range(draw(st.integers(0, 4))):
        at, length = draw(places) % (len(data) + 1), draw(st.integers(0, 40))
        kind = draw(st.sampled_from(["cut", "double", "word", "noise", "splice"]))
        if kind == "cut":
            data = data[:at] + data[at + length :]
        elif kind == "double":
            data = data[: at + length] + data[at:]
        elif kind == "splice":
            other = draw(st.sampled_from(SEEDS[name]))
            data = data[:at] + other[draw(places) % (len(other) + 1) :]
        else:
            word = draw(st.sampled_from(WORDS) if kind == "word" else st.binary(max_size=8))
            data = data[:at] + word + data[at + draw(st.integers(0, 3)) :]
    return data


def test_every_target_has_seeds():
    assert TARGETS.keys() == SEEDS.keys()


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_right_is_taken(name):
    for seed in SEEDS[name]:
        TARGETS[name](seed)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=150)
@given(data=st.data())
def test_nothing_but_values_and_domain_errors(name, data):
    TARGETS[name](data.draw(mutated(name) | st.binary(max_size=200)))
