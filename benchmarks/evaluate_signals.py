"""Each signal that names countries, by itself, against known ones."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from evaluate_cells import UNDEFINED, decided, figure, markdown_table, share
from evaluate_populations import country_indices

from classifiers.domain import read_domain
from classifiers.geolocation import locate_coordinates
from classifiers.measures import Decision, Mask
from classifiers.model import ResidenceModel
from classifiers.network import NetworkDatabase, locate_address
from classifiers.phone import read_phone
from schemas.countries import COUNTRIES, NONE, country_index
from schemas.evidence import SIGNALS, NullReason, Signal

Indices = npt.NDArray[np.int16]

SHOWN = ("GB", "FR", "IT")

CORRECTIONS = {
    ("FR", "Monaco"): "MC",
    ("GB", "Saint Helier"): "JE",
    ("GB", "Beaumont"): "JE",
    ("DK", "Leynavatn"): "FO",
    ("CH", "Vaduz"): "LI",
}
"""Country and city as the list of restaurants gives them, and the ISO 3166 country that the city is in."""


class Answered(NamedTuple):
    """A signal over n inputs, and what is known of them."""

    kind: str
    """Its name in `SIGNALS`."""
    data: str
    signal: Signal
    truth: Indices
    given: Mask
    """Whether there is an input at all; what is not there is not counted."""


def answer_countries(data: Path, network: NetworkDatabase) -> list[Answered]:
    """All signals that name countries, on all data that they can be judged by."""
    border = pq.read_table(data / "border_points.parquet")
    located = locate_coordinates(_column(border, "lat"), _column(border, "lon"))
    pairs, codes = _strings(border, "pair"), country_indices(border["cc"])
    groups = {"territory": "overseas territories, micro-states", "special": "special points"}
    answers = [
        Answered("gps", title, located, codes, given)
        for title, given in (
            ("towns within 10 km of a border", ~np.isin(pairs, list(groups))),
            *((title, pairs == pair) for pair, title in groups.items()),
        )
    ]

    places = pq.read_table(data / "places.parquet")
    country, corrected = country_indices(places["country"]), correct_places(places)
    located = locate_coordinates(_column(places, "lat"), _column(places, "lon"))
    everywhere = np.ones(len(places), np.bool_)
    answers.append(Answered("gps", "restaurants", located, country, everywhere))
    answers.append(Answered("gps", "restaurants, labels corrected", located, corrected, everywhere))

    anchors = pq.read_table(data / "ip_anchors.parquet")
    addressed = locate_address(_column(anchors, "ip"), network)
    sources, codes = _strings(anchors, "source"), country_indices(anchors["country"])
    answers += [Answered("ip", source, addressed, codes, sources == source) for source in np.unique(sources)]

    feeds = pq.read_table(data / "feeds.parquet")
    for title, table, column, truth in (
        ("restaurants' sites", places, "website", country),
        ("news feeds", feeds, "url", country_indices(feeds["country"])),
    ):
        signal = read_domain(_column(table, column), pa.nulls(len(table), pa.large_string())).country
        answers.append(Answered("domain", title, signal, truth, _is_given(table, column)))

    numbers = pa.nulls(len(places), pa.large_string()), _column(places, "phone")
    signal = read_phone(*numbers, np.full(len(places), NONE, np.int16)).country
    given = _is_given(places, "phone")
    answers.append(Answered("phone", "restaurants", signal, country, given))
    answers.append(Answered("phone", "restaurants, labels corrected", signal, corrected, given))
    return answers


def correct_places(places: pa.Table) -> Indices:
    """The country of each place, with `CORRECTIONS`."""
    rows = zip(places["country"].to_pylist(), places["city"].to_pylist(), strict=True)
    return np.array([country_index(CORRECTIONS.get(row, row[0])) for row in rows], np.int16)


def describe_countries(answers: list[Answered]) -> str:
    """How often each signal speaks and is right, and its precision and recall for three countries."""
    rows = []
    for kind, data, signal, truth, given in answers:
        said, known = signal.value[given], truth[given]
        right = int(((said == known) & (said != NONE)).sum())
        speaks = int((said != NONE).sum())
        chosen = [country_index(code) for code in SHOWN]
        cells = [decided(Decision.of(said == country, known == country)) for country in chosen]
        rows.append([f"{kind}: {data}", f"{len(said):,}", share(speaks, len(said)), share(right, speaks), *cells])
    return markdown_table(("signal: data", "n", "speaks", "right where it speaks", *SHOWN), rows)


def describe_levels(answers: list[Answered], model: ResidenceModel) -> str:
    """How often each level of observation is right, next to what the model that ships takes it for."""
    rows = []
    for kind, data, signal, truth, given in answers:
        levels = next(one.levels for one in SIGNALS if one.name == kind)
        for level, name in enumerate(levels):
            chosen = given & (signal.value != NONE) & (signal.level == level)
            if chosen.any():
                right = int((signal.value == truth)[chosen].sum())
                rows.append(
                    [
                        f"{kind}: {data}",
                        name,
                        f"{chosen.sum():,}",
                        share(right, int(chosen.sum())),
                        figure(model.hit[kind][level]),
                    ]
                )
    return markdown_table(("signal: data", "level", "n", "right", "the model's hit rate"), rows)


def describe_silences(answers: list[Answered]) -> str:
    """Why signals are silent where there is an input."""
    rows = []
    for kind, data, signal, _, given in answers:
        silent = given & (signal.value == NONE)
        reasons = np.bincount(signal.reason[silent], minlength=len(NullReason))
        named = [f"{reason.name.lower()} {reasons[reason]:,}" for reason in NullReason if reasons[reason]]
        rows.append([f"{kind}: {data}", f"{silent.sum():,} of {given.sum():,}", ", ".join(named) or UNDEFINED])
    return markdown_table(("signal: data", "silent", "reasons"), rows)


def describe_borders(data: Path, answers: list[Answered]) -> str:
    """The borders one by one."""
    pairs = _strings(pq.read_table(data / "border_points.parquet"), "pair")
    signal, truth = answers[0].signal, answers[0].truth
    rows = []
    for pair in np.unique(pairs):
        chosen = pairs == pair
        right, silent = ((signal.value == answer)[chosen] for answer in (truth, NONE))
        rows.append([pair, chosen.sum(), right.sum(), (~right & ~silent).sum(), silent.sum()])
    return markdown_table(("border", "points", "right", "wrong", "silent"), rows)


def wrong_border_points(data: Path, answers: list[Answered]) -> list[str]:
    """Every town that is placed on the wrong side."""
    names = pq.read_table(data / "border_points.parquet")["name"]
    signal, truth = answers[0].signal, answers[0].truth
    return [
        f"{names[row]} ({COUNTRIES[truth[row]]}), "
        + (f"placed in {COUNTRIES[signal.value[row]]}" if signal.value[row] != NONE else "placed nowhere")
        for row in np.flatnonzero(signal.value != truth).tolist()
    ]


def _column(table: pa.Table, name: str) -> pa.Array:
    return table[name].combine_chunks()


def _strings(table: pa.Table, name: str) -> npt.NDArray[np.str_]:
    return np.array(table[name].to_pylist())


def _is_given(table: pa.Table, name: str) -> Mask:
    return np.asarray(table[name].is_valid().to_numpy(), np.bool_)
