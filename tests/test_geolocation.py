"""Coordinates to countries: the borders that a wrong answer would put somebody on the wrong side of."""

import os
from importlib.resources import files
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tzfpy import timezonenames

from classifiers.geolocation import COARSE_COORDINATES, COORDINATES, locate_coordinates
from schemas.countries import COUNTRIES, NONE
from schemas.evidence import SIGNALS, NullReason, Signal

SHARED = Path(os.environ.get("LETHE_SHARED_DATA", Path(__file__).parents[1] / "../shared/data"))

POINTS = [
    ("London", 51.5074, -0.1278, "GB"),
    ("Paris", 48.8566, 2.3522, "FR"),
    ("Rome", 41.9028, 12.4964, "IT"),
    ("Newry, Northern Ireland", 54.1751, -6.3402, "GB"),
    ("Derry", 54.9966, -7.3086, "GB"),
    ("Strabane", 54.8270, -7.4633, "GB"),
    ("Lifford, across the bridge from Strabane", 54.8345, -7.4779, "IE"),
    ("Belleek", 54.4797, -8.0936, "GB"),
    ("Muff", 55.0683, -7.2693, "IE"),
    ("Blacklion", 54.2906, -7.8757, "IE"),
    ("Dundalk", 54.0037, -6.4162, "IE"),
    ("Saint Helier", 49.1858, -2.1100, "JE"),
    ("Saint Peter Port", 49.4550, -2.5368, "GG"),
    ("Douglas", 54.1509, -4.4815, "IM"),
    ("Gibraltar", 36.1408, -5.3536, "GI"),
    ("La Línea", 36.1681, -5.3478, "ES"),
    ("Monte Carlo", 43.7402, 7.4266, "MC"),
    ("Roquebrune-Cap-Martin", 43.7570, 7.4750, "FR"),
    ("Menton", 43.7765, 7.5040, "FR"),
    ("Ventimiglia", 43.7902, 7.6078, "IT"),
    ("City of San Marino", 43.9363, 12.4467, "SM"),
    ("Rimini", 44.0594, 12.5683, "IT"),
    ("Saint Peter's", 41.9022, 12.4539, "VA"),
    ("Trastevere", 41.8890, 12.4690, "IT"),
    ("Campione d'Italia", 45.9700, 8.9710, "IT"),
    ("Lugano", 46.0037, 8.9511, "CH"),
    ("Llívia", 42.4645, 1.9815, "ES"),
    ("Bourg-Madame", 42.4340, 1.9440, "FR"),
    ("Büsingen am Hochrhein", 47.6970, 8.6900, "DE"),
    ("Schaffhausen", 47.6960, 8.6350, "CH"),
    ("Saint-Louis, by Basel", 47.5870, 7.5590, "FR"),
    ("Strasbourg", 48.5734, 7.7521, "FR"),
    ("Kehl", 48.5760, 7.8150, "DE"),
    ("Ajaccio", 41.9192, 8.7386, "FR"),
    ("Bonifacio", 41.3874, 9.1594, "FR"),
    ("Santa Teresa Gallura", 41.2400, 9.1880, "IT"),
    ("Saint-Denis", -20.8823, 55.4504, "RE"),
    ("Fort-de-France", 14.6161, -61.0588, "MQ"),
    ("Pointe-à-Pitre", 16.2411, -61.5331, "GP"),
    ("Cayenne", 4.9224, -52.3135, "GF"),
    ("Mamoudzou", -12.7806, 45.2278, "YT"),
    ("Marigot, Saint-Martin", 18.0679, -63.0825, "MF"),
    ("Philipsburg, Sint Maarten", 18.0260, -63.0458, "SX"),
    ("Gustavia", 17.8962, -62.8498, "BL"),
    ("Saint-Pierre", 46.7811, -56.1764, "PM"),
    ("Nouméa", -22.2758, 166.4580, "NC"),
    ("Papeete", -17.5516, -149.5585, "PF"),
    ("Mata-Utu", -13.2825, -176.1736, "WF"),
    ("Port-aux-Français", -49.3530, 70.2189, "TF"),
    ("1 km off Brighton", 50.8090, -0.1400, "GB"),
    ("9 km off Nice", 43.6150, 7.3000, "FR"),
    ("Rockall", 57.5963, -13.6873, "GB"),
    ("Sevastopol", 44.6054, 33.5220, "UA"),
]

SILENT = [
    ("no latitude", None, 2.3522, NullReason.ABSENT),
    ("no longitude", 48.8566, None, NullReason.ABSENT),
    ("NaN without the other", float("nan"), None, NullReason.ABSENT),
    ("NaN", float("nan"), 2.3522, NullReason.MALFORMED),
    ("infinite", 48.8566, float("-inf"), NullReason.MALFORMED),
    ("infinite and out of range", 512.0, float("inf"), NullReason.MALFORMED),
    ("latitude 512", 512.0, 2.3522, NullReason.OUT_OF_RANGE),
    ("longitude 180.5", 0.0, 180.5, NullReason.OUT_OF_RANGE),
    ("zero, zero", 0.0, -0.0, NullReason.NULL_ISLAND),
    ("a step from zero, zero", 0.00004, -0.01, NullReason.NULL_ISLAND),
    ("the middle of the Channel", 50.2, -1.0, NullReason.AT_SEA),
    ("the North Sea", 56.0, 2.5, NullReason.AT_SEA),
    ("the North Pole", 90.0, 180.0, NullReason.AT_SEA),
]


