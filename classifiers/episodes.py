"""From records to episodes to patterns: what is left of the evidence once copies, order and batches are gone.

    episode     what one uploader (else host, else image) shows of one subject in one calendar month
    pattern     the set of observations of an episode: each value of a signal once, at its most trusted level
    history     the patterns of a subject's episodes that say anything, by month and episode, and where months change

Most episodes share their pattern with many others, and most subjects their history, so the model is evaluated
once for each *different* one. Histories with their counts are also all that fitting the model needs.
"""

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.observations import CODEBOOK, CODES, N_CODES, VALUES, Codes
from classifiers.sequences import Integers, Sequences, merge_equal
from schemas.evidence import SIGNALS

_CODE_BITS = N_CODES.bit_length()


class Episodes(NamedTuple):
    """The E episodes of S subjects, by subject, month and episode, and their P patterns."""

    subject_ids: pa.LargeStringArray
    """`(S,)` large_string, ascending by bytes."""
    subject_of_row: Integers
    """`(rows of the evidence,)`, index into `subject_ids`."""
    subject: Integers
    """`(E,)`, index into `subject_ids`."""
    month: npt.NDArray[np.int32]
    """`(E,)`, as in the evidence."""
    pattern: Integers
    """`(E,)`, index into `patterns`."""
    patterns: Sequences
    """P ascending sequences of observation codes; an episode that says nothing has the empty one."""

    @property
    def telling(self) -> npt.NDArray[np.bool_]:
        """`(E,)`: whether any signal says anything about the episode."""
        return self.patterns.lengths[self.pattern] > 0

    @property
    def steps(self) -> Integers:
        """The patterns of the telling episodes; of one in a later month than the subject's one before, `~pattern`."""
        telling = self.telling
        subject, month, steps = self.subject[telling], self.month[telling], self.pattern[telling]
        later = np.flatnonzero((np.diff(subject) == 0) & (np.diff(month) != 0)) + 1
        steps[later] = ~steps[later]
        return steps

    def histories(self) -> tuple[Integers, Sequences]:
        """`(S,)` which history each subject has, and the histories: sequences of steps."""
        return merge_equal(Sequences.grouped(self.subject[self.telling], self.steps, len(self.subject_ids)))


def find_episodes(evidence: pa.Table, trust: npt.NDArray[np.float64]) -> Episodes:
    """Episodes of usable evidence rows, in any order.

    `trust`, of shape `(N_CODES,)`, decides which level counts when an episode shows one value at several.
    Raises ValueError if a value or level is not one of the schema's.
    """
    subject_ids, subject_of_row = _rank_subjects(evidence["subject_id"].combine_chunks())
    month = evidence["month"].to_numpy()
    episode = evidence["episode"].to_numpy()
    # Ranks fit one key together, and single keys are sorted several times as fast as pairs.
    subject_month = _ranks((subject_of_row << 32) | (month.astype(np.int64) - np.iinfo(np.int32).min))
    key = subject_month * len(episode) + _ranks(episode)
    order = np.argsort(key)
    first = np.ones(len(order), np.bool_)
    first[1:] = np.diff(key[order]) != 0
    episode_of_row = np.empty(len(order), np.int64)
    episode_of_row[order] = np.cumsum(first) - 1
    opening = order[first]
    pattern, patterns = merge_equal(_observations(evidence, episode_of_row, len(opening), trust))
    return Episodes(subject_ids, subject_of_row, subject_of_row[opening], month[opening], pattern, patterns)


def patterns_of(steps: Integers) -> Integers:
    """The pattern of each step of a history."""
    return np.where(steps < 0, ~steps, steps)


def observation_codes(evidence: pa.Table, signal: str) -> tuple[Integers, Integers]:
    """The rows on which a signal speaks, and the code of what it says there."""
    kind = next(kind for kind in SIGNALS if kind.name == signal)
    value, level = evidence[f"{signal}_value"].to_numpy(), evidence[f"{signal}_level"].to_numpy()
    rows = np.flatnonzero(value >= 0)
    value, level = value[rows].astype(np.int64), level[rows]
    if len(rows) and (value.max() >= len(VALUES[signal]) or level.max() >= len(kind.levels)):
        raise ValueError(
            f"{signal} evidence holds value {value.max()} and level {level.max()}; "
            f"the schema has {len(VALUES[signal])} values and {len(kind.levels)} levels"
        )
    return rows, CODES[signal].start + value * len(kind.levels) + level


def _ranks(values: npt.NDArray[np.int64] | npt.NDArray[np.uint64]) -> Integers:
    """`(n,)`: how many different values are smaller than each."""
    return np.unique(values, return_inverse=True)[1]


def _rank_subjects(ids: pa.LargeStringArray) -> tuple[pa.LargeStringArray, Integers]:
    encoded = ids.dictionary_encode()
    order = pc.array_sort_indices(encoded.dictionary)
    rank = np.empty(len(order), np.int64)
    rank[order.to_numpy()] = np.arange(len(order))
    return encoded.dictionary.take(order), rank[encoded.indices.to_numpy()]


def _observations(evidence: pa.Table, episode_of_row: Integers, n: int, trust: npt.NDArray[np.float64]) -> Sequences:
    """Every episode's observation codes, ascending, each value once."""
    keys = []
    for kind in SIGNALS:
        rows, codes = observation_codes(evidence, kind.name)
        keys.append((episode_of_row[rows] << _CODE_BITS) | codes)
    kept = _most_trusted(np.sort(np.concatenate(keys)), _CODE_BITS, CODEBOOK.finding, trust)
    return Sequences.grouped(kept >> _CODE_BITS, kept & ((1 << _CODE_BITS) - 1), n)


@numba.njit(nogil=True, cache=True)
def _most_trusted(keys: Integers, code_bits: int, finding: Codes, trust: npt.NDArray[np.float64]) -> Integers:
    """Of ascending keys `episode << code_bits | code`, one for each episode and finding."""
    kept = np.empty_like(keys)
    n = 0
    for key in keys:
        code = key & ((1 << code_bits) - 1)
        last = kept[n - 1] & ((1 << code_bits) - 1) if n else 0
        if n == 0 or key >> code_bits != kept[n - 1] >> code_bits or finding[code] != finding[last]:
            kept[n] = key
            n += 1
        elif trust[code] > trust[last]:
            kept[n - 1] = key
    return kept[:n]
