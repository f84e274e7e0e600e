"""Where a photograph was taken: WGS 84 coordinates to the country whose time-zone polygon holds the point.

Time-zone polygons follow OpenStreetMap's borders, within 111 m, and include the twelve-mile belt of the sea.
Around the United Kingdom, France and Italy no zone covers two countries: Jersey, Monaco, San Marino, the
Vatican and every overseas territory have their own. Elsewhere a few do; docs/decisions/0110 lists them.
"""

from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from tzfpy import get_tz

from schemas.countries import NONE, country_index
from schemas.evidence import NullReason, Signal

COORDINATES, COARSE_COORDINATES = 0, 1
"""`Signal.level`, as in `SIGNALS`."""

_STEPS = 100_000
"""Points are rounded to this part of a degree (1.1 m), finer than any phone measures."""
_TENTH = _STEPS // 10
_NULL_ISLAND = _TENTH
"""A tenth of a degree around (0, 0) is open sea, 500 km off the coast."""


def locate_coordinates(latitude: pa.Array, longitude: pa.Array) -> Signal:
    """The country of every point: two float64 arrays of n degrees, nulls allowed, to a signal of n rows.

    A point with fewer than two decimals in both numbers was typed or rounded, not measured: its level is
    `coarse_coordinates`. Silent with `ABSENT` (either is null), `MALFORMED` (NaN or infinite),
    `OUT_OF_RANGE`, `NULL_ISLAND` or `AT_SEA`.
    """
    value, level, reason = signal = Signal.silent(len(latitude), NullReason.ABSENT)
    present = _is_valid(latitude) & _is_valid(longitude)
    degrees = np.stack([_numbers(latitude), _numbers(longitude)])
    finite = np.isfinite(degrees).all(axis=0)
    inside = (np.abs(degrees[0]) <= 90) & (np.abs(degrees[1]) <= 180)
    points = np.rint(np.where(inside, degrees, 0) * _STEPS).astype(np.int64)
    origin = (np.abs(points) < _NULL_ISLAND).all(axis=0)

    usable = present & inside & ~origin
    value[usable] = _countries(points[:, usable])
    level[(value != NONE) & (points % _TENTH == 0).all(axis=0)] = COARSE_COORDINATES
    reason[usable] = np.where(value[usable] != NONE, NullReason.PRESENT, NullReason.AT_SEA)
    reason[present & inside & origin] = NullReason.NULL_ISLAND
    reason[present & finite & ~inside] = NullReason.OUT_OF_RANGE
    reason[present & ~finite] = NullReason.MALFORMED
    return signal


def _is_valid(column: pa.Array) -> npt.NDArray[np.bool_]:
    return np.asarray(column.is_valid(), np.bool_)


def _numbers(column: pa.Array) -> npt.NDArray[np.float64]:
    return np.asarray(column.cast(pa.float64()), np.float64)


def _countries(points: npt.NDArray[np.int64]) -> npt.NDArray[np.int16]:
    """Country indices of points in steps, `(2, n)` to `(n,)`; a place that repeats is looked up once."""
    zones = _country_of_zone()
    width = 360 * _STEPS + 1
    places, row = np.unique(points[0] * width + points[1] + width // 2, return_inverse=True)
    latitude, longitude = np.divmod(places, width)
    names = map(get_tz, ((longitude - width // 2) / _STEPS).tolist(), (latitude / _STEPS).tolist())
    return np.fromiter((zones.get(name, NONE) for name in names), np.int16, len(places))[row]


@cache
def _country_of_zone() -> dict[str, int]:
    """Time zone to country index, from the IANA database's zone.tab, which has no zones of the high seas."""
    table = (files("pytz") / "zoneinfo" / "zone.tab").read_text(encoding="utf-8")
    rows = (line.split("\t") for line in table.splitlines() if not line.startswith("#"))
    return {row[2]: country_index(row[0]) for row in rows}
