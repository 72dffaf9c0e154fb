"""Conditions against RFC 9110 section 13.2.2, every combination, by a second implementation that follows its numbered steps."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from appliance.model.errors import NotModifiedError, PreconditionFailedError
from appliance.model.objects import NO_CONDITIONS, Conditions, ObjectInfo

SECOND = 10**9
TIME = 1_700_000_000 * SECOND
INFO = ObjectInfo(key="k", size=1, etag="e1", version="v", modified_ns=TIME + 5)

ETAGS: tuple[tuple[str, ...], ...] = ((), ("e1",), ("e2",), ("*",), ("e2", "e1"), ("e2", "e3"))
TIMES = (None, TIME - SECOND, TIME, TIME + 999_999_999, TIME + SECOND)
ALL = [
    Conditions(if_match=a, if_none_match=b, if_modified_since_ns=c, if_unmodified_since_ns=d)
    for a, b, c, d in itertools.product(ETAGS, ETAGS, TIMES, TIMES)
]


def matches(etags: tuple[str, ...]) -> bool:
    return any(etag in ("*", INFO.etag) for etag in etags)


def rfc_9110(conditions: Conditions) -> int:
    """The status that section 13.2.2 gives for a GET: 200, 304 or 412. HTTP dates have whole seconds."""
    modified_s = INFO.modified_ns // SECOND
    if conditions.if_match:  # step 1
        if not matches(conditions.if_match):
            return 412
    elif (unmodified_ns := conditions.if_unmodified_since_ns) is not None:  # step 2
        return 412 if modified_s > unmodified_ns // SECOND else rfc_9110_none_match(conditions)
    return rfc_9110_none_match(conditions)


def rfc_9110_none_match(conditions: Conditions) -> int:
    modified_s = INFO.modified_ns // SECOND
    if conditions.if_none_match:  # step 3
        if matches(conditions.if_none_match):
            return 304
    elif (modified_ns := conditions.if_modified_since_ns) is not None:  # step 4
        return 200 if modified_s > modified_ns // SECOND else 304
    return 200  # step 6


def status_of(conditions: Conditions) -> int:
    try:
        conditions.check_read(INFO)
    except NotModifiedError as error:
        return 304 if (error.etag, error.modified_ns) == (INFO.etag, INFO.modified_ns) else 500
    except PreconditionFailedError:
        return 412
    return 200


def test_every_combination_of_read_conditions_is_decided_as_rfc_9110_says() -> None:
    assert len(ALL) == 900
    wrong = [one for one in ALL if status_of(one) != rfc_9110(one)]
    assert wrong == []
    assert {status_of(one) for one in ALL} == {200, 304, 412}


@pytest.mark.parametrize(
    ("if_match", "if_none_match", "on_object", "on_nothing"),
    [
        ((), (), True, True),
        (("e1",), (), True, False),
        (("e2",), (), False, False),
        (("e2", "e1"), (), True, False),
        (("*",), (), True, False),
        ((), ("*",), False, True),
        ((), ("e1",), False, True),
        ((), ("e2",), True, True),
        (("e1",), ("e2",), True, False),
        (("e1",), ("*",), False, False),
    ],
)
def test_write_conditions(
    if_match: tuple[str, ...], if_none_match: tuple[str, ...], on_object: bool, on_nothing: bool
) -> None:
    conditions = Conditions(if_match=if_match, if_none_match=if_none_match)
    for current, allowed in ((INFO, on_object), (None, on_nothing)):
        if allowed:
            conditions.check_write(current)
            continue
        with pytest.raises(PreconditionFailedError):
            conditions.check_write(current)


def test_times_do_not_count_for_writes() -> None:
    Conditions(if_modified_since_ns=TIME + SECOND, if_unmodified_since_ns=0).check_write(INFO)
    assert Conditions() == NO_CONDITIONS


def test_conditions_are_true_if_there_is_any() -> None:
    assert not NO_CONDITIONS
    for field in msgspec.structs.fields(Conditions):
        value = 0 if field.name.endswith("_ns") else ("e",)
        assert Conditions(**{field.name: value})
