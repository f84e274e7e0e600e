"""langdetect's own model, without its dice: every n-gram counted, whole batches at a time.

langdetect (a port of Nakatani Shuyo's language-detection) is a naive Bayes model over character 1-, 2- and 3-grams. Its
implementation draws n-grams at random until one language wins, which takes milliseconds a text and gives
answers that change with the seed. Here its profiles are used as they are, on exactly the n-grams that it would draw
from, but each is counted once: the sum of log P(n-gram | language), always the same and hundreds of times faster.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt
from langdetect.detector import Detector
from langdetect.detector_factory import PROFILES_DIRECTORY
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
    labels, grams, frequency = _read_profiles(Path(PROFILES_DIRECTORY))
    weight = to_fixed(np.log1p(frequency * (Detector.BASE_FREQ / Detector.ALPHA_DEFAULT)))
    letters = [NGram.normalize(chr(code_point)) for code_point in range(_NORMALIZED)]
    symbol = np.full(_TABLED, _UNKNOWN, np.uint16)
    symbol[:_NORMALIZED] = np.minimum([ord(letter) for letter in letters], _UNKNOWN)
    letters += map(chr, range(_NORMALIZED, _TABLED))
    capital = np.array([letter.isupper() for letter in letters])
    return LangdetectModel(labels, LangdetectTables(symbol, capital, _scripts(), _index(_packed(grams)), weight))


def _read_profiles(folder: Path) -> tuple[tuple[str, ...], list[str], npt.NDArray[np.float64]]:
    """Labels, all n-grams in order, and how frequent each is in each language, `(n-grams, labels)`.

    Frequencies are as of `DetectorFactory.add_profile`, whose lists of lists take ten times as long.
    """
    profiles = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("[!.]*"))]
    grams = sorted(set().union(*(profile["freq"] for profile in profiles)))
    position = {gram: row for row, gram in enumerate(grams)}
    frequency = np.zeros((len(grams), len(profiles)))
    for column, profile in enumerate(profiles):
        counts = profile["freq"]
        sizes = np.array([len(gram) for gram in counts])
        frequency[[position[gram] for gram in counts], column] = (
            np.array(list(counts.values())) / np.array(profile["n_words"])[sizes - 1]
        )
    return tuple(profile["name"] for profile in profiles), grams, frequency


def _packed(grams: list[str]) -> npt.NDArray[np.int64]:
    """The symbols of n-grams, 16 bits each, the last one lowest; shape `(n,)`."""
    symbols = np.array(grams, "<U3").view(np.uint32).reshape(-1, 3).astype(np.int64)
    first, second, third = symbols.T
    pair = np.where(second > 0, first << 16 | second, first)
    return np.where(third > 0, pair << 16 | third, pair)


def _scripts() -> npt.NDArray[np.uint8]:
    """What `Detector.cleaning_text` counts each code point as; blocks of Unicode begin at multiples of 16."""
    blocks = [unicode_block(chr(code_point)) for code_point in range(0, _NORMALIZED, 16)]
    additional = np.repeat([block == UNICODE_LATIN_EXTENDED_ADDITIONAL for block in blocks], 16)
    script = np.full(_TABLED, _NOT_LATIN, np.uint8)
    script[:_NORMALIZED][additional] = 0
    script[:0x300] = 0
    script[ord("A") : ord("z") + 1] = _LATIN
    return script


def langdetect_scores(
    texts: CleanTexts, model: LangdetectModel
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """Log-likelihood of n texts in each language, `(n, labels)`, up to a constant per text; and n-grams, `(n,)`.

    Only the n-grams that langdetect knows are counted: few if a text is short or in a script that no profile has.
    """
    scores, n_grams = _score_rows(texts.code_points, texts.offsets, len(model.labels), model.tables)
    return scores, n_grams


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
