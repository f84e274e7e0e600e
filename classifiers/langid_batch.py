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

from classifiers.language_text import MAX_CODE_POINTS, CleanTexts

_GRID = 512
"""The package stores its weights, which lie between -16 and -2, as float16, where they are multiples of 1 / 512: exact
as 16-bit integers, in half the memory of float32, and memory is what the scoring waits for."""

_LANES = 32
"""A row of weights is filled up to a multiple of this: whole vectors, whole cache lines."""

_SCALE = np.log1p(np.arange(4 * MAX_CODE_POINTS + 1)).astype(np.float32) / np.float32(_GRID)
"""What the weights of a feature count for that occurs so often."""


class LangidTables(NamedTuple):
    """py3langid's model as arrays.

    From a state, byte b leads to `move[line[state], b]`; arriving in a state passes `feature[state]`, -1 for none.
    `weight`, int16 of shape `(features, columns)`, is in units of 1 / 512; `prior` is float32, `(columns,)`. Columns
    beyond the labels are 0.
    """

    move: npt.NDArray[np.uint32]
    line: npt.NDArray[np.uint32]
    feature: npt.NDArray[np.int32]
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
    languages = len(source.nb_classes)
    columns = -(-languages // _LANES) * _LANES
    weight = np.zeros((len(source.nb_ptc), columns), np.int16)
    weight[:, :languages] = np.rint(np.asarray(source.nb_ptc).astype(np.float32) * _GRID)
    prior = np.zeros(columns, np.float32)
    prior[:languages] = source.nb_pc
    return LangidModel(
        tuple(source.nb_classes),
        LangidTables(
            np.frombuffer(source.tk_nextmove, np.dtype(source.tk_nextmove.typecode)).astype(np.uint32).reshape(-1, 256),
            np.asarray(source.tk_row, np.uint32),
            np.asarray(source.tk_output, np.int32),
            weight,
            prior,
        ),
    )


def langid_scores(
    texts: CleanTexts, model: LangidModel, order: npt.NDArray[np.int64] | None = None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Log-posterior of n texts, `(n, columns)`, up to a constant per text; distinct features, `(n,)`; bytes, `(n,)`.

    Without any feature the scores are the prior alone. `order`, a permutation of the texts, is that in which they are
    gone through: no result depends on it, but texts of one language after another find the tables in the cache.
    """
    if order is None:
        order = np.arange(len(texts.offsets) - 1)
    scores, n_features, n_bytes = _score_rows(texts.code_points, texts.offsets, order, model.tables, _SCALE)
    return scores[:, : len(model.labels)], n_features, n_bytes


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
def _count_features(
    text: npt.NDArray[np.int32],
    tables: LangidTables,
    counts: npt.NDArray[np.uint16],
    found: npt.NDArray[np.int32],
) -> tuple[int, int]:
    """Count the features of a text in `counts` and list the distinct ones in `found`; returns how many, and bytes."""
    distinct, n_bytes, state = 0, 0, np.uint32(0)
    utf8 = np.empty(4, np.uint8)
    for code_point in text:
        size = _encode(code_point, utf8)
        n_bytes += size
        for i in range(size):
            state = tables.move[tables.line[state], utf8[i]]
            feature = tables.feature[state]
            if feature >= 0:
                if counts[feature] == 0:
                    found[distinct] = feature
                    distinct += 1
                counts[feature] += 1
    return distinct, n_bytes


@numba.njit(nogil=True, cache=True)
def _add_weights(
    found: npt.NDArray[np.int32],
    scale: npt.NDArray[np.float32],
    weight: npt.NDArray[np.int16],
    score: npt.NDArray[np.float32],
) -> None:
    """Add the scaled weights of the features found, four at a time: half the work is fetching and storing `score`."""
    fours = len(found) & ~3
    for i in range(0, fours, 4):
        one, two, three, four = found[i], found[i + 1], found[i + 2], found[i + 3]
        by_one, by_two, by_three, by_four = scale[i], scale[i + 1], scale[i + 2], scale[i + 3]
        for column in range(len(score)):
            first = by_one * np.float32(weight[one, column]) + by_two * np.float32(weight[two, column])
            second = by_three * np.float32(weight[three, column]) + by_four * np.float32(weight[four, column])
            score[column] += first + second
    for i in range(fours, len(found)):
        for column in range(len(score)):
            score[column] += scale[i] * np.float32(weight[found[i], column])


@numba.njit(nogil=True, cache=True)
def _score_rows(
    code_points: npt.NDArray[np.int32],
    offsets: npt.NDArray[np.int64],
    order: npt.NDArray[np.int64],
    tables: LangidTables,
    scale_of_count: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    n = len(offsets) - 1
    scores = np.empty((n, len(tables.prior)), np.float32)
    n_features = np.zeros(n, np.int32)
    n_bytes = np.zeros(n, np.int32)
    counts = np.zeros(len(tables.weight), np.uint16)
    found = np.empty(4 * MAX_CODE_POINTS, np.int32)
    scale = np.empty(4 * MAX_CODE_POINTS, np.float32)
    for i in order:
        text = code_points[offsets[i] : offsets[i + 1]]
        distinct, n_bytes[i] = _count_features(text, tables, counts, found)
        for at in range(distinct):
            scale[at] = scale_of_count[counts[found[at]]]
            counts[found[at]] = 0
        scores[i] = tables.prior
        _add_weights(found[:distinct], scale[:distinct], tables.weight, scores[i])
        n_features[i] = distinct
    return scores, n_features, n_bytes
