"""How good answers are: the measures of the evaluation, and the cells they are shown in. Shapes are `(n,)`."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

TENTHS = np.linspace(0.1, 0.9, 9)
"""Inner edges of ten bins of equal width."""

UNDEFINED = "–"


class Decision(NamedTuple):
    """What a yes-or-no rule does to subjects, some of whom are residents."""

    flagged: int
    correct: int
    residents: int

    @classmethod
    def of(cls, flagged: Mask, resident: Mask) -> "Decision":
        """Compare a rule with the truth."""
        return cls(int(flagged.sum()), int((flagged & resident).sum()), int(resident.sum()))

    @property
    def cell(self) -> str:
        """`precision / recall (flagged)`."""
        if not self.flagged:
            return f"{UNDEFINED} / {share(0, self.residents)} (0)"
        return f"{share(self.correct, self.flagged)} / {share(self.correct, self.residents)} ({self.flagged:,})"


def share(part: int, whole: int) -> str:
    """`part / whole` to three decimals; a share of nothing is undefined."""
    return f"{part / whole:.3f}" if whole else UNDEFINED


def figure(value: float) -> str:
    """Three decimals; NaN is undefined."""
    return UNDEFINED if np.isnan(value) else f"{value:.3f}"


def area_under_curve(probability: Floats, positive: Mask) -> float:
    """Chance that a positive has a higher probability than a negative, ties counting half (Mann and Whitney)."""
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        return float("nan")
    return float((rankdata(probability)[positive].sum() - n * (n + 1) / 2) / (n * m))


def brier_score(probability: Floats, positive: Mask) -> float:
    """Mean square of what the probabilities miss (Brier 1950)."""
    return float(np.mean((probability - positive) ** 2))


def calibration_error(probability: Floats, positive: Mask, edges: Floats = TENTHS) -> float:
    """Expected calibration error: |mean probability - share of positives|, averaged over bins by their size."""
    gaps = np.bincount(np.searchsorted(edges, probability, side="right"), weights=probability - positive)
    return float(np.abs(gaps).sum() / len(probability))


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table, first column to the left and all others to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
