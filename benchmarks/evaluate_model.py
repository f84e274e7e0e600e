"""The residence model on real input: image records made of public data, scored as a run scores them.

Every row of the data becomes one image record of a subject of its own, is written as Parquet, read back as
`lethe score` reads it, and goes through `gather_evidence` and `score_subjects` with the model that ships.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from evaluate_cells import UNDEFINED, decided, figure, markdown_table, share
from evaluate_populations import Population

from classifiers.gather import SignalSources, gather_evidence
from classifiers.measures import Decision, Floats, Mask, area_under_curve, brier_score, reliability
from classifiers.model import ResidenceModel
from classifiers.residence import group_countries, score_subjects
from schemas.countries import COUNTRIES, NONE, language_index
from schemas.evidence import EVIDENCE, SIGNALS, NullReason
from schemas.jurisdictions import find_jurisdiction
from schemas.records import plan_reading

JURISDICTIONS = ("uk", "fr", "it")
TERRITORIES = {name: find_jurisdiction(name).territory for name in JURISDICTIONS}
LANGUAGES_SHOWN = (("uk", "en"), ("uk", "cy"), ("fr", "fr"), ("it", "it"))

REVIEW_AT, ERASE_AT = 0.05, 0.95
BATCH_ROWS = 32_768

HEADER = (
    "jurisdiction",
    "residents",
    "expected",
    "AUC",
    "Brier",
    "ECE",
    "ECE, own prior",
    f"lethe, P ≥ {REVIEW_AT}",
    f"lethe, P ≥ {ERASE_AT}",
    "IP alone",
    "domain alone",
    "any one signal",
    "any but language",
)


class Scored(NamedTuple):
    """A population after scoring; J jurisdictions in the order of `JURISDICTIONS`."""

    population: Population
    evidence: pa.Table
    probability: Floats
    """`(n, J)`, by the model that ships."""
    own_prior: Floats
    """`(n, J)`, by the same model, told the countries' shares in this population."""

    @property
    def resident(self) -> Mask:
        """`(n, J)`: whether the source's country is in the territory."""
        return _in_territories(self.population.country)

    @property
    def without_evidence(self) -> int:
        """How many subjects no signal says anything about."""
        return int((~np.logical_or.reduce([_speaks(self.evidence, kind.name) for kind in SIGNALS])).sum())

    @property
    def residents(self) -> dict[str, int]:
        """How many there are, by jurisdiction."""
        return dict(zip(JURISDICTIONS, self.resident.sum(axis=0).tolist(), strict=True))

    @property
    def caught(self) -> dict[str, int]:
        """How many of them reach `REVIEW_AT`, by jurisdiction."""
        found = self.resident & (self.probability >= REVIEW_AT)
        return dict(zip(JURISDICTIONS, found.sum(axis=0).tolist(), strict=True))

    @property
    def highest(self) -> float:
        """The highest probability that anybody gets."""
        return float(self.probability.max())

    def highest_of(self, jurisdiction: str) -> float:
        """The highest probability of one jurisdiction."""
        return float(self.probability[:, JURISDICTIONS.index(jurisdiction)].max())


def score_population(people: Population, folder: Path, sources: SignalSources, model: ResidenceModel) -> Scored:
    """Write the records into `folder`, read them back and score them."""
    file = folder / f"{people.name}.parquet"
    pq.write_table(people.records, file)
    evidence = pa.concat_tables([EVIDENCE.empty_table(), *_read_evidence(file, sources)])
    adapted = dataclasses.replace(model, prior=own_prior(people.country))
    return Scored(people, evidence, _probabilities(evidence, model), _probabilities(evidence, adapted))


def own_prior(country: npt.NDArray[np.int16]) -> Floats:
    """`(C,)` shares of the countries, each counted half a subject more than it has (Krichevsky and Trofimov 1981)."""
    counts = np.bincount(country[country != NONE], minlength=len(COUNTRIES)) + 0.5
    return np.asarray(counts / counts.sum(), np.float64)


def describe(scored: Scored) -> str:
    """The table of one population: a row for each jurisdiction."""
    return markdown_table(HEADER, [_row(scored, j) for j in range(len(JURISDICTIONS))])


