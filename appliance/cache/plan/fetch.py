"""Which ranges to ask the source for: the blocks wanted, less those that are here or under way, in pieces that can run in parallel."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from appliance.cache.plan.blocks import BLOCK_BYTES, BlockMap

# One request's worth: large enough that a round trip does not matter, small enough that four make a fast start.
FETCH_BLOCKS = 8


class Span(msgspec.Struct, frozen=True):
    """Blocks [first, last)."""

    first: int
    last: int


def blocks_of(offset: int, length: int) -> Span:
    """The blocks that [offset, offset + length) touches."""
    return Span(offset // BLOCK_BYTES, -(-(offset + length) // BLOCK_BYTES))


def plan_fetches(
    wanted: Span, present: BlockMap, in_flight: Iterable[Span], *, limit: int
) -> list[Span]:
    """At most `limit` spans, in order: together the first blocks of `wanted` that are neither here nor under way.

    Neighbouring blocks are coalesced, up to `FETCH_BLOCKS` a span.
    """
    flying = sorted(in_flight, key=lambda span: span.first)
    spans: list[Span] = []
    for first, last in present.missing(wanted.first, wanted.last):
        for gap in _without(Span(first, last), flying):
            for start in range(gap.first, gap.last, FETCH_BLOCKS):
                if len(spans) >= limit:
                    return spans
                spans.append(Span(start, min(start + FETCH_BLOCKS, gap.last)))
    return spans


def _without(span: Span, flying: list[Span]) -> Iterable[Span]:
    """The parts of `span` that no span of `flying` (ordered) covers."""
    first = span.first
    for other in flying:
        if other.first >= span.last:
            break
        if other.first > first:
            yield Span(first, other.first)
        first = max(first, other.last)
    if first < span.last:
        yield Span(first, span.last)
