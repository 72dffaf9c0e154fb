"""Which ranges to ask the source for: the blocks wanted, less those that are here or under way, in pieces that can run in parallel."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from appliance.cache.plan.blocks import BLOCK_BYTES, BlockMap

# One request's worth: large enough that a round trip does not matter, small enough that four make a fast start. A long read-ahead is cut
# into larger ones: each request costs CPU on both sides (measured with radosgw on loopback: 4 at a time give 0.7 of what one stream gives).
FETCH_BLOCKS = 8
FETCH_BLOCKS_MAX = 32


class Span(msgspec.Struct, frozen=True):
    """Blocks [first, last)."""

    first: int
    last: int


def blocks_of(offset: int, length: int) -> Span:
    """The blocks that [offset, offset + length) touches."""
    return Span(offset // BLOCK_BYTES, -(-(offset + length) // BLOCK_BYTES))


def plan_fetches(
    wanted: Span, present: BlockMap, in_flight: Iterable[Span], *, limit: int, piece: int = 0
) -> list[Span]:
    """At most `limit` spans, in order: together the first blocks of `wanted` that are neither here nor under way.

    Neighbouring blocks are coalesced, up to `piece` a span (0: `piece_blocks`).
    """
    piece = piece or piece_blocks(wanted)
    flying = sorted(in_flight, key=lambda span: span.first)
    spans: list[Span] = []
    for first, last in present.missing(wanted.first, wanted.last):
        for gap in _without(Span(first, last), flying):
            for start in range(gap.first, gap.last, piece):
                if len(spans) >= limit:
                    return spans
                spans.append(Span(start, min(start + piece, gap.last)))
    return spans


def piece_blocks(wanted: Span) -> int:
    """Blocks in one request of many that fetch `wanted`: a quarter of it, within bounds."""
    return max(FETCH_BLOCKS, min(FETCH_BLOCKS_MAX, (wanted.last - wanted.first) // 4))


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
