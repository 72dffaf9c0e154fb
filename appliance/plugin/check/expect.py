"""What a check says when a backend breaks a rule: one sentence, with what was expected and what was found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

SHOWN_CHARACTERS = 200


class ViolationError(AssertionError):
    """A backend broke a rule of the contract; `str` says which, and how."""


def true(condition: object, sentence: str) -> None:
    """Raise ViolationError with this sentence unless the condition holds."""
    if not condition:
        raise ViolationError(sentence)


def equal(actual: object, expected: object, what: str) -> None:
    """Raise ViolationError unless both are equal; `what` names the thing that was looked at."""
    if actual != expected:
        raise ViolationError(f"{what}: expected {short(expected)}, found {short(actual)}")


@contextmanager
def raises(*errors: type[BaseException], what: str) -> Iterator[None]:
    """Raise ViolationError unless the block raises one of `errors`; `what` names what was tried."""
    wanted = " or ".join(error.__name__ for error in errors)
    try:
        yield
    except errors:
        return
    except Exception as error:
        raise ViolationError(
            f"{what}: expected {wanted}, got {type(error).__name__}: {error}"
        ) from error
    raise ViolationError(f"{what}: expected {wanted}, but it succeeded")


def short(value: object) -> str:
    """A value for a sentence; the middle of a long one is left out."""
    text = repr(value)
    if isinstance(value, (bytes, bytearray)) and len(value) > 40:
        text = f"{bytes(value[:20])!r}... ({len(value)} bytes)"
    if len(text) <= SHOWN_CHARACTERS:
        return text
    half = SHOWN_CHARACTERS // 2
    return f"{text[:half]} [...] {text[-half:]}"
