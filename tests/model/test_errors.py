"""Every domain error says something by itself, and keeps the facts that a front end needs."""

from __future__ import annotations

import inspect

import pytest

from appliance.model import errors
from appliance.model.errors import ApplianceError, InvalidRangeError, NoSuchKeyError

CLASSES = [
    one
    for _, one in inspect.getmembers(errors, inspect.isclass)
    if issubclass(one, ApplianceError) and one is not ApplianceError
]


@pytest.mark.parametrize("error_class", CLASSES)
def test_each_error_is_a_sentence_and_says_where(error_class: type[ApplianceError]) -> None:
    plain = error_class()
    assert plain.message == str(plain) == error_class.__doc__
    assert plain.message[0].isupper()
    assert error_class("What happened.").message == "What happened."


def test_facts_come_along() -> None:
    error = NoSuchKeyError(bucket="b", key="k")
    assert (error.bucket, error.key) == ("b", "k")
    assert InvalidRangeError(size=5).size == 5
