"""The language signal by itself, in both modes: texts of a known language, and tweets that people have labelled."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from evaluate_cells import UNDEFINED, decided, figure, markdown_table, share

from classifiers.language import LEVEL_EDGES, LanguageMode, detect_language, load_language_model
from classifiers.measures import Decision, Mask, reliability
from classifiers.model import ResidenceModel
from schemas.countries import NONE, language_index
from schemas.evidence import SIGNALS, Signal

LEVELS = next(kind.levels for kind in SIGNALS if kind.name == "language")
TEXT_LEVELS: Mapping[str, int] = {name: LEVELS.index(name) for name in ("possible", "likely", "sure")}
"""The levels that a text reaches by itself."""

ENGLISH = language_index("en")


class Texts(NamedTuple):
    """n texts of known kind and language."""

    texts: pa.Array
    kind: npt.NDArray[np.str_]
    language: npt.NDArray[np.int64]
    """Index into `LANGUAGES`."""


class Tweets(NamedTuple):
    """n tweets that were labelled as English or not."""

    texts: pa.Array
    english: Mask


def read_texts(data: Path) -> Texts:
    """The half of the texts that the detector's temperatures were not fitted on: MD5 that begins with an odd byte."""
    table = pq.read_table(data / "language.parquet")
    digests = (hashlib.md5(text.encode(), usedforsecurity=False).digest() for text in table["text"].to_pylist())
    table = table.filter(pa.array([digest[0] % 2 == 1 for digest in digests]))
    languages = ["no" if code == "nb" else code for code in table["language"].to_pylist()]
    return Texts(
        table["text"].combine_chunks(),
        np.array(table["kind"].to_pylist()),
        np.array([language_index(code) for code in languages]),
    )


def read_tweets(data: Path) -> Tweets:
    """The tweets labelled as one or the other, without the automatic ones."""
    table = pq.read_table(data / "tweets.parquet")
    english, other, automatic = (table[name].to_numpy() == 1 for name in ("en", "not_en", "auto"))
    labelled = (english | other) & ~automatic
    return Tweets(table["text"].combine_chunks().filter(pa.array(labelled)), english[labelled])


def describe_language(data: Path, model: ResidenceModel) -> dict[str, str]:
    """Three tables: `texts` and `tweets` by mode, and `levels`, next to what the model that ships takes them for."""
    texts, tweets = read_texts(data), read_tweets(data)
    text_rows, tweet_rows, level_rows = [], [], []
    for mode in LanguageMode:
        text_rows += _text_rows(texts, mode)
        tweet_rows.append(_tweet_row(tweets, mode))
        level_rows += _level_rows(texts, tweets, mode)
    hits = [figure(model.hit["language"][level]) for level in TEXT_LEVELS.values()]
    level_rows.append(["the model's hit rate", *hits, UNDEFINED])
    columns = ("tweets", "best is right", "speaks", "right where it speaks", "called English")
    return {
        "texts": markdown_table(("mode: kind", "of", "n", "best is right", "ECE, tenths", "ECE, levels"), text_rows),
        "tweets": markdown_table(("mode", *columns), tweet_rows),
        "levels": markdown_table(("mode: data", *TEXT_LEVELS, "silent"), level_rows),
    }


def _text_rows(texts: Texts, mode: LanguageMode) -> list[list[str]]:
    chance, _ = load_language_model(mode).distribution(texts.texts)
    top, right = chance.max(axis=1).astype(np.float64), chance.argmax(axis=1) == texts.language
    known = chance.max(axis=0)[texts.language] > 0  # `fast` has no Basque, Esperanto, Irish, Latin
    edges = LEVEL_EDGES.astype(np.float64)
    populations = {"26 languages": np.ones_like(known)}
    if not known.all():
        populations["languages it knows"] = known
    return [
        [
            f"{mode}: {kind}",
            title,
            f"{chosen.sum():,}",
            figure(float(right[chosen].mean())),
            figure(reliability(top[chosen], right[chosen]).error),
            figure(reliability(top[chosen], right[chosen], edges=edges).error),
        ]
        for kind in np.unique(texts.kind)
        for title, population in populations.items()
        for chosen in [population & (texts.kind == kind)]
    ]


def _tweet_row(tweets: Tweets, mode: LanguageMode) -> list[str]:
    best = load_language_model(mode).distribution(tweets.texts)[0].argmax(axis=1)
    signal = _detect(tweets.texts, mode)
    called, speaks = signal.value == ENGLISH, signal.value != NONE
    return [
        mode,
        f"{len(best):,}",
        figure(float(((best == ENGLISH) == tweets.english).mean())),
        figure(float(speaks.mean())),
        figure(float((called == tweets.english)[speaks].mean())),
        decided(Decision.of(called, tweets.english)),
    ]


def _level_rows(texts: Texts, tweets: Tweets, mode: LanguageMode) -> list[list[str]]:
    signal = _detect(texts.texts, mode)
    right = signal.value == texts.language
    rows = [
        [f"{mode}: {kind}", *_level_cells(signal, right, texts.kind == kind)] for kind in np.unique(texts.kind).tolist()
    ]
    signal = _detect(tweets.texts, mode)
    right = (signal.value == ENGLISH) == tweets.english
    return [*rows, [f"{mode}: tweets", *_level_cells(signal, right, np.ones_like(right))]]


def _level_cells(signal: Signal, right: Mask, chosen: Mask) -> list[str]:
    """`share right (share of all)` of each level, and the share that is silent."""
    total, speaks = int(chosen.sum()), chosen & (signal.value != NONE)
    cells = []
    for level in TEXT_LEVELS.values():
        at = speaks & (signal.level == level)
        cells.append(f"{share(int(right[at].sum()), int(at.sum()))} ({share(int(at.sum()), total)})")
    return [*cells, share(total - int(speaks.sum()), total)]


def _detect(texts: pa.Array, mode: LanguageMode) -> Signal:
    """The language signal of captions alone."""
    nothing = pa.nulls(len(texts), pa.large_string())
    hint = np.full(len(texts), NONE, np.int16)
    return detect_language(nothing, texts, nothing, hint, load_language_model(mode))
