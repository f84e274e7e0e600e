"""Geometry of the report's figures, in the units of their SVG; the template draws them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from runners.tally import Counts
from schemas.scores import TIERS

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 760, 246, 34, 52, 36
"""The histogram: its size, and the margins of its plot (none on the right)."""

SQUARE = 150
"""The plot of a reliability curve, both ways."""

BINS = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)
"""Limits of probability, finest where decisions are made: near 0 and 1."""


class Bar(NamedTuple):
    """Subjects of one tier within one bin."""

    tier: str
    x: float
    y: float
    width: float
    height: float
    subjects: int


class Region(NamedTuple):
    """The stretch of the axis that one decision holds."""

    tier: str
    x: float
    width: float


class Histogram(NamedTuple):
    """One jurisdiction: bars, grid lines `(y, subjects)`, limits `(x, label)`, and the regions of the tiers."""

    bars: tuple[Bar, ...]
    grid: tuple[tuple[float, int], ...]
    limits: tuple[tuple[float, str], ...]
    regions: tuple[Region, ...]


def bin_edges(review_at: float, erase_at: float) -> tuple[float, ...]:
    """The limits of the bins with the policy's own among them, so that no bin holds two decisions."""
    return tuple(sorted({*BINS, review_at, erase_at}))


def draw_histogram(
    counts: Counts, edges: Sequence[float], review_at: float, erase_at: float, tallest: int
) -> Histogram:
    """Lay out `counts` of shape `(T, B)`; heights are logarithmic, up to `tallest`, so that a single subject shows."""
    n_bins = len(edges) + 1
    step = (WIDTH - LEFT) / n_bins
    plot = HEIGHT - TOP - BOTTOM
    decades = math.log10(max(tallest, 10)) + 0.35

    def height(count: int) -> float:
        return plot * (math.log10(count) + 0.35) / decades

    bars = []
    for at in range(n_bins):
        here = [(tier, int(counts[row, at])) for row, tier in enumerate(TIERS) if counts[row, at]]
        width = (step - 12) / max(len(here), 1)
        for place, (tier, count) in enumerate(here):
            x, tall = LEFT + at * step + 6 + place * width, height(count)
            bars.append(Bar(tier, _round(x), _round(TOP + plot - tall), _round(width - 1), _round(tall), count))
    grid = tuple((_round(TOP + plot - height(10**k)), 10**k) for k in range(int(math.log10(max(tallest, 10))) + 1))
    limits = tuple((_round(LEFT + (i + 1) * step), limit_label(edge)) for i, edge in enumerate(edges))
    review, erase = LEFT + (edges.index(review_at) + 1) * step, LEFT + (edges.index(erase_at) + 1) * step
    spans = (("keep", LEFT, review), ("review", review, erase), ("erase", erase, float(WIDTH)))
    regions = tuple(Region(tier, _round(start), _round(end - start)) for tier, start, end in spans)
    return Histogram(tuple(bars), grid, limits, regions)


class Dot(NamedTuple):
    """One bin of a reliability curve: said `x`, turned out `y`, which an interval from `low` to `high` goes with."""

    x: float
    y: float
    low: float
    high: float
    radius: float


def draw_reliability(curve: Sequence[Mapping[str, Any]]) -> tuple[Dot, ...]:
    """Lay out the bins of a reliability curve, as `evaluation.json` has them, in a square of `SQUARE` by `SQUARE`.

    Probability grows to the right and the share of residents upwards; an area grows with the logarithm of its subjects.
    """

    def height(share: float) -> float:
        return _round(SQUARE * (1 - share))

    dots = []
    for one in curve:
        share, radius = one["share"], 2 + math.sqrt(math.log10(one["subjects"]))
        y, low, high = height(share["value"]), height(share["low"]), height(share["high"])
        dots.append(Dot(_round(SQUARE * one["probability"]), y, low, high, _round(radius)))
    return tuple(dots)


def limit_label(edge: float) -> str:
    """`0.95` as `95 %`, with as many digits as it has."""
    return f"{round(edge * 100, 6):g} %"


def shares(counts: Sequence[tuple[str, int]], width: float) -> list[tuple[str, float, float]]:
    """One bar of `width` cut into `(name, x, width)`; whatever is not nothing stays a visible sliver."""
    total = sum(count for _, count in counts)
    least = min(2.0, width / max(len(counts), 1))
    raw = [max(width * count / total, least) if count else 0.0 for _, count in counts] if total else [0.0] * len(counts)
    scale = width / sum(raw) if total else 0.0
    pieces, x = [], 0.0
    for (name, _), piece in zip(counts, raw, strict=True):
        pieces.append((name, _round(x), _round(piece * scale)))
        x += piece * scale
    return pieces


def _round(value: float) -> float:
    return round(value, 2)
