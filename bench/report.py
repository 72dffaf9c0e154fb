"""Samples to medians, medians to ratios, ratios to a table."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.machine import back_memory

PRODUCT = "appliance"


@dataclass(frozen=True)
class Result:
    """One row: samples of each side, and what the ratio of the medians should be.

    `better` is "more" (rates) or "less" (times, CPU, memory). `target` is the least ratio product/peer, turned so that more is better;
    against every peer in `samples`. 0: only reported.
    """

    row: str
    unit: str
    better: str
    samples: Mapping[str, Sequence[float]]
    targets: Mapping[str, float]
    limit: float = 0.0

    def median(self, side: str) -> float:
        return statistics.median(self.samples[side])

    def ratio(self, peer: str) -> float:
        """How many times better the product is than `peer`."""
        ours, theirs = self.median(PRODUCT), self.median(peer)
        top, bottom = (ours, theirs) if self.better == "more" else (theirs, ours)
        return top / bottom if bottom else float("inf")

    @property
    def met(self) -> bool:
        below = not self.limit or self.median(PRODUCT) <= self.limit
        return below and all(self.ratio(peer) >= target for peer, target in self.targets.items())

    def as_dict(self) -> dict[str, Any]:
        peers = [side for side in self.samples if side != PRODUCT]
        return {
            "row": self.row,
            "unit": self.unit,
            "samples": {side: list(values) for side, values in self.samples.items()},
            "medians": {side: self.median(side) for side in self.samples},
            "ratios": {peer: self.ratio(peer) for peer in peers},
            "targets": dict(self.targets),
            "limit": self.limit,
            "met": self.met,
        }


def alternate(rounds: int, sides: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Measure A, B, A, B, ... after one uncounted round."""
    samples: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(rounds + 1):
        for side, measure in sides.items():
            back_memory()
            value = measure()
            if number:
                samples[side].append(value)
    return samples


def table(results: Sequence[Result]) -> str:
    """Markdown: a line a row and peer."""
    lines = [
        "| work | unit | appliance | peer | median | ratio | at least | |",
        "|---|---|--:|---|--:|--:|--:|---|",
    ]
    for result in results:
        ours = f"{result.median(PRODUCT):,.4g}"
        peers = [side for side in result.samples if side != PRODUCT]
        if not peers:
            verdict = "" if not result.limit else "met" if result.met else "MISSED"
            limit = f"<= {result.limit:,.4g}" if result.limit else ""
            lines.append(f"| {result.row} | {result.unit} | {ours} | | | | {limit} | {verdict} |")
        for peer in peers:
            target = result.targets.get(peer, 0.0)
            ratio = result.ratio(peer)
            verdict = "" if not target else "met" if ratio >= target else "MISSED"
            theirs = f"{result.median(peer):,.4g}"
            lines.append(
                f"| {result.row} | {result.unit} | {ours} | {peer} | {theirs} | {ratio:.2f} x | {target or ''} | {verdict} |"
            )
    return "\n".join(lines)
