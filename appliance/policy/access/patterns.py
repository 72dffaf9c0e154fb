"""Wildcards of policies: `*` is any number of characters, `?` exactly one; all else is itself.

Patterns come from accounts and meet names from other accounts, so matching must not blow up: between two `*` the first occurrence of
what is there is as good as any later one, so each piece is searched once and never again (atomic groups).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

PATTERN_CHARS_MAX = 2048


@functools.lru_cache(maxsize=4096)
def matcher(pattern: str) -> Callable[[str], object]:
    """A function that says (by truth) whether the whole of a text fits."""
    first, *rest = [_piece(piece) for piece in pattern.split("*")]
    if not rest:
        return re.compile(rf"(?s:{first})\Z").match
    *middle, last = rest
    searched = "".join(f"(?>.*?{piece})" for piece in middle if piece)
    return re.compile(rf"(?s:{first}{searched}.*{last})\Z").match


def _piece(text: str) -> str:
    return ".".join(re.escape(part) for part in text.split("?"))