def describe_languages(scored: Scored) -> str:
    """What the model makes of a language alone, next to how many of those who write it are residents, by level.

    The text must be the only evidence, so that all subjects of one language and level have one probability.
    """
    value, level = (scored.evidence[f"language_{part}"].to_numpy() for part in ("value", "level"))
    levels = next(kind.levels for kind in SIGNALS if kind.name == "language")
    rows = []
    for jurisdiction, language in LANGUAGES_SHOWN:
        j = JURISDICTIONS.index(jurisdiction)
        for step, name in enumerate(levels):
            chosen = (value == language_index(language)) & (level == step)
            if chosen.any():
                resident = scored.resident[chosen, j]
                chances = (scored.probability[chosen, j], scored.own_prior[chosen, j])
                rows.append(
                    [
                        f"{language}, {name}",
                        jurisdiction,
                        f"{chosen.sum():,}",
                        share(int(resident.sum()), len(resident)),
                        *(figure(float(chance.mean())) for chance in chances),
                    ]
                )
    return markdown_table(
        ("language and level", "jurisdiction", "tweets", "share sent from there", "P by lethe", "P, own prior"), rows
    )


def called(scored: Scored, language: str) -> Mask:
    """`(n, J)` of those whose text is called this language: whether they are residents."""
    chosen = scored.evidence["language_value"].to_numpy() == language_index(language)
    return np.asarray(scored.resident[chosen], np.bool_)


def _row(scored: Scored, j: int) -> list[str]:
    chance, resident = scored.probability[:, j], scored.resident[:, j]
    return [
        JURISDICTIONS[j],
        f"{resident.sum():,}",
        f"{chance.sum():,.0f}",
        figure(area_under_curve(chance, resident)),
        f"{brier_score(chance, resident):.4f}",
        figure(reliability(chance, resident).error),
        figure(reliability(scored.own_prior[:, j], resident).error),
        decided(Decision.of(chance >= REVIEW_AT, resident)),
        decided(Decision.of(chance >= ERASE_AT, resident)),
        *_filter_cells(scored.evidence, resident, j),
    ]


def _filter_cells(evidence: pa.Table, resident: Mask, j: int) -> list[str]:
    """The rules that lethe is compared with, of jurisdiction j; undefined where the data has nothing they look at."""
    says = {kind.name: _in_territories(evidence[f"{kind.name}_value"].to_numpy())[:, j] for kind in SIGNALS}
    spoken = [language_index(language) for language in find_jurisdiction(JURISDICTIONS[j]).languages]
    says["language"] = np.isin(evidence["language_value"].to_numpy(), spoken)
    rules = (("ip",), ("domain",), tuple(says), tuple(name for name in says if name != "language"))
    return [
        decided(Decision.of(np.logical_or.reduce([says[name] for name in rule]), resident))
        if any(_speaks(evidence, name).any() for name in rule)
        else UNDEFINED
        for rule in rules
    ]


def _read_evidence(file: Path, sources: SignalSources) -> Iterator[pa.Table]:
    with pq.ParquetFile(file) as parquet:
        reading = plan_reading(parquet.schema_arrow, {}, file.name)
        first = 0
        for batch in parquet.iter_batches(BATCH_ROWS, columns=reading.columns):
            yield gather_evidence(reading.conform(batch), 0, np.arange(first, first + len(batch)), sources)
            first += len(batch)


def _probabilities(evidence: pa.Table, model: ResidenceModel) -> Floats:
    scores = score_subjects(evidence, model, TERRITORIES)
    return np.asarray(scores["probability"].to_numpy().reshape(-1, len(JURISDICTIONS)), np.float64)


def _in_territories(country: npt.NDArray[np.int16]) -> Mask:
    """`(n, J)`; `NONE` is in none."""
    group = np.append(group_countries(TERRITORIES), 0)  # so that NONE, which is -1, finds 0
    return np.asarray(group[country][:, None] == np.arange(1, len(JURISDICTIONS) + 1), np.bool_)


def _speaks(evidence: pa.Table, signal: str) -> Mask:
    return np.asarray(evidence[f"{signal}_reason"].to_numpy() == NullReason.PRESENT, np.bool_)
