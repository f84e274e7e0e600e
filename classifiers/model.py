"""The residence model: its parameters, read from a frozen `model.json`, checked, and known by their digest.

    prior       pi      where subjects live
    place       tau     chance that an episode happened away from home
                q       where, if away
                rho     chance that the text of an episode away is the subject's own
    signals     h, b    per signal: chance that an observation is right, by level; where it points otherwise
    speakers            P(language | country)
    own_language        s: how soon a subject's earlier texts say more of the next than its country
    second_place        sigma, beta: who has a second place, and how often they are there
    move                mu: who has moved when next seen
    calibration         what labels said of the weights of evidence, if they said anything

The shipped parameters are built by `classifiers/data/build_model.py`. Scoring never changes a parameter.
"""

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from classifiers.observations import CODES, N_CODES, ROLES, VALUES, Role
from schemas.countries import COUNTRIES, LANGUAGES
from schemas.errors import InputError
from schemas.evidence import SIGNALS
from schemas.files import canonical_json, digest_bytes
from schemas.suggest import nearest

Floats = npt.NDArray[np.float64]

SUM_TOLERANCE = 1e-6
"""A distribution in the file may miss 1 by this much, for rounding; it is rescaled to 1 when read."""

LEAST_SLOPE, MOST_SLOPE = 0.1, 4.0
"""A calibration outside these does not mend a model, it replaces it."""

Chance = Annotated[float, Field(ge=1e-6, le=1 - 1e-6)]
"""Never 0 or 1: no single observation may settle a case, nor be impossible."""
Share = Annotated[float, Field(ge=1e-12, le=1)]


class Tables(NamedTuple):
    """What the kernels read, for C countries and N observation codes: likelihoods relative to the background.

    A factor common to all countries changes no posterior, so each likelihood is divided by that of "right by
    chance": `h 1(x = v) + (1 - h) b(x)` becomes 1 everywhere but at v = x, where it is `1 + boost`.
    """

    log_prior: Floats
    """`(C,)` log2 pi."""
    away: Floats
    """`(C,)` q."""
    tau: float
    rho: float
    second: float
    """sigma."""
    stay: float
    """beta."""
    move: float
    """mu."""
    boost: Floats
    """`(N,)` h / ((1 - h) b(x)); 0 for languages."""
    text: Floats
    """`(N_text, C)` h P(l | c) / b(l) + 1 - h, a row for each code of a language."""
    first_text: int
    """The code of the first row of `text`."""
    read: Floats
    """`(N_text,)` h / b(l)."""
    misread: Floats
    """`(N_text,)` 1 - h."""
    keeping: float
    """1 / s, 0 if every text is drawn anew."""


@dataclass(frozen=True, eq=False)
class ResidenceModel:
    """Parameters of the residence model, over C = 250 countries and L = 139 languages.

    `hit[signal]` is h by level; `background[signal]` is b, of shape `(C,)`, for the language `(L,)`;
    `speakers` has shape `(C, L)`. `digest` is the SHA-256 of the canonical JSON of their document.
    """

    digest: str
    prior: Floats
    tau: float
    rho: float
    away: Floats
    hit: Mapping[str, Floats]
    background: Mapping[str, Floats]
    speakers: Floats
    strength: float = math.inf
    """s: how many earlier texts weigh as much as the languages of the country; infinite: texts are drawn anew."""
    second: float = 0.0
    """sigma: chance that a subject has a second place, anywhere as `away` says."""
    stay: float = 0.0
    """beta: chance that an episode, unless it is a trip, happened there."""
    move: float = 0.0
    """mu: chance that a subject has moved when it is seen in a later month."""
    slope: float = 1.0
    """What every weight of evidence is multiplied by."""
    intercept: float = 0.0
    """What is added to the prior log-odds of every jurisdiction, in bits."""

    @functools.cached_property
    def tables(self) -> Tables:
        """The same parameters as likelihood ratios per observation code."""
        boost, text = np.zeros(N_CODES), np.empty((0, len(COUNTRIES)))
        read = misread = np.empty(0)
        for kind in SIGNALS:
            hit, background = self.hit[kind.name], self.background[kind.name]
            if ROLES[kind.name] is Role.TEXT:
                ratios = (self.speakers / background).T[:, None, :]
                text = (hit[:, None] * ratios + (1 - hit)[:, None]).reshape(-1, len(COUNTRIES))
                read, misread = (hit / background[:, None]).ravel(), np.tile(1 - hit, len(background))
            else:
                boost[CODES[kind.name]] = (hit / ((1 - hit) * background[:, None])).ravel()
        return Tables(
            np.log2(self.prior),
            self.away,
            self.tau,
            self.rho,
            self.second,
            self.stay,
            self.move,
            boost,
            text,
            CODES["language"].start,
            read,
            misread,
            1 / self.strength,
        )

    @functools.cached_property
    def trust(self) -> Floats:
        """`(N,)` h of every observation code: of one value seen at several levels, the highest counts."""
        return np.concatenate([np.tile(self.hit[kind.name], len(VALUES[kind.name])) for kind in SIGNALS])


