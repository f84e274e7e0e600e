"""Which language the text around an image is in, how sure that is, and why nothing is said where nothing is.

Two detectors, both read from the packages that ship them and scored in batches: langdetect's profiles
(`langdetect_batch`) and py3langid's model (`langid_batch`). Their scores, far too confident as they come, are made
probabilities by `language_calibration`; what was measured is in docs/decisions/0101-language-in-batches.md. A language
says little about residence by itself; how little is for the residence model to say.
"""

import enum
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.langdetect_batch import LangdetectModel, langdetect_scores, load_langdetect
from classifiers.langid_batch import LangidModel, langid_scores, load_langid
from classifiers.language_calibration import (
    NO_LANGUAGE,
    Temperature,
    add_log_probabilities,
    find_likeliest,
    language_columns,
    softmax,
)
from classifiers.language_text import clean_texts
from schemas.countries import NONE, language_index
from schemas.evidence import SIGNALS, NullReason, Signal

LEVELS = next(kind.levels for kind in SIGNALS if kind.name == "language")
HINT, DECLARED, POSSIBLE = (LEVELS.index(level) for level in ("hint", "declared", "possible"))

LEVEL_EDGES = np.array([0.5, 0.8, 0.95], np.float32)
"""The least probability of `possible`, `likely` and `sure`."""

MIN_N_GRAMS = 6
"""With fewer n-grams known to the detector, which is two letters or so, a text says nothing."""

# Fitted on half of the sentences, word pairs and words of 26 languages; see the decision record.
_LANGDETECT_ALONE = Temperature(3.0, 0.08)  # length in n-grams
_LANGDETECT_MIXED = Temperature(1.3, 0.54, unknown=-10.0)
_LANGID_MIXED = Temperature(0.5, 0.41)  # length in bytes
_LANGDETECT_SHARE, _ALL = np.float32(0.3), np.float32(1)

_BLOCK = 8_192
"""So many texts are judged at a time: their scores in all languages stay in the cache, in memory that is used again."""

_SEPARATOR = pa.scalar(b" ", pa.large_binary())

_ALIASES = {"arb": "ar", "cmn": "zh", "fil": "tl", "in": "id", "iw": "he", "mo": "ro", "nb": "no"}
"""Language subtags (IANA registry) of languages that `LANGUAGES` has under another code."""


class LanguageMode(enum.StrEnum):
    """`FAST`: langdetect's model alone, 54 languages. `ACCURATE`: mixed with py3langid's, all of `LANGUAGES`."""

    FAST = "fast"
    ACCURATE = "accurate"


DEFAULT_MODE = LanguageMode.ACCURATE


class LanguageModel:
    """A loaded detector. It never changes, so threads share one: see `load_language_model`."""

    def __init__(self, langdetect: LangdetectModel, langid: LangidModel | None) -> None:
        self._langdetect, self._langdetect_columns = langdetect, language_columns(langdetect.labels)
        self._langid, self._langid_columns = langid, language_columns(langid.labels if langid else ())

    def distribution(self, texts: pa.Array) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
        """P(language | text) of n texts, `(n, len(LANGUAGES))`, and how many of its n-grams the model knows, `(n,)`.

        Takes strings or binary as they were found, and cleans them (`clean_texts`). A row sums to at most 1: the rest
        is the probability that the text is in no language. A row depends on its own text alone, whatever the batch.
        """
        logits, n_grams = self._weigh(texts)
        return softmax(logits)[:, :NO_LANGUAGE], n_grams

    def likeliest(
        self, texts: pa.Array
    ) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.float32], npt.NDArray[np.int32]]:
        """The likeliest language of n texts and its probability, as of `distribution`, and the n-grams; each `(n,)`."""
        logits, n_grams = self._weigh(texts)
        return *find_likeliest(logits, NO_LANGUAGE), n_grams

    def _weigh(self, texts: pa.Array) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
        clean = clean_texts(texts)
        scores, n_grams = langdetect_scores(clean, self._langdetect)
        logits = np.zeros((len(texts), NO_LANGUAGE + 1), np.float32)
        if self._langid is None:
            add_log_probabilities(logits, _ALL, scores, self._langdetect_columns, n_grams, _LANGDETECT_ALONE)
            return logits, n_grams
        share = _LANGDETECT_SHARE
        add_log_probabilities(logits, share, scores, self._langdetect_columns, n_grams, _LANGDETECT_MIXED)
        scores, n_features, n_bytes = langid_scores(clean, self._langid)
        add_log_probabilities(logits, _ALL - share, scores, self._langid_columns, n_bytes, _LANGID_MIXED)
        return logits, n_grams + n_features


