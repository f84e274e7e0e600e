"""The cells that the evaluation shows its measures in."""

from collections.abc import Iterable, Sequence

import numpy as np

from classifiers.measures import Decision, Share

UNDEFINED = "–"


def share(part: int, whole: int) -> str:
    """`part / whole` to three decimals; a share of nothing is undefined."""
    value = Share(part, whole).value
    return UNDEFINED if value is None else f"{value:.3f}"


def figure(value: float) -> str:
    """Three decimals; NaN is undefined."""
    return UNDEFINED if np.isnan(value) else f"{value:.3f}"


def decided(decision: Decision) -> str:
    """`precision / recall (flagged)`."""
    return f"{share(*decision.precision)} / {share(*decision.recall)} ({decision.flagged:,})"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table, first column to the left and all others to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