def load_model(path: Path | None = None) -> ResidenceModel:
    """Read and check a model file; without a path, the one that ships with lethe.

    Raises InputError: no such file, not JSON, or a parameter that is missing, unknown or outside its bounds.
    """
    source = resources.files("classifiers").joinpath("data/model.json") if path is None else path
    try:
        document = json.loads(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"the model {source.name} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"the model {source.name} is not JSON in UTF-8: {error}") from error
    return parse_model(document, source.name)


def parse_model(document: object, name: str = "model.json") -> ResidenceModel:
    """The model that a JSON document describes; `name` is what errors call it.

    Raises InputError as `load_model` does.
    """
    try:
        parsed = _Document.model_validate(document)
        digest = digest_bytes(canonical_json(document))
    except ValidationError as error:
        raise InputError("\n".join(_describe(name, problem) for problem in error.errors())) from error
    except UnicodeEncodeError as error:
        raise InputError(f"{name}: holds text that is not Unicode") from error

    def distribution(where: str, shares: dict[str, float], over: tuple[str, ...], *, sparse: bool = False) -> Floats:
        return _distribution(f"{name}: {where}", shares, over, sparse=sparse)

    _check_codes(f"{name}: signals", parsed.signals, tuple(kind.name for kind in SIGNALS))
    _check_codes(f"{name}: speakers.shares", parsed.speakers.shares, COUNTRIES)
    for kind in SIGNALS:
        _check_codes(f"{name}: signals.{kind.name}.hit", parsed.signals[kind.name].hit, kind.levels)
    return ResidenceModel(
        digest=digest,
        prior=distribution("prior.weights", parsed.prior.weights, COUNTRIES),
        tau=parsed.place.tau,
        rho=parsed.place.rho,
        away=distribution("place.weights", parsed.place.weights, COUNTRIES),
        hit={kind.name: np.array([parsed.signals[kind.name].hit[level] for level in kind.levels]) for kind in SIGNALS},
        background={
            kind.name: distribution(
                f"signals.{kind.name}.background", parsed.signals[kind.name].background, VALUES[kind.name]
            )
            for kind in SIGNALS
        },
        speakers=np.array(
            [
                distribution(f"speakers.shares.{code}", parsed.speakers.shares[code], LANGUAGES, sparse=True)
                for code in COUNTRIES
            ]
        ),
        strength=parsed.own_language.strength if parsed.own_language else math.inf,
        second=parsed.second_place.share if parsed.second_place else 0.0,
        stay=parsed.second_place.stay if parsed.second_place else 0.0,
        move=parsed.move.chance if parsed.move else 0.0,
        slope=parsed.calibration.slope if parsed.calibration else 1.0,
        intercept=parsed.calibration.intercept if parsed.calibration else 0.0,
    )


class _Block(BaseModel):
    """Part of a model file; every part says where its figures come from."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    source: str = Field(min_length=1)


class _Prior(_Block):
    weights: dict[str, Share]


class _Place(_Block):
    tau: Chance
    rho: Chance
    weights: dict[str, Share]


class _Signal(_Block):
    hit: dict[str, Chance]
    background: dict[str, Share]


class _Speakers(_Block):
    shares: dict[str, dict[str, Share]]


class _OwnLanguage(_Block):
    strength: float = Field(ge=0.01, le=1e6)


class _SecondPlace(_Block):
    share: Chance
    stay: Chance


class _Move(_Block):
    chance: Chance


class _Calibration(_Block):
    version: Literal[1]
    slope: float = Field(ge=LEAST_SLOPE, le=MOST_SLOPE)
    intercept: float = Field(ge=-10, le=10)


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1]
    prior: _Prior
    place: _Place
    signals: dict[str, _Signal]
    speakers: _Speakers
    own_language: _OwnLanguage | None = None
    second_place: _SecondPlace | None = None
    move: _Move | None = None
    calibration: _Calibration | None = None


def _check_codes(where: str, given: Mapping[str, object], known: tuple[str, ...], *, sparse: bool = False) -> None:
    for code in given:
        if code not in known:
            raise InputError(f"{where}: unknown key {code!r}{nearest(code, known)}")
    missing = [code for code in known if code not in given]
    if missing and not sparse:
        raise InputError(f"{where}: {', '.join(missing[:5])} missing ({len(missing)} of {len(known)})")


def _distribution(where: str, shares: Mapping[str, float], over: tuple[str, ...], *, sparse: bool) -> Floats:
    """`(len(over),)`, adding up to 1; a code that a `sparse` distribution leaves out has share 0."""
    _check_codes(where, shares, over, sparse=sparse)
    total = sum(shares.values())
    if abs(total - 1) > SUM_TOLERANCE:
        raise InputError(f"{where}: the shares add up to {total:.9g}, they must add up to 1")
    return np.array([shares.get(code, 0.0) for code in over]) / total


def _describe(name: str, problem: ErrorDetails) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    found = problem["input"]
    shown = f", found {found!r}" if isinstance(found, int | float) else ""
    return f"{name}: {where}: {problem['msg']}{shown}"
