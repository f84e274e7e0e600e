"""Contexts: a pattern, and what earlier texts of the subject matter to it.

Episodes of one context look alike under any parameters. A fit weighs each context once a step, however many subjects
have an episode in it.
"""

import math
from typing import NamedTuple

import numba
import numpy as np

from classifiers.histories import Histories
from classifiers.model import ResidenceModel
from classifiers.observations import CODEBOOK, Codebook, Role
from classifiers.sequences import Integers, Sequences, merge_equal
from classifiers.texts import NO_TEXTS, count_texts

_TEXT = int(Role.TEXT)


class Contexts(NamedTuple):
    """Every different pattern, and what earlier texts of the subject matter to it."""

    of_step: Integers
    """`(steps,)` of all histories, laid end to end."""
    told: Sequences
    """Pattern; earlier texts; of them, those in the language of each text of the pattern, in its order."""


def find_contexts(data: Histories, model: ResidenceModel) -> Contexts:
    """Of all episodes; where every text is drawn anew, earlier ones are no matter."""
    start, items = _describe_steps(data, CODEBOOK, math.isfinite(model.strength))
    number, told = merge_equal(Sequences(start, items))
    return Contexts(number, told)


@numba.njit(nogil=True, cache=True)
def _describe_steps(data: Histories, codebook: Codebook, keeping: bool) -> tuple[Integers, Integers]:
    """`Contexts.told` of every step, as `start` and `items` of sequences."""
    patterns, steps = data.patterns, data.histories.items
    start = np.zeros(len(steps) + 1, np.int64)
    texts = NO_TEXTS.copy()
    items = np.empty(_count_items(data, codebook), np.int64)
    n = 0
    for history in range(len(data.histories.start) - 1):
        texts[:] = NO_TEXTS
        for at in range(data.histories.start[history], data.histories.start[history + 1]):
            pattern = ~steps[at] if steps[at] < 0 else steps[at]
            codes = patterns.items[patterns.start[pattern] : patterns.start[pattern + 1]]
            items[n] = pattern
            first = n + 2
            n = first
            for code in codes:
                if codebook.role[code] == _TEXT:
                    items[n] = texts[codebook.value[code]]
                    n += 1
            items[first - 1] = texts[-1] if n > first else 0
            start[at + 1] = n
            if keeping:
                count_texts(codes, codebook, texts)
    return start, items


@numba.njit(nogil=True, cache=True)
def _count_items(data: Histories, codebook: Codebook) -> int:
    n = 0
    for step in data.histories.items:
        pattern = ~step if step < 0 else step
        n += 2
        for code in data.patterns.items[data.patterns.start[pattern] : data.patterns.start[pattern + 1]]:
            n += codebook.role[code] == _TEXT
    return n


@numba.njit(nogil=True, cache=True)
def recall(told: Integers, patterns: Sequences, codebook: Codebook, texts: Integers) -> Integers:
    """The codes of a context; lets `texts` say what matters to them."""
    codes = patterns.items[patterns.start[told[0]] : patterns.start[told[0] + 1]]
    texts[-1] = told[1]
    at = 2
    for code in codes:
        if codebook.role[code] == _TEXT:
            texts[codebook.value[code]] = told[at]
            at += 1
    return codes
