"""From the raw scores of a detector to probabilities that mean what they say.

A naive Bayes score counts overlapping n-grams as if each were news, so its exponential is far too sure of itself, the
more the longer the text. Dividing by `scale · length ** power` makes it honest: temperature scaling (Guo et al. 2017,
"On Calibration of Modern Neural Networks") with a temperature that grows with the length.
"""

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from schemas.countries import LANGUAGES, NONE, language_index
from schemas.errors import LetheError

_NEGLIGIBLE = np.float32(-25.0)
"""A logarithm so far below that of the best language adds less to the sum than float32 can hold."""

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
        row[:] = -np.inf
        divisor = np.float32(scale * max(lengths[i], 1) ** power)
        for label in range(len(columns)):
            row[columns[label]] = max(row[columns[label]], scores[i, label] / divisor)
        top = np.max(row)
        log_total = top + np.log(_sum_from(row, top))
        for language in range(len(row)):
            known = row[language] > -np.inf
            logits[i, language] += share * (row[language] - log_total if known else np.float32(unknown))


@numba.njit(nogil=True, cache=True)
def _sum_from(logits: npt.NDArray[np.float32], top: np.float32) -> np.float32:
    """The sum of exp(logit - top) of one row."""
    total = np.float32(0.0)
    for logit in logits:
        if logit - top > _NEGLIGIBLE:
            total += np.exp(logit - top)
    return total


@numba.njit(nogil=True, cache=True)
def softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Probabilities that are proportional to exp(logits), each row by itself; shape as given, `(n, languages)`.

    Those below 1e-11 are given as 0.
    """
    out = np.zeros_like(logits)
    for i in range(len(logits)):
        top = np.max(logits[i])
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
        top = np.max(logits[i])
        best = np.argmax(logits[i, :languages])
        below = logits[i, best] - top
        negligible = not below > _NEGLIGIBLE
        likeliest[i] = 0 if negligible else best
        probability[i] = np.float32(0.0) if negligible else np.exp(below) / _sum_from(logits[i], top)
    return likeliest, probability
