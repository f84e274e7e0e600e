"""What labels say about subjects: one reading each, and how far two annotators agree."""

import enum
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.countries import COUNTRIES, NONE, country_indices

UNLABELLED = -2
"""Stands where an annotator has no label; `NONE` where one cannot tell."""


class Reading(enum.IntEnum):
    """What the labels of one subject come to, for one jurisdiction."""

    ELSEWHERE = 0
    RESIDENT = 1
    CANNOT_TELL = 2
    DISAGREE = 3
    UNLABELLED = 4


Codes = npt.NDArray[np.int64]


def label_codes(subjects: pa.Array, labels: pa.Table) -> list[Codes]:
    """What each annotator said about n subjects: an array `(n,)` per annotator, by name.

    Country indices, `NONE` for "cannot tell", `UNLABELLED` for no label. `labels` are rows of `LABELS`.
    """
    names = sorted(pc.unique(labels.column("annotator")).to_pylist())
    return [_codes_of(subjects, labels.filter(pc.equal(labels.column("annotator"), name))) for name in names]


def _codes_of(subjects: pa.Array, labels: pa.Table) -> Codes:
    countries = pc.index_in(labels.column("country"), pa.array(COUNTRIES)).fill_null(NONE).to_numpy().astype(np.int64)
    row = pc.index_in(subjects, labels.column("subject_id")).fill_null(len(labels)).to_numpy()
    codes: Codes = np.append(countries, UNLABELLED)[row]
    return codes


def read_codes(codes: Sequence[Codes], territory: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """One `Reading` for each of n subjects, shape `(n,)`; two that name different countries abroad do not disagree."""
    readings = [_readings(each, territory) for each in codes]
    if not readings:
        raise ValueError("nobody labelled anything")
    combined = readings[0]
    for other in readings[1:]:
        absent = combined == Reading.UNLABELLED
        both = ~absent & (other != Reading.UNLABELLED)
        combined = np.where(absent, other, np.where(both & (combined != other), Reading.DISAGREE, combined))
    return combined


def _readings(codes: Codes, territory: tuple[str, ...]) -> npt.NDArray[np.int64]:
    inside = np.isin(codes, country_indices(territory))
    return np.select(
        [codes == UNLABELLED, codes == NONE, inside],
        [Reading.UNLABELLED, Reading.CANNOT_TELL, Reading.RESIDENT],
        Reading.ELSEWHERE,
    ).astype(np.int64)


class KappaOf(NamedTuple):
    """Agreement of two annotators on the country over the subjects that both labelled."""

    subjects: int
    agreement: float
    kappa: float | None
    """None where both gave one and the same answer throughout, so that chance explains everything."""


def cohens_kappa(first: Codes, second: Codes) -> KappaOf | None:
    """Cohen (1960); "cannot tell" is an answer like another. None if no subject has both labels."""
    both = (first != UNLABELLED) & (second != UNLABELLED)
    n = int(both.sum())
    if not n:
        return None
    agreement = float(np.mean(first[both] == second[both]))
    answers = len(COUNTRIES) - NONE
    share = [np.bincount(codes[both] - NONE, minlength=answers) / n for codes in (first, second)]
    by_chance = float(share[0] @ share[1])
    return KappaOf(n, agreement, (agreement - by_chance) / (1 - by_chance) if by_chance < 1 else None)
