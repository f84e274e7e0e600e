"""Bounds that hold for a finite sample: Clopper-Pearson, its form for a finite population, and QBCB.

Nothing here is an approximation. Whatever the truth is, a bound at error `delta` is wrong in at most a share `delta`
of all samples. Every figure can be checked by hand: `upper_share` is `BETA.INV(1-delta, x+1, n-x)` of a spreadsheet.

Sources: Clopper and Pearson, "The use of confidence or fiducial limits", 1934; Buonaccorsi, "A note on confidence
intervals for proportions in finite populations", 1987; Lewis, Yang and Frieder, "Certifying one-phase
technology-assisted reviews", 2021 (QBCB).
"""

import functools
from collections.abc import Callable

from scipy import stats

FINITE_FRACTION = 0.01
"""From this share of a population drawn, its finiteness counts; below it the binomial bound is safe, and as good."""


def upper_share(found: int, drawn: int, delta: float) -> float:
    """Upper bound of the share of marked members when `found` of `drawn` are marked: about `3 / n` for 0 of n."""
    return 1.0 if found >= drawn else float(stats.beta.ppf(1 - delta, found + 1, drawn - found))


def lower_share(found: int, drawn: int, delta: float) -> float:
    """Lower bound of that share."""
    return 0.0 if found <= 0 else float(stats.beta.ppf(delta, found, drawn - found + 1))


@functools.lru_cache(maxsize=100_000)
def most_marked(found: int, drawn: int, population: int, delta: float) -> int:
    """Upper bound of how many of `population` are marked, `found` of `drawn` being so; a census leaves no doubt.

    The greatest M with `P(X <= found | M) > delta`, X hypergeometric. Where less than `FINITE_FRACTION` is drawn, the
    binomial bound: a hypergeometric variable is a sum of independent trials (Vatutin and Mikhailov, 1982), of whose
    tails the binomial one is the heaviest (Hoeffding, 1956), so that it can only be too careful.
    """
    if drawn < FINITE_FRACTION * population:
        return max(int(population * upper_share(found, drawn, delta)), found)
    least, most = found, population - (drawn - found)
    while least < most:
        middle = (least + most + 1) // 2
        if stats.hypergeom.cdf(found, population, middle, drawn) > delta:
            least = middle
        else:
            most = middle - 1
    return least


def fewest_marked(found: int, drawn: int, population: int, delta: float) -> int:
    """Lower bound of how many of `population` are marked: all but the most that can be unmarked."""
    return population - most_marked(drawn - found, drawn, population, delta)


def threshold_rank(residents: int, recall: float, delta: float) -> int | None:
    """QBCB: which of the scores of a uniform sample of residents, from the highest, may be the threshold.

    The least j with `BinomCDF(j - 1; residents, recall) >= 1 - delta`. Flagging from the j-th highest score on then
    has at least `recall`, except with chance `delta`. None: there are too few residents for any.
    """
    rank = int(stats.binom.ppf(1 - delta, residents, recall)) + 1
    return rank if rank <= residents else None


def residents_needed(recall: float, delta: float, misses: int = 0) -> int:
    """The least sample of residents in which QBCB may leave `misses` of them below the threshold.

    For a recall of .95 at an error of .05: 59 with none, 93 with one, 124 with two.
    """
    return _least(lambda n: float(stats.binom.cdf(misses, n, 1 - recall)) <= delta, misses + 1)


def sample_size(truth: float, allowed: float, power: float, delta: float) -> int:
    """How many to draw so that a share of at most `allowed` is shown with chance `power`, if the share is `truth`.

    Of a population without end. Raises ValueError if `truth` is not below `allowed`: no number would be enough.
    """
    if not truth < allowed:
        raise ValueError(f"a share of {truth} can never be shown to be at most {allowed}")

    # Larger samples only lose power until one more may be found in them, so the accept number is what is searched.
    def likely(found: int) -> bool:
        return float(stats.binom.cdf(found, _drawn_to_accept(found, allowed, delta), truth)) >= power

    return _drawn_to_accept(_least(likely, 0), allowed, delta)


def _drawn_to_accept(found: int, allowed: float, delta: float) -> int:
    """The least sample in which `found` marked members still show a share of at most `allowed`."""
    return _least(lambda drawn: upper_share(found, drawn, delta) <= allowed, found + 1)


def _least(holds: Callable[[int], bool], start: int) -> int:
    """The least number from `start` on for which `holds`, which must stay true once it is."""
    low, step = start - 1, 1
    while not holds(low + step):
        low, step = low + step, step * 2
    high = low + step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