_models: dict[LanguageMode, LanguageModel] = {}
_loading = threading.Lock()


def load_language_model(mode: LanguageMode) -> LanguageModel:
    """The detector of a mode: read once in a process, which takes about a second, and shared from then on."""
    with _loading:
        if mode not in _models:
            _models[mode] = _load(mode)
        return _models[mode]


def _load(mode: LanguageMode) -> LanguageModel:
    if mode is LanguageMode.FAST:
        return LanguageModel(load_langdetect(), None)
    with ThreadPoolExecutor(1) as beside:  # which mostly unpacks, and holds no lock then
        langid = beside.submit(load_langid)
        return LanguageModel(load_langdetect(), langid.result())


def detect_language(
    title: pa.Array, caption: pa.Array, declared: pa.Array, hint: npt.NDArray[np.int16], model: LanguageModel
) -> Signal:
    """The language of n records, from the best that each has: its text, what the page declares, where the page is.

    `title`, `caption` and `declared` (a BCP 47 tag) are strings and may hold nulls; `hint` is an index into
    `LANGUAGES`, `NONE` without one; all have n rows. Where title and caption together reach a probability of
    `LEVEL_EDGES`, they decide, at that level; else what is declared; else the hint. With none of these the reason is
    `TOO_SHORT` or `UNCERTAIN` if there was text, else `ABSENT`.
    """
    texts = _joined(title, caption)
    distinct = texts.dictionary_encode()  # one caption stands under many faces
    rows = distinct.indices.to_numpy(zero_copy_only=False)
    value, level, reason = (column[rows] for column in _judge_texts(distinct.dictionary, model))
    for source, kind in ((_declared_languages(declared), DECLARED), (hint, HINT)):
        takes = (value == NONE) & (source != NONE)
        value[takes], level[takes], reason[takes] = source[takes], kind, NullReason.PRESENT
    return Signal(value, level, reason)


def _joined(title: pa.Array, caption: pa.Array) -> pa.Array:
    columns = (column.cast(pa.large_binary()) for column in (title, caption))
    return pc.binary_join_element_wise(*columns, _SEPARATOR, null_handling="replace", null_replacement=b"")


def _judge_texts(texts: pa.Array, model: LanguageModel) -> Signal:
    """What texts (binary, not null) say by themselves."""
    top, probability, n_grams = _likeliest(texts, model)
    steps = np.searchsorted(LEVEL_EDGES, probability, side="right")
    too_short = n_grams < MIN_N_GRAMS
    speaks = (steps > 0) & ~too_short
    absent = pc.equal(texts, _SEPARATOR).to_numpy(zero_copy_only=False)
    reason = np.select(
        [speaks, absent, too_short],
        [NullReason.PRESENT, NullReason.ABSENT, NullReason.TOO_SHORT],
        NullReason.UNCERTAIN,
    )
    return Signal(
        np.where(speaks, top, NONE).astype(np.int16),
        np.where(speaks, POSSIBLE + steps - 1, 0).astype(np.uint8),
        reason.astype(np.uint8),
    )


def _likeliest(
    texts: pa.Array, model: LanguageModel
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """The likeliest language of n texts, its probability, and the n-grams known; each of shape `(n,)`."""
    top, probability = np.empty(len(texts), np.int16), np.empty(len(texts), np.float32)
    n_grams = np.empty(len(texts), np.int32)
    for start in range(0, len(texts), _BLOCK):
        block = slice(start, start + _BLOCK)
        top[block], probability[block], n_grams[block] = model.likeliest(texts[block])
    return top, probability, n_grams


def _declared_languages(declared: pa.Array) -> npt.NDArray[np.int16]:
    """The language of BCP 47 tags, shape `(n,)`; `NONE` for a null, and for what names none that `LANGUAGES` has."""
    distinct = declared.cast(pa.large_binary()).fill_null(b"").dictionary_encode()
    languages = np.array([_declared_language(tag) for tag in distinct.dictionary.to_pylist()], np.int16)
    rows: npt.NDArray[np.int32] = distinct.indices.to_numpy(zero_copy_only=False)
    return languages[rows]


def _declared_language(tag: bytes) -> int:
    code = tag.decode(errors="replace").strip().replace("_", "-").split("-")[0].lower()
    return language_index(_ALIASES.get(code, code))
