"""Observations as small integers: a signal, what it said, and how it came to say so, in one code.

Codes ascend by signal (in the order of `SIGNALS`, hence by family), then by value, then by level.
"""

import enum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from schemas.countries import COUNTRIES, LANGUAGES
from schemas.evidence import FAMILIES, SIGNALS

Codes = npt.NDArray[np.int16]


class Role(enum.IntEnum):
    """What an observation is a trace of."""

    PLACE = 0
    """Where the episode happened."""
    TEXT = 1
    """Who wrote: the subject, or somebody at the place."""
    OWN = 2
    """The subject, wherever the episode happened."""


ROLES = {"gps": Role.PLACE, "ip": Role.PLACE, "domain": Role.PLACE, "language": Role.TEXT, "phone": Role.OWN}

VALUES = {kind.name: LANGUAGES if ROLES[kind.name] is Role.TEXT else COUNTRIES for kind in SIGNALS}
"""What a signal's values stand for, by position."""

FINDINGS = tuple((kind, value) for kind in SIGNALS for value in VALUES[kind.name])
"""Every signal and value, whatever the level: `(SignalKind, "FR")`."""

N_CODES = sum(len(kind.levels) for kind, _ in FINDINGS)

_bounds = np.cumsum([0] + [len(kind.levels) * len(VALUES[kind.name]) for kind in SIGNALS]).tolist()

CODES = {kind.name: slice(_bounds[i], _bounds[i + 1]) for i, kind in enumerate(SIGNALS)}
"""The codes of each signal: `CODES[name].start + value * len(levels) + level`."""


class Codebook(NamedTuple):
    """What every code means, as columns of shape `(N_CODES,)`."""

    role: Codes
    value: Codes
    """Index into `VALUES[signal]`."""
    family: Codes
    """Index into `FAMILIES`."""
    finding: Codes
    """Index into `FINDINGS`."""


def _column(values: list[int]) -> Codes:
    column = np.array(values, np.int16)
    column.flags.writeable = False
    return column


_findings_of_codes = [index for index, (kind, _) in enumerate(FINDINGS) for _ in kind.levels]

CODEBOOK = Codebook(
    role=_column([ROLES[FINDINGS[finding][0].name] for finding in _findings_of_codes]),
    value=_column([VALUES[FINDINGS[f][0].name].index(FINDINGS[f][1]) for f in _findings_of_codes]),
    family=_column([FAMILIES.index(FINDINGS[f][0].family) for f in _findings_of_codes]),
    finding=_column(_findings_of_codes),
)
