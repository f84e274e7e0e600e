"""Evidence drawn from known parameters, straight as integers: from a residence model, or from a demo's `World`."""

import dataclasses
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from classifiers.episodes import find_episodes
from classifiers.histories import Histories, count_histories, read_histories
from classifiers.model import ResidenceModel
from classifiers.observations import ROLES, Role
from classifiers.residence import score_subjects
from runners.demo_draw import draw_episodes, draw_people
from runners.demo_world import World
from schemas.countries import COUNTRIES, LANGUAGES, NONE, country_indices, language_index
from schemas.evidence import EVIDENCE, SIGNALS, NullReason

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

RECORDED = {"gps": 0.4, "ip": 0.5, "domain": 0.5, "language": 0.8, "phone": 0.1}
"""Share of episodes in which each signal speaks."""

EPISODES = 2.4
"""Mean number of a subject's episodes; at most 12."""

TERRITORIES = {"uk": ("GB",), "fr": ("FR", "RE"), "it": ("IT",)}


class Drawn(NamedTuple):
    """Evidence of S subjects, one record an episode, and where each lives, by ascending subject id."""

    evidence: pa.Table
    home: npt.NDArray[np.int16]

    def histories(self, model: ResidenceModel, labelled: Mask | None = None) -> Histories:
        """Their histories; the homes of those labelled, of shape `(S,)`, are known."""
        episodes = find_episodes(self.evidence, model.trust)
        known = np.full(len(self.home), NONE, np.int16)
        if labelled is not None:
            known[labelled] = self.home[labelled]
        return read_histories(count_histories(episodes, known, np.ones(len(known), np.bool_)))

    def probabilities(self, model: ResidenceModel) -> Floats:
        """`(S, J)`."""
        scores = score_subjects(self.evidence, model, TERRITORIES)
        return np.asarray(scores["probability"].to_numpy().reshape(-1, len(TERRITORIES)))

    @property
    def rich(self) -> Mask:
        """`(S,)`: those with coordinates, an address or a number."""
        speaks = np.logical_or.reduce(
            [self.evidence[f"{name}_value"].to_numpy() >= 0 for name in ("gps", "ip", "phone")]
        )
        return np.bincount(subject_numbers(self.evidence)[speaks], minlength=len(self.home)) > 0

    @property
    def residents(self) -> Mask:
        """`(S, J)`."""
        return np.stack([np.isin(self.home, country_indices(codes)) for codes in TERRITORIES.values()], axis=1)


def draw_from_model(model: ResidenceModel, subjects: int, seed: int, coverage: Mapping[str, float] = RECORDED) -> Drawn:
    """Subjects who live as the model says, each text drawn anew; each signal speaks in its share of the episodes."""
    random = np.random.default_rng(seed)
    home = _choose(random, model.prior, subjects)
    counts = np.minimum(random.geometric(1 / EPISODES, subjects), 12)
    subject = np.repeat(np.arange(subjects), counts)
    n = len(subject)
    away = random.random(n) < model.tau
    place = np.where(away, _choose(random, model.away, n), home[subject])
    author = np.where(away & (random.random(n) >= model.rho), place, home[subject])
    observed: dict[str, tuple[Integers, Integers]] = {}
    for kind in SIGNALS:
        level = random.integers(0, len(kind.levels), n)
        right = random.random(n) < model.hit[kind.name][level]
        if ROLES[kind.name] is Role.TEXT:
            truth = _choose_by_row(random, model.speakers, author)
        else:
            truth = home[subject] if ROLES[kind.name] is Role.OWN else place
        value = np.where(right, truth, _choose(random, model.background[kind.name], n))
        speaks = random.random(n) < coverage.get(kind.name, 0.0)
        observed[kind.name] = np.where(speaks, value, NONE), level
    return Drawn(_evidence(subject, observed), home.astype(np.int16))