def locate(points: list[tuple[float | None, float | None]]) -> Signal:
    latitude, longitude = zip(*points, strict=True) if points else ((), ())
    return locate_coordinates(pa.array(latitude, pa.float64()), pa.array(longitude, pa.float64()))


def code(value: int) -> str | None:
    return None if value == NONE else COUNTRIES[value]


@pytest.mark.parametrize(("place", "latitude", "longitude", "country"), POINTS)
def test_a_point_is_in_its_country(place: str, latitude: float, longitude: float, country: str) -> None:
    signal = locate([(latitude, longitude)])
    assert (code(signal.value[0]), signal.reason[0]) == (country, NullReason.PRESENT)


@pytest.mark.parametrize(("case", "latitude", "longitude", "reason"), SILENT)
def test_what_says_nothing_says_why(
    case: str, latitude: float | None, longitude: float | None, reason: NullReason
) -> None:
    signal = locate([(latitude, longitude)])
    assert (signal.value[0], signal.level[0], signal.reason[0]) == (NONE, 0, reason)


@pytest.mark.parametrize(
    ("latitude", "longitude", "level"),
    [
        (51.0, 0.0, COARSE_COORDINATES),
        (48.9, 2.3, COARSE_COORDINATES),
        (float(np.float32(48.9)), float(np.float32(2.3)), COARSE_COORDINATES),
        (-20.9, 55.5, COARSE_COORDINATES),
        (48.9, 2.35, COORDINATES),
        (48.8566, 2.0, COORDINATES),
    ],
)
def test_rounded_coordinates_are_coarse(latitude: float, longitude: float, level: int) -> None:
    signal = locate([(latitude, longitude)])
    assert signal.value[0] != NONE and signal.level[0] == level


def test_the_levels_are_those_of_the_model() -> None:
    levels = next(kind.levels for kind in SIGNALS if kind.name == "gps")
    assert levels[COORDINATES] == "coordinates" and levels[COARSE_COORDINATES] == "coarse_coordinates"


def test_the_polygons_tell_countries_apart_and_every_land_zone_has_one() -> None:
    """A set of zones merged by "same time since 1970" would put Jersey, Monaco and the Vatican elsewhere."""
    names = set(timezonenames())
    assert {
        "Europe/Jersey",
        "Europe/Monaco",
        "Europe/Vatican",
        "Europe/San_Marino",
        "Europe/Busingen",
    } <= names
    listed = (files("pytz") / "zoneinfo" / "zone.tab").read_text(encoding="utf-8")
    assert [name for name in names if not name.startswith("Etc/") and f"\t{name}" not in listed] == []


finite = st.floats(-100, 100) | st.sampled_from([0.0, 48.8566, 2.3522, float("nan"), float("inf")]) | st.none()


@given(st.lists(st.tuples(finite, finite), max_size=30), st.integers(0, 30))
def test_any_numbers_get_an_answer_whatever_the_batch(
    points: list[tuple[float | None, float | None]], cut: int
) -> None:
    whole = locate(points)
    parts = locate(points[:cut]), locate(points[cut:])
    for column, first, second in zip(whole, *parts, strict=True):
        assert column.tolist() == [*first.tolist(), *second.tolist()]
    assert ((whole.value != NONE) == (whole.reason == NullReason.PRESENT)).all()
    assert (whole.level[whole.value == NONE] == 0).all()


def test_slices_and_empty_batches() -> None:
    latitude, longitude = pa.array([None, 48.8566, 51.5074]), pa.array([None, 2.3522, -0.1278])
    assert [code(v) for v in locate_coordinates(latitude[1:], longitude[1:]).value] == ["FR", "GB"]
    assert len(locate([]).value) == 0


@pytest.mark.parametrize(
    ("name", "groups", "accuracy"),
    [
        ("812 towns within 10 km of a border", None, 0.998),
        ("245 towns in territories and micro-states", "territory", 0.995),
        ("72 special points", "special", 0.985),
    ],
)
def test_border_towns(name: str, groups: str | None, accuracy: float) -> None:
    towns = read_shared("border_points.parquet")
    pair = np.array(towns["pair"].to_pylist())
    chosen = pair == groups if groups else ~np.isin(pair, ["territory", "special"])
    assert (answers(towns) == np.array(towns["cc"].to_pylist()))[chosen].mean() >= accuracy


def test_restaurants() -> None:
    """What is left are wrong labels (Monaco as FR, Jersey as GB) and Hanoi, in the zone of Bangkok."""
    places = read_shared("places.parquet")
    found, stated = answers(places), np.array(places["country"].to_pylist())
    assert (found == stated).mean() >= 0.996
    ours = np.isin(stated, ["GB", "FR", "IT"]) | np.isin(found, ["GB", "FR", "IT"])
    wrong = {(str(a), str(b)) for a, b in zip(stated[ours], found[ours], strict=True) if a != b}
    assert wrong == {("FR", "MC"), ("GB", "JE")}


def read_shared(name: str) -> pa.Table:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"no shared data: {name} is absent")
    return pq.read_table(path)


def answers(table: pa.Table) -> np.ndarray:
    signal = locate_coordinates(table["lat"].combine_chunks(), table["lon"].combine_chunks())
    return np.array([code(value) or "" for value in signal.value])
