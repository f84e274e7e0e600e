"""py3langid's own model, whole batches at a time: naive Bayes over byte n-grams found by an automaton.

py3langid (langid.py of Lui and Baldwin 2012, "langid.py: an off-the-shelf language identification tool", trained anew)
walks a text's UTF-8 bytes through a deterministic automaton and counts the features it passes. A language scores
log1p(counts) @ log-likelihoods + log-prior. The automaton and the tables are read from the installed package.
"""

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from classifiers.fixed_point import GRID, add_rows, to_fixed
from classifiers.language_text import MAX_CODE_POINTS, CleanTexts

_ABREAST = 8
"""So many texts are walked through at the same time."""

_SCALE = np.log1p(np.arange(4 * MAX_CODE_POINTS + 1)).astype(np.float32) / np.float32(GRID)
"""What the weights of a feature count for that occurs so often."""


class LangidTables(NamedTuple):
    """py3langid's model as arrays.

    From a state, byte b leads to `move[arrive[state, 0], b]`; arriving in a state passes feature `arrive[state, 1]`, -1
    for none.
    `weight`, of shape `(features, columns)`, is as of `to_fixed`, and exact: the package stores float16 between -16 and
    -2, which are multiples of 1 / 512. `prior` is float32, `(labels,)`.
    """

    move: npt.NDArray[np.uint32]
    arrive: npt.NDArray[np.int32]
    weight: npt.NDArray[np.int16]
    prior: npt.NDArray[np.float32]


class LangidModel(NamedTuple):
    """The tables, and py3langid's label of each of their columns: one language in two scripts is two columns.

    The label `zxx` (ISO 639) means that a text is in no language.
    """

    labels: tuple[str, ...]
    tables: LangidTables


def load_langid() -> LangidModel:
    """Read the model that py3langid ships."""
    source = LanguageIdentifier.from_model_file(MODEL_FILE)
    weight = to_fixed(np.asarray(source.nb_ptc, np.float32))
    return LangidModel(
        tuple(source.nb_classes),
        LangidTables(
            np.frombuffer(source.tk_nextmove, np.dtype(source.tk_nextmove.typecode)).astype(np.uint32).reshape(-1, 256),
            np.stack([np.asarray(column, np.int32) for column in (source.tk_row, source.tk_output)], axis=1),
            weight,
            np.asarray(source.nb_pc, np.float32),
        ),
    )


def langid_scores(
    texts: CleanTexts, model: LangidModel
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Log-posterior of n texts, `(n, labels)`, up to a constant per text; distinct features, `(n,)`; bytes, `(n,)`.

    Without any feature the scores are the prior alone.
    """
    scores, n_features, n_bytes = _score_rows(texts.code_points, texts.offsets, model.tables, _SCALE)
    return scores, n_features, n_bytes


@numba.njit(nogil=True, cache=True)
def _encode(code_point: int, out: npt.NDArray[np.uint8]) -> int:
    """Write a code point as UTF-8 and return how many bytes it took."""
    if code_point < 0x80:
        out[0] = code_point
        return 1
    if code_point < 0x800:
        out[0] = 0xC0 | code_point >> 6
        out[1] = 0x80 | code_point & 0x3F
        return 2
    if code_point < 0x10000:
        out[0] = 0xE0 | code_point >> 12
        out[1] = 0x80 | code_point >> 6 & 0x3F
        out[2] = 0x80 | code_point & 0x3F
        return 3
    out[0] = 0xF0 | code_point >> 18
    out[1] = 0x80 | code_point >> 12 & 0x3F
    out[2] = 0x80 | code_point >> 6 & 0x3F
    out[3] = 0x80 | code_point & 0x3F
    return 4


@numba.njit(nogil=True, cache=True)
def _encode_rows(
    code_points: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Texts as UTF-8, laid end to end, and where each starts, `(n + 1,)`."""
    data = np.empty(4 * len(code_points), np.uint8)
    starts = np.zeros(len(offsets), np.int64)
    filled = 0
    for i in range(len(offsets) - 1):
        for code_point in code_points[offsets[i] : offsets[i + 1]]:
            filled += _encode(code_point, data[filled : filled + 4])
        starts[i + 1] = filled
    return data, starts


@numba.njit(nogil=True, cache=True)
def _pass_features(
    data: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], tables: LangidTables
) -> npt.NDArray[np.int32]:
    """The feature that each byte of the texts passes, -1 for none.

    Every step waits for memory to say where the next one is, so several texts are walked through at the same time.
    """
    passed = np.empty(starts[-1], np.int32)
    state = np.zeros(_ABREAST, np.int64)
    n = len(starts) - 1
    for first in range(0, n, _ABREAST):
        texts = min(_ABREAST, n - first)
        state[:] = 0
        longest = 0
        for i in range(first, first + texts):
            longest = max(longest, starts[i + 1] - starts[i])
        for step in range(longest):
            for lane in range(texts):
                at = starts[first + lane] + step
                if at < starts[first + lane + 1]:
                    state[lane] = tables.move[tables.arrive[state[lane], 0], data[at]]
                    passed[at] = tables.arrive[state[lane], 1]
    return passed


@numba.njit(nogil=True, cache=True)
def _count_features(
    passed: npt.NDArray[np.int32],
    counts: npt.NDArray[np.uint16],
    once: npt.NDArray[np.int32],
    again: npt.NDArray[np.int32],
) -> tuple[int, int]:
    """List the features that a text passes `once`, and those it passes `again`, and count the latter in `counts`.

    Returns how many of each. `counts`, all 0 before, is 0 again for the features in `once`.
    """
    distinct = repeated = 0
    for feature in passed:
        if feature >= 0:
            if counts[feature] == 0:
                once[distinct] = feature
                distinct += 1
            counts[feature] += 1
    single = 0
    for at in range(distinct):
        feature = once[at]
        if counts[feature] == 1:
            counts[feature] = 0
            once[single] = feature
            single += 1
        else:
            again[repeated] = feature
            repeated += 1
    return single, repeated


@numba.njit(nogil=True, cache=True)
def _score_rows(
    code_points: npt.NDArray[np.int32],
    offsets: npt.NDArray[np.int64],
    tables: LangidTables,
    scale_of_count: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    n, labels = len(offsets) - 1, len(tables.prior)
    scores = np.empty((n, labels), np.float32)
    n_features = np.zeros(n, np.int32)
    data, starts = _encode_rows(code_points, offsets)
    passed = _pass_features(data, starts, tables)
    counts = np.zeros(len(tables.weight), np.uint16)
    once, again = np.empty(4 * MAX_CODE_POINTS, np.int32), np.empty(4 * MAX_CODE_POINTS, np.int32)
    total = np.empty(tables.weight.shape[1], np.int32)
    for i in range(n):
        single, repeated = _count_features(passed[starts[i] : starts[i + 1]], counts, once, again)
        total[:] = 0
        add_rows(once[:single], tables.weight, total)
        score = scores[i]
        for column in range(labels):
            score[column] = tables.prior[column] + scale_of_count[1] * np.float32(total[column])
        for feature in again[:repeated]:
            scale, row = scale_of_count[counts[feature]], tables.weight[feature]
            counts[feature] = 0
            for column in range(labels):
                score[column] += scale * np.float32(row[column])
        n_features[i] = single + repeated
    return scores, n_features, np.diff(starts).astype(np.int32)
