"""Bars: what each family of signals adds to a score, on which evidence, or why it is silent."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.episodes import Episodes, patterns_of
from classifiers.observations import CODEBOOK, FINDINGS
from classifiers.sequences import Integers, Sequences
from schemas.countries import COUNTRIES
from schemas.evidence import FAMILIES, SIGNALS, NullReason
from schemas.scores import BAR, BARS

SHOWN = 3
"""So many findings of a family are named in a bar; more become an ellipsis."""

_FAMILY_OF_FINDING = np.array([FAMILIES.index(kind.family) for kind, _ in FINDINGS])
_VALUE_OF_FINDING = pa.array([value for _, value in FINDINGS], pa.string())
_REASONS = pa.array([reason.name.lower() for reason in NullReason], pa.string())


class Records(NamedTuple):
    """Of S subjects and F families, shape `(S, F)`."""

    spoken: Integers
    """On how many records the family speaks."""
    reason: Integers
    """The commonest NullReason on the others; of equally common ones, the first."""


class Description(NamedTuple):
    """Of H histories and F families, one after the other, H x F rows."""

    evidence: pa.StringArray
    """`"FR x3, IE x1"`: findings with the number of episodes that show them, the commonest first."""
    n_episodes: Integers
    """In how many episodes the family speaks."""


def count_records(evidence: pa.Table, episodes: Episodes) -> Records:
    """How many of each subject's records every family speaks on, and why it is silent on the others."""
    subjects, reasons = len(episodes.subject_ids), len(NullReason)
    spoken = np.zeros((subjects, len(FAMILIES)), np.int64)
    reason = np.zeros((subjects, len(FAMILIES)), np.int64)
    for f, family in enumerate(FAMILIES):
        speaks = np.zeros(len(episodes.subject_of_row), np.bool_)
        silences = np.zeros(subjects * reasons, np.int64)
        for kind in SIGNALS:
            if kind.family == family:
                speaks |= evidence[f"{kind.name}_value"].to_numpy() >= 0
                why = evidence[f"{kind.name}_reason"].to_numpy()
                silences += np.bincount(episodes.subject_of_row * reasons + why, minlength=len(silences))
        spoken[:, f] = np.bincount(episodes.subject_of_row[speaks], minlength=subjects)
        counts = silences.reshape(subjects, reasons)
        counts[:, NullReason.PRESENT] = 0
        reason[:, f] = counts.argmax(axis=1)
    return Records(spoken, reason)


def describe_histories(histories: Sequences, patterns: Sequences) -> Description:
    """What the families of each history show, and in how many episodes."""
    episode, steps = histories.take(np.arange(len(histories.start) - 1))
    item, codes = patterns.take(patterns_of(steps))
    return describe_findings(episode[item], item, codes, len(histories.start) - 1)


def describe_findings(owner: Integers, episode: Integers, codes: Integers, n: int) -> Description:
    """The same of any n owners of observation codes; rows ascend by owner, episode and code."""
    family = CODEBOOK.family[codes]
    cell = owner * len(FAMILIES) + family
    opening = np.ones(len(codes), np.bool_)
    opening[1:] = (np.diff(episode) != 0) | (np.diff(family) != 0)
    n_episodes = np.bincount(cell[opening], minlength=n * len(FAMILIES))
    found, times = np.unique(owner * len(FINDINGS) + CODEBOOK.finding[codes], return_counts=True)
    finding = found % len(FINDINGS)
    cell = found // len(FINDINGS) * len(FAMILIES) + _FAMILY_OF_FINDING[finding]
    order = np.lexsort((finding, -times, cell))
    return Description(_join(cell[order], finding[order], times[order], n * len(FAMILIES)), n_episodes)


def _join(cell: Integers, finding: Integers, times: Integers, n: int) -> pa.StringArray:
    """`"FR x3, IE x1"` for each of n cells; rows ascend by cell, and come in the order of the text."""
    counts = pc.cast(pa.array(times), pa.string())
    named = pc.binary_join_element_wise(_VALUE_OF_FINDING.take(pa.array(finding)), counts, " x")
    lengths = np.bincount(cell, minlength=n)
    first = np.cumsum(lengths) - lengths

    def ranked(words: pa.StringArray, rank: int) -> pa.StringArray:
        return words.take(pa.array(first + rank, mask=lengths <= rank)).fill_null("")

    following = pc.binary_join_element_wise(", ", named, "")
    ellipsis = pc.if_else(pa.array(lengths > SHOWN), ", …", "")
    parts = [ranked(named, 0), *(ranked(following, rank) for rank in range(1, SHOWN)), ellipsis]
    return pc.binary_join_element_wise(*parts, "")


def build_bars(
    history: Integers,
    description: Description,
    records: Records,
    weight_mb: Integers,
    rivals: npt.NDArray[np.int16],
) -> pa.ListArray:
    """One list of F bars for each subject and jurisdiction, S x J rows.

    `history` `(S,)` says which history a subject has; `weight_mb` `(H, F, J)` and `rivals` `(H, J)` are those of
    the histories.
    """
    families, jurisdictions = weight_mb.shape[1:]
    shape = (len(history), jurisdictions, families)
    cell = history[:, None, None] * families + np.arange(families)
    silent = np.broadcast_to(records.spoken[:, None, :] == 0, shape).ravel()

    def spread(values: Integers) -> Integers:
        return np.broadcast_to(values, shape).ravel()

    def words(texts: pa.StringArray, index: Integers, hidden: npt.NDArray[np.bool_]) -> pa.StringArray:
        return texts.take(pa.array(spread(index), mask=hidden))

    nothing_hidden = np.zeros_like(silent)
    fields = {
        "family": words(pa.array(FAMILIES, pa.string()), np.arange(families), nothing_hidden),
        "evidence": words(description.evidence, cell, nothing_hidden),
        "weight_mb": pa.array(weight_mb.transpose(0, 2, 1)[history].ravel()),
        "n_records": pa.array(spread(records.spoken[:, None, :])),
        "n_episodes": pa.array(spread(description.n_episodes[cell])),
        "null_reason": words(_REASONS, records.reason[:, None, :], ~silent),
        "rival": words(pa.array(COUNTRIES, pa.string()), rivals.astype(np.int64)[history][:, :, None], silent),
    }
    bars = pa.StructArray.from_arrays([fields[field.name] for field in BAR], fields=list(BAR))
    return pa.ListArray.from_arrays(pa.array(np.arange(0, silent.size + 1, families), pa.int32()), bars, type=BARS)
