"""langdetect's own model, without its dice: every n-gram counted, whole batches at a time.

langdetect (a port of Nakatani Shuyo's language-detection) is a naive Bayes model over character 1-, 2- and 3-grams. Its
implementation draws n-grams at random until one language wins, which takes milliseconds a text and gives
answers that change with the seed. Here its profiles are used as they are, on exactly the n-grams that it would draw
from, but each is counted once: the sum of log P(n-gram | language), always the same and hundreds of times faster.
"""

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt
from langdetect.detector import Detector
from langdetect.detector_factory import PROFILES_DIRECTORY, DetectorFactory
from langdetect.utils.ngram import NGram
from langdetect.utils.unicode_block import UNICODE_LATIN_EXTENDED_ADDITIONAL, unicode_block

from classifiers.fixed_point import GRID, add_rows, to_fixed
from classifiers.language_text import MAX_CODE_POINTS, SPACE, CleanTexts

_TABLED = 0x20000  # code points above it are in no profile; the last one below it stands for them all
_NORMALIZED = 0x10000  # langdetect leaves code points above it as they are, and counts them as not Latin
_UNKNOWN = 0xFFFF  # a symbol that is in no profile
_LATIN, _NOT_LATIN = 1, 2
_SLOT_BITS = 18  # three times as many slots as there are n-grams
_GOLDEN = 0x9E3779B97F4A7C15  # 2**64 / golden ratio, for multiplicative hashing


class LangdetectTables(NamedTuple):
    """langdetect's model as arrays.

    `symbol`, `capital` and `script`, of shape `(0x20000,)`, are what langdetect makes of a code point. An n-gram is its
    symbols, 16 bits each; `slot`, of shape `(slots, 2)`, is an open-addressing hash table from n-gram to row of
    `weight`, side by side since both are always wanted. `weight`, of shape `(n-grams, columns)`, is log(1 + p · 10000 /
    0.5), the log-likelihood over that of an n-gram the language lacks, as of `to_fixed`.
    """

    symbol: npt.NDArray[np.uint16]
    capital: npt.NDArray[np.bool_]
    script: npt.NDArray[np.uint8]
    slot: npt.NDArray[np.int64]
    weight: npt.NDArray[np.int16]


class LangdetectModel(NamedTuple):
    """The tables, and langdetect's label of each of their columns (`zh-cn` and `zh-tw` are two)."""

    labels: tuple[str, ...]
    tables: LangdetectTables


def load_langdetect() -> LangdetectModel:
    """Read the profiles that langdetect ships."""
    factory = DetectorFactory()
    factory.load_profile(PROFILES_DIRECTORY)
    grams = sorted(factory.word_lang_prob_map)
    frequency = np.array([factory.word_lang_prob_map[gram] for gram in grams])
    weight = to_fixed(np.log1p(frequency * (Detector.BASE_FREQ / Detector.ALPHA_DEFAULT)))
    slot = _index(np.array([_packed(gram) for gram in grams], np.int64))

    symbol = np.full(_TABLED, _UNKNOWN, np.uint16)
    script = np.full(_TABLED, _NOT_LATIN, np.uint8)
    capital = np.array([chr(code_point).isupper() for code_point in range(_TABLED)])
    for code_point in range(_NORMALIZED):
        letter = NGram.normalize(chr(code_point))
        symbol[code_point] = min(ord(letter), _UNKNOWN)
        capital[code_point] = letter.isupper()
        script[code_point] = _script(chr(code_point))
    return LangdetectModel(tuple(factory.langlist), LangdetectTables(symbol, capital, script, slot, weight))


