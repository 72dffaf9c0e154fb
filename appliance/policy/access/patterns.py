"""Wildcards of policies: `*` is any number of characters, `?` exactly one; all else is itself.

Patterns come from accounts and meet names and headers from strangers, so matching must not blow up. Between two `*` the first occurrence
of what is there is as good as any later one: each piece is searched once and never again, by `str.find`, which does not compare
characters twice. A piece with `?` has to be tried at every place, text times piece: `searched_chars` is what a policy may have little of.
Texts have an end, too: what is longer than any name is not looked at.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

PATTERN_CHARS_MAX = 2048
# Keys have up to 1,024 bytes.
TEXT_CHARS_MAX = 2048
# From a text, where to begin and where to stop: where what was searched ends, -1 if it is not there.
_Find = Callable[[str, int, int], int]


class TooLongError(Exception):
    """A text is too long to be held against a pattern."""


@functools.lru_cache(maxsize=4096)
def matcher(pattern: str) -> Callable[[str], bool]:
    """A function that says whether the whole of a text fits. It raises TooLongError."""
    first, *rest = pattern.split("*")
    last = rest.pop() if rest else ""
    starred = "*" in pattern
    starts, ends = _starts(first), _starts(last)
    searches = [_finder(piece) for piece in rest if piece]
    fixed = len(first) + len(last)

    def fits(text: str) -> bool:
        if len(text) > TEXT_CHARS_MAX:
            raise TooLongError
        spare = len(text) - fixed
        if spare < 0 or (spare and not starred) or not starts(text, 0):
            return False
        position, end = len(first), len(text) - len(last)
        if not ends(text, end):
            return False
        for search in searches:
            position = search(text, position, end)
            if position < 0:
                return False
        return True

    return fits


def searched_chars(pattern: str) -> int:
    """How many characters a pattern has in pieces with `?` between two `*`."""
    return sum(len(piece) for piece in pattern.split("*")[1:-1] if "?" in piece)


def _starts(piece: str) -> Callable[[str, int], object]:
    """Whether a piece is in a text at a place."""
    if "?" in piece:
        return _compiled(piece).match
    return functools.partial(_starts_with, piece)


def _starts_with(piece: str, text: str, position: int) -> bool:
    return text.startswith(piece, position)


def _finder(piece: str) -> _Find:
    if "?" in piece:
        search = _compiled(piece).search

        def found(text: str, start: int, stop: int) -> int:
            match = search(text, start, stop)
            return match.end() if match else -1

        return found

    def find(text: str, start: int, stop: int) -> int:
        at = text.find(piece, start, stop)
        return at + len(piece) if at >= 0 else -1

    return find


def _compiled(piece: str) -> re.Pattern[str]:
    return re.compile(".".join(re.escape(part) for part in piece.split("?")), re.DOTALL)
