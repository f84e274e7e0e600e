"""What a signal says about one record, as three small integers, and the Arrow schema of those for a batch.

A signal never answers with a bare score. It gives a *value* (a country, or a language), a *level* (which kind of
observation this was, hence how far the model trusts it) and, where it says nothing, the *reason* it says nothing.
"""

import enum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.countries import NONE


class NullReason(enum.IntEnum):
    """Why a signal is silent about a record. `PRESENT` means it is not silent."""

    PRESENT = 0
    ABSENT = 1
    """The record has no such field, or the field is null or empty."""
    SWITCHED_OFF = 2
    """The operator gave no database for it."""
    MALFORMED = 3
    """Not an IP address, a broken URL, NaN."""
    OUT_OF_RANGE = 4
    NULL_ISLAND = 5
    """Latitude and longitude both (near) zero: what a camera writes that has no fix."""
    AT_SEA = 6
    """A point that belongs to no country."""
    NOT_PUBLIC = 7
    """A private, reserved, shared or multicast address."""
    NOT_FOUND = 8
    """The database has no country for this address, or the domain no country."""
    GENERIC_DOMAIN = 9
    """A domain used all over the world: .com, or a country's domain that is generic by use (.io, .co, .me, .tv)."""
    CONTENT_NETWORK = 10
    """A host that serves pictures for sites of all countries."""
    TOO_SHORT = 11
    UNCERTAIN = 12
    """The language detector cannot tell."""
    INVALID_NUMBER = 13
    """Digits that look like a phone number and are not one."""
    CONFLICT = 14
    """Several numbers of different countries in one text."""
    SWITCHBOARD = 15
    """A number on very many subjects says nothing about any one of them."""


class Signal(NamedTuple):
    """One signal over a batch of n records: three arrays of shape `(n,)`.

    `value` is an index into `COUNTRIES` (or `LANGUAGES`), `NONE` where the signal is silent; `level` is an index into
    the signal's own tuple of levels and 0 where silent; `reason` is a `NullReason`, `PRESENT` exactly where
    `value != NONE`.
    """

    value: npt.NDArray[np.int16]
    level: npt.NDArray[np.uint8]
    reason: npt.NDArray[np.uint8]

    @classmethod
    def silent(cls, n: int, reason: NullReason) -> "Signal":
        """A signal that says nothing about any of n records, for one reason."""
        return cls(np.full(n, NONE, np.int16), np.zeros(n, np.uint8), np.full(n, reason, np.uint8))


class SignalKind(NamedTuple):
    """A signal as the residence model knows it.

    `family` is the bar it is shown under; signals of one family are explained together. `levels` names the kinds of
    observation, in the order of `Signal.level`.
    """

    name: str
    family: str
    levels: tuple[str, ...]


SIGNALS: tuple[SignalKind, ...] = (
    SignalKind("gps", "device", ("coordinates", "coarse_coordinates")),
    SignalKind("ip", "network", ("unknown", "residential", "mobile", "hosting", "anonymous")),
    SignalKind("domain", "publication", ("country_domain", "city_domain", "locale")),
    SignalKind("language", "publication", ("hint", "declared", "possible", "likely", "sure")),
    SignalKind("phone", "contact", ("international", "national", "national_ambiguous")),
)
"""All signals, in the fixed order in which the model adds them up inside an episode."""

FAMILIES: tuple[str, ...] = tuple(dict.fromkeys(kind.family for kind in SIGNALS))


def signal_fields() -> list[pa.Field]:
    """`<signal>_value: int16, <signal>_level: uint8, <signal>_reason: uint8` for every signal, none nullable."""
    return [
        pa.field(f"{kind.name}_{part}", kind_type, nullable=False)
        for kind in SIGNALS
        for part, kind_type in (("value", pa.int16()), ("level", pa.uint8()), ("reason", pa.uint8()))
    ]


EVIDENCE = pa.schema(
    [
        pa.field("unit", pa.int32(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("record_id", pa.large_string()),
        pa.field("face_id", pa.large_string()),
        pa.field("subject_id", pa.large_string()),
        pa.field("episode", pa.uint64(), nullable=False),
        pa.field("month", pa.int32(), nullable=False),
        *signal_fields(),
        pa.field("phone_hash", pa.uint64(), nullable=False),
        pa.field("fault", pa.uint8(), nullable=False),
    ]
)
"""One row per record read, usable or not.

`unit` and `row` say where the record stands in the input. `subject_id` is never null here: a record without one is its
own subject. `episode` is the keyed hash of the uploader, else the host, else the image; `month` counts from year 0 and
is that in which the image was taken (else collected), `NONE` if unknown. `phone_hash` is 0 without a number. `fault` is
a `schemas.quarantine.Fault`, 0 for a usable record.
"""