def langdetect_scores(
    texts: CleanTexts, model: LangdetectModel
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """Log-likelihood of n texts in each language, `(n, labels)`, up to a constant per text; and n-grams, `(n,)`.

    Only the n-grams that langdetect knows are counted: few if a text is short or in a script that no profile has.
    """
    scores, n_grams = _score_rows(texts.code_points, texts.offsets, len(model.labels), model.tables)
    return scores, n_grams


def _packed(gram: str) -> int:
    return sum(ord(letter) << 16 * i for i, letter in enumerate(reversed(gram)))


def _script(letter: str) -> int:
    """What `Detector.cleaning_text` counts a letter as."""
    if "A" <= letter <= "z":
        return _LATIN
    return _NOT_LATIN if letter >= "\u0300" and unicode_block(letter) != UNICODE_LATIN_EXTENDED_ADDITIONAL else 0


@numba.njit(nogil=True, cache=True)
def _find(slot: npt.NDArray[np.int64], gram: np.int64) -> np.uint64:
    """The slot of an n-gram, or the empty slot where it would be."""
    at = (np.uint64(gram) * np.uint64(_GOLDEN)) >> np.uint64(64 - _SLOT_BITS)
    while slot[at, 1] >= 0 and slot[at, 0] != gram:
        at = (at + np.uint64(1)) & np.uint64(len(slot) - 1)
    return at


@numba.njit(nogil=True, cache=True)
def _index(grams: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    slot = np.full((1 << _SLOT_BITS, 2), -1, np.int64)
    for i in range(len(grams)):
        at = _find(slot, grams[i])
        slot[at, 0], slot[at, 1] = grams[i], i
    return slot


@numba.njit(nogil=True, cache=True)
def _mostly_not_latin(text: npt.NDArray[np.int32], script: npt.NDArray[np.uint8]) -> bool:
    latin = not_latin = 0
    for code_point in text:
        kind = script[min(code_point, _TABLED - 1)]
        latin += kind == _LATIN
        not_latin += kind == _NOT_LATIN
    return latin * 2 < not_latin


@numba.njit(nogil=True, cache=True)
def _append(gram: np.int64, tables: LangdetectTables, found: npt.NDArray[np.int32], n: int) -> int:
    """Add the row of an n-gram to the n rows found, if langdetect knows it; returns how many there are now."""
    row = tables.slot[_find(tables.slot, gram), 1]
    if row < 0:
        return n
    found[n] = row
    return n + 1


@numba.njit(nogil=True, cache=True)
def _list_grams(text: npt.NDArray[np.int32], tables: LangdetectTables, found: npt.NDArray[np.int32]) -> int:
    """Write the rows of a text's n-grams to `found`, in the order of `Detector._extract_ngrams`; returns how many.

    langdetect leaves out what follows the first of several capitals, starts anew at every space, and ignores Latin
    letters in a text that is mostly in another script.
    """
    n = 0
    skip_latin = _mostly_not_latin(text, tables.script)
    before, last, last_capital = np.int64(SPACE), np.int64(SPACE), False
    for code_point in text:
        at = min(code_point, _TABLED - 1)
        if skip_latin and tables.script[at] == _LATIN:
            continue
        symbol, capital = np.int64(tables.symbol[at]), tables.capital[at]
        if not (capital and last_capital):
            pair = last << 16 | symbol
            if symbol != SPACE:
                n = _append(symbol, tables, found, n)
            if symbol != SPACE or last != SPACE:
                n = _append(pair, tables, found, n)
            if last != SPACE:
                n = _append(before << 32 | pair, tables, found, n)
        before, last, last_capital = last, symbol, capital
    return n


@numba.njit(nogil=True, cache=True)
def _score_rows(
    code_points: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64], labels: int, tables: LangdetectTables
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    n = len(offsets) - 1
    scores = np.empty((n, labels), np.float32)
    n_grams = np.zeros(n, np.int32)
    found = np.empty(3 * MAX_CODE_POINTS, np.int32)
    total = np.empty(tables.weight.shape[1], np.int32)
    for i in range(n):
        n_grams[i] = _list_grams(code_points[offsets[i] : offsets[i + 1]], tables, found)
        total[:] = 0
        add_rows(found[: n_grams[i]], tables.weight, total)
        score = scores[i]
        for column in range(labels):
            score[column] = np.float32(total[column]) / np.float32(GRID)
    return scores, n_grams