def draw_from_world(world: World, subjects: int, seed: int) -> Drawn:
    """Subjects of a demo's world, without the detour through text, addresses and pages."""
    random = np.random.default_rng(seed)
    people = draw_people(world, random, 0, subjects)
    episodes = draw_episodes(world, random, people, subjects)
    n = len(episodes.person)
    country = np.append(country_indices([one.code for one in world.countries]), NONE)
    language = np.append([language_index(name) for name in world.languages], NONE)
    networks = {"plain": 0, "residential": 1, "mobile": 2, "hosting": 3, "vpn": 4, "private": 0}
    network = np.array([networks[name] for name, _, _ in world.networks])[episodes.network]
    private = np.array([name == "private" for name, _, _ in world.networks])[episodes.network]
    telling = np.isin(
        episodes.site_kind, [i for i, (name, _) in enumerate(world.sites) if name in ("country", "stray")]
    )
    fixed = random.random(n) >= world.null_island
    nothing = np.zeros(n, np.int64)
    observed = {
        "gps": (
            np.where(fixed, country[episodes.coordinates], NONE),
            (random.random(n) < world.coarse).astype(np.int64),
        ),
        "ip": (np.where(private, NONE, country[episodes.address]), network),
        "domain": (np.where(telling, country[episodes.site], NONE), nothing),
        "language": (
            np.where(episodes.short, NONE, language[episodes.language]),
            np.where(random.random(n) < 0.8, 4, 3),
        ),
        "phone": (country[episodes.phone], nothing),
    }
    return Drawn(_evidence(episodes.person, observed), country[people.home].astype(np.int16))


def recast(model: ResidenceModel) -> ResidenceModel:
    """A world of eight countries that is far from the model: where people live, how they move, what is right."""
    homes = _few(GB=0.22, FR=0.20, IT=0.18, DE=0.14, ES=0.10, US=0.08, BE=0.05, PL=0.03)
    speakers = model.speakers.copy()
    for code, shares in {
        "GB": {"en": 0.8, "pl": 0.2},
        "FR": {"fr": 0.75, "en": 0.15, "it": 0.1},
        "IT": {"it": 0.9, "en": 0.1},
        "BE": {"fr": 0.3, "nl": 0.5, "en": 0.2},
    }.items():
        speakers[COUNTRIES.index(code)] = [shares.get(language, 0.0) for language in LANGUAGES]
    hit = {
        "gps": (0.93, 0.7),
        "ip": (0.8, 0.9, 0.7, 0.4, 0.3),
        "domain": (0.7, 0.95, 0.6),
        "language": (0.6, 0.7, 0.5, 0.85, float(model.hit["language"][-1])),
        "phone": (0.95, 0.6, 0.5),
    }
    return dataclasses.replace(
        model,
        prior=homes,
        tau=0.25,
        rho=0.3,
        away=_few(GB=0.10, FR=0.25, IT=0.15, DE=0.05, ES=0.30, US=0.05, BE=0.05, PL=0.05),
        hit={name: np.array(values) for name, values in hit.items()},
        background={**model.background, **{name: homes for name in ("gps", "ip", "domain", "phone")}},
        speakers=speakers,
        strength=math.inf,
        second=0.0,
        stay=0.0,
        move=0.0,
    )


def _few(**shares: float) -> Floats:
    """`(C,)`: hardly anybody anywhere else."""
    every = np.array([shares.get(code, 1e-6) for code in COUNTRIES])
    return np.asarray(every / every.sum())


def subject_numbers(evidence: pa.Table) -> Integers:
    """`(rows,)`."""
    return np.asarray(evidence["subject_id"].cast(pa.int64()).to_numpy())


def _evidence(subject: Integers, observed: dict[str, tuple[Integers, Integers]]) -> pa.Table:
    n = len(subject)
    first = np.searchsorted(subject, subject)
    names = pa.array([f"{number:07d}" for number in range(subject.max() + 1)], pa.large_string())
    columns: dict[str, object] = {
        "unit": np.zeros(n),
        "row": np.arange(n),
        "subject_id": names.take(pa.array(subject)),
        "episode": np.ones(n),
        "month": 24000 + np.arange(n) - first,
        "phone_hash": np.zeros(n),
        "fault": np.zeros(n),
    }
    for name, (value, level) in observed.items():
        columns[f"{name}_value"] = value
        columns[f"{name}_level"] = np.where(value == NONE, 0, level)
        columns[f"{name}_reason"] = np.where(value == NONE, NullReason.ABSENT, NullReason.PRESENT)
    arrays = [
        pa.nulls(n, field.type) if field.name not in columns else pa.array(columns[field.name]).cast(field.type)
        for field in EVIDENCE
    ]
    return pa.Table.from_arrays(arrays, schema=EVIDENCE)


def _choose(random: np.random.Generator, shares: Floats, n: int) -> Integers:
    return random.choice(len(shares), n, p=shares / shares.sum())


def _choose_by_row(random: np.random.Generator, shares: Floats, row: Integers) -> Integers:
    cumulated = np.cumsum(shares / shares.sum(axis=1, keepdims=True), axis=1)
    return (cumulated[row] <= random.random(len(row))[:, None]).sum(axis=1).clip(max=shares.shape[1] - 1)
