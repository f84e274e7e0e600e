"""From the raw scores of a detector to probabilities that mean what they say.

A naive Bayes score counts overlapping n-grams as if each were news, so its exponential is far too sure of itself, the
more the longer the text. Dividing by `scale · length ** power` makes it honest: temperature scaling (Guo et al. 2017,
"On Calibration of Modern Neural Networks") with a temperature that grows with the length.
"""

import math
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from schemas.countries import LANGUAGES, NONE, language_index
from schemas.errors import LetheError

_NEGLIGIBLE = np.float32(-25.0)
"""A language whose logarithm is so far below that of the best has the probability 0."""

_NO_SCORE = np.float32(-1e30)
"""Of a language that a detector has no label for."""

_LN_2, _PER_LN_2 = np.float32(np.log(2)), np.float32(1 / np.log(2))
_TAYLOR = tuple(np.float32(1 / math.factorial(n)) for n in range(7))
"""Of exp."""

_ONE = np.float32(1 << 23)
"""Exponentials are added up as integers: no less exact than in float32, and the same in whatever order."""

NO_LANGUAGE = len(LANGUAGES)
"""The last of the `len(LANGUAGES) + 1` columns here: a text that is in no language (ISO 639 `zxx`)."""


class Temperature(NamedTuple):
    """Scores of a text are divided by `scale · length ** power`.

    `unknown` is the log-probability given to languages that a detector has no score for.
    """

    scale: float
    power: float
    unknown: float = -np.inf


def language_columns(labels: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """The index into `LANGUAGES` of each label of a detector, shape `(len(labels),)`; several may share one."""
    columns = [NO_LANGUAGE if label == "zxx" else language_index(label) for label in labels]
    unknown = [label for label, column in zip(labels, columns, strict=True) if column == NONE]
    if unknown:
        raise LetheError(
            f"the installed language detector names languages that lethe does not know: {', '.join(unknown)}. "
            "Install the versions of langdetect and py3langid that pyproject.toml allows."
        )
    return np.array(columns, np.int64)


def add_log_probabilities(
    logits: npt.NDArray[np.float32],
    share: np.float32,
    scores: npt.NDArray[np.float32],
    columns: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int32],
    temperature: Temperature,
) -> None:
    """Add `share` of the log-probabilities of n texts to `logits`, shape `(n, NO_LANGUAGE + 1)`.

    They are made of `scores`, `(n, labels)`. `columns` says which language a label is; of several labels for one
    language the best counts. `lengths`, `(n,)`, is in the unit that the temperature was fitted with.
    """
    _add_rows(logits, share, scores, columns, lengths, *temperature)


@numba.njit(nogil=True, cache=True)
def _add_rows(
    logits: npt.NDArray[np.float32],
    share: np.float32,
    scores: npt.NDArray[np.float32],
    columns: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int32],
    scale: float,
    power: float,
    unknown: float,
) -> None:
    row = np.empty(logits.shape[1], np.float32)
    for i in range(len(scores)):
        row[:] = _NO_SCORE
        divisor = np.float32(scale * max(lengths[i], 1) ** power)
        for label in range(len(columns)):
            row[columns[label]] = max(row[columns[label]], scores[i, label] / divisor)
        top = _highest(row)
        log_total = top + np.log(_sum_from(row, top))
        _add_row(logits[i], share, row, log_total, np.float32(unknown))


@numba.njit(nogil=True, cache=True)
def _add_row(
    logits: npt.NDArray[np.float32],
    share: np.float32,
    row: npt.NDArray[np.float32],
    log_total: np.float32,
    unknown: np.float32,
) -> None:
    for language in range(len(row)):
        log_probability = row[language] - log_total if row[language] > _NO_SCORE else unknown
        logits[language] += share * log_probability


@numba.njit(nogil=True, cache=True, fastmath={"nnan", "nsz"})
def _highest(logits: npt.NDArray[np.float32]) -> np.float32:
    top: np.float32 = logits[0]
    for i in range(len(logits)):
        top = max(top, logits[i])
    return top


@numba.njit(nogil=True, cache=True)
def _position(logits: npt.NDArray[np.float32], wanted: np.float32) -> int:
    at = 0
    while logits[at] != wanted:
        at += 1
    return at


@numba.njit(nogil=True, cache=True)
def _sum_from(logits: npt.NDArray[np.float32], top: np.float32) -> np.float32:
    """The sum of exp(logit - top) of one row; `top` is its highest, so no term is over 1."""
    total = np.int32(0)
    for i in range(len(logits)):
        total = np.int32(total + np.int32(_exp(logits[i] - top) * _ONE))
    return np.float32(total) / _ONE


@numba.njit(nogil=True, cache=True)
def _exp(x: np.float32) -> np.float32:
    """exp(x) for x <= 0, within 4e-7 of it: 2^n e^r with a polynomial for e^r, |r| <= ln 2 / 2.

    np.exp would be a call for every value; a loop over this is worked out for 16 at a time.
    """
    bits = max(x * _PER_LN_2, np.float32(-126))
    n = np.floor(bits + np.float32(0.5))
    r = (bits - n) * _LN_2
    power = _TAYLOR[6]
    power = _TAYLOR[4] + r * (_TAYLOR[5] + r * power)
    power = _TAYLOR[2] + r * (_TAYLOR[3] + r * power)
    power = _TAYLOR[0] + r * (_TAYLOR[1] + r * power)
    exp: np.float32 = power * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
    return exp


@numba.njit(nogil=True, cache=True)
def softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Probabilities that are proportional to exp(logits), each row by itself; shape as given, `(n, languages)`.

    Those below 1e-11 are given as 0.
    """
    out = np.zeros_like(logits)
    for i in range(len(logits)):
        top = _highest(logits[i])
        total = _sum_from(logits[i], top)
        for language in range(logits.shape[1]):
            if logits[i, language] - top > _NEGLIGIBLE:
                out[i, language] = np.exp(logits[i, language] - top) / total
    return out


@numba.njit(nogil=True, cache=True)
def find_likeliest(
    logits: npt.NDArray[np.float32], languages: int
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.float32]]:
    """The likeliest of the first `languages` columns in each of n rows, and its probability as of `softmax`; `(n,)`."""
    likeliest, probability = np.empty(len(logits), np.int16), np.empty(len(logits), np.float32)
    for i in range(len(logits)):
        top = _highest(logits[i])
        best = _position(logits[i], _highest(logits[i, :languages]))
        below = logits[i, best] - top
        negligible = not below > _NEGLIGIBLE
        likeliest[i] = 0 if negligible else best
        probability[i] = np.float32(0.0) if negligible else np.exp(below) / _sum_from(logits[i], top)
    return likeliest, probability
