"""People for whom one home at one place is too simple, drawn for the tests of the residence model.

Everybody lives in one country and mostly shows up there, as the model says. Besides:

    tourist      one holiday that makes two or three episodes: two adjoining months, or two accounts in one month
    second_home  a third of all episodes at one other place
    student      a year abroad, three to five episodes within twelve months, then home again
    mover        lived elsewhere first; home is the newer country, the language often still the older one's
    friend       somebody in one other country posts pictures of the subject, in several months
    household    shares account, months and telephone with another; the number is sometimes a relative's abroad

What is observed of an episode is drawn from the signals of the model itself, so ordinary people are exactly what
the model expects.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from classifiers.model import Floats, ResidenceModel
from classifiers.observations import ROLES, Role
from schemas.countries import COUNTRIES, NONE
from schemas.evidence import EVIDENCE, SIGNALS, NullReason

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

ORDINARY: Mapping[str, float] = {"ordinary": 1.0}
MIXED: Mapping[str, float] = {
    "ordinary": 0.60,
    "tourist": 0.15,
    "second_home": 0.05,
    "student": 0.04,
    "mover": 0.05,
    "friend": 0.06,
    "household": 0.05,
}
"""Shares of the kinds of people in a world."""

SEEN: Mapping[str, float] = {"gps": 0.2, "ip": 0.45, "domain": 0.35, "language": 0.7, "phone": 0.02}
"""Chance that an episode shows a signal."""

AT_HOME_ANYWAY, EXTRA = 8, 5
"""Slots of a life: episodes as everybody has them, at most, and those that only some kinds of people have."""
SLOTS = AT_HOME_ANYWAY + EXTRA


class People(NamedTuple):
    """n subjects."""

    kind: npt.NDArray[np.str_]
    home: Integers
    """`(n,)`, index into COUNTRIES: where the subject lives now."""


class Lives(NamedTuple):
    """What happens to n subjects in their slots, `(n, SLOTS)`; countries as indices into COUNTRIES."""

    happens: Flags
    month: Integers
    uploader: Integers
    place: Integers
    author: Integers
    number: Integers
    """The country of a telephone number, should one be seen."""


def draw_world(
    model: ResidenceModel, n: int, kinds: Mapping[str, float], rng: np.random.Generator, loyal: float = 0.0
) -> tuple[pa.Table, People]:
    """Evidence of n subjects named by their number, and the truth about them.

    `loyal` is the share of texts in the one language that their author prefers; the others are in any of the
    author's country, as the model has it.
    """
    people = People(rng.choice(list(kinds), n, p=list(kinds.values())), _draw(model.prior, n, rng))
    lives = _ordinary_lives(model, people, rng)
    for kind, change in CHANGES.items():
        _change(lives, people, np.flatnonzero(people.kind == kind), change, model, rng)
    return _observe(lives, model, loyal, rng), people


def _ordinary_lives(model: ResidenceModel, people: People, rng: np.random.Generator) -> Lives:
    n = len(people.home)
    shape = (n, SLOTS)
    home = np.broadcast_to(people.home[:, None], shape)
    episodes = np.minimum(rng.geometric(1 / 2.4, n), AT_HOME_ANYWAY)
    away, traveller = rng.random(shape) < model.tau, rng.random(shape) < model.rho
    place = np.where(away, _draw(model.away, shape, rng), home)
    return Lives(
        happens=np.arange(SLOTS) < episodes[:, None],
        month=24000 + rng.integers(0, 24, n)[:, None] + np.cumsum(rng.geometric(0.3, shape), axis=1),
        uploader=np.where(rng.random(shape) < 0.6, 1, np.arange(2, SLOTS + 2)),
        place=place,
        author=np.where(away & ~traveller, place, home),
        number=home.copy(),
    )


def _holiday(lives: Lives, home: Integers, model: ResidenceModel, rng: np.random.Generator) -> None:
    """Two or three episodes at one place; one tourist in seven is seen nowhere else."""
    n = len(home)
    length = rng.integers(2, 4, n)
    _stay(lives, length, _draw(model.away, n, rng)[:, None], home[:, None])
    first = 24000 + rng.integers(0, 60, n)[:, None]
    lives.month[:, AT_HOME_ANYWAY:] = first + rng.permuted(np.tile([0, 0, 1, 1, 1], (n, 1)), axis=1)
    lives.happens[rng.random(n) < 1 / 7, :AT_HOME_ANYWAY] = False


def _second_home(lives: Lives, home: Integers, model: ResidenceModel, rng: np.random.Generator) -> None:
    shape = lives.place.shape
    there = rng.random(shape) < 1 / 3
    lives.place[:] = np.where(there, _draw(model.away, len(home), rng)[:, None], lives.place)
    lives.author[:] = np.where(there, home[:, None], lives.author)


def _year_abroad(lives: Lives, home: Integers, model: ResidenceModel, rng: np.random.Generator) -> None:
    n = len(home)
    place = _draw(model.away, n, rng)[:, None]
    author = np.where(rng.random((n, EXTRA)) < 0.3, place, home[:, None])
    _stay(lives, rng.integers(3, 6, n), place, author)
    last = np.where(lives.happens, lives.month, 0)[:, :AT_HOME_ANYWAY].max(axis=1)
    lives.month[:, AT_HOME_ANYWAY:] = last[:, None] - rng.integers(1, 13, (n, EXTRA))


def _move(lives: Lives, home: Integers, model: ResidenceModel, rng: np.random.Generator) -> None:
    """At least one episode in each country, of three or more."""
    n = len(home)
    before = _draw(model.prior, n, rng)[:, None]
    episodes = 2 + np.minimum(rng.geometric(1 / 2.4, n), AT_HOME_ANYWAY - 2)
    lives.happens[:] = np.arange(SLOTS) < episodes[:, None]
    earlier = np.arange(SLOTS) < rng.integers(1, episodes)[:, None]
    at_home, own = lives.place == home[:, None], lives.author == home[:, None]
    lives.place[:] = np.where(earlier & at_home, before, lives.place)
    still = earlier | (rng.random(lives.place.shape) < 0.5)
    lives.author[:] = np.where(own & still, before, lives.author)
    lives.number[:] = np.where(earlier, before, home[:, None])


def _friend_abroad(lives: Lives, home: Integers, model: ResidenceModel, rng: np.random.Generator) -> None:
    n = len(home)
    place = _draw(model.away, n, rng)[:, None]
    _stay(lives, rng.integers(1, 5, n), place, place)
    lives.month[:, AT_HOME_ANYWAY:] = 24000 + rng.integers(0, 60, (n, EXTRA))


def _share_household(lives: Lives, home: Integers, model: ResidenceModel, rng: np.random.Generator) -> None:
    """Every second one has the account, the months and the places of the one before."""
    n = len(home) // 2 * 2
    home[1:n:2] = home[:n:2]
    for column in (lives.happens, lives.month, lives.uploader, lives.place, lives.author):
        column[1:n:2] = column[:n:2]
    abroad = rng.random(len(home)) < 0.2
    relative = np.where(abroad, _draw(model.prior, len(home), rng), home)
    lives.number[:] = relative[:, None]


Change = Callable[[Lives, Integers, ResidenceModel, np.random.Generator], None]
"""Makes the lives of people with these homes those of their kind."""

CHANGES: Mapping[str, Change] = {
    "tourist": _holiday,
    "second_home": _second_home,
    "student": _year_abroad,
    "mover": _move,
    "friend": _friend_abroad,
    "household": _share_household,
}


def _change(
    lives: Lives, people: People, rows: Integers, change: Change, model: ResidenceModel, rng: np.random.Generator
) -> None:
    """Let what makes a kind of people different happen to those in `rows`."""
    home = people.home[rows]
    some = Lives(*(column[rows] for column in lives))
    change(some, home, model, rng)
    people.home[rows] = home
    for column, changed in zip(lives, some, strict=True):
        column[rows] = changed


def _stay(lives: Lives, length: Integers, place: Integers, author: Integers) -> None:
    """Fill so many extra slots with episodes at one place, each of an account of its own."""
    lives.happens[:, AT_HOME_ANYWAY:] = np.arange(EXTRA) < length[:, None]
    lives.uploader[:, AT_HOME_ANYWAY:] = np.arange(EXTRA) + 100
    lives.place[:, AT_HOME_ANYWAY:] = place
    lives.author[:, AT_HOME_ANYWAY:] = author


def _observe(lives: Lives, model: ResidenceModel, loyal: float, rng: np.random.Generator) -> pa.Table:
    subject, _ = np.nonzero(lives.happens)
    month, uploader, place, author, number = (column[lives.happens] for column in lives[1:])
    n = len(subject)
    columns = {
        "unit": np.zeros(n),
        "row": np.arange(n),
        "record_id": [f"record-{row}" for row in range(n)],
        "face_id": [f"face-{row}" for row in range(n)],
        "subject_id": [f"{name:07d}" for name in subject.tolist()],
        "episode": uploader,
        "month": month,
        "phone_hash": np.zeros(n),
        "fault": np.zeros(n),
    }
    for kind in SIGNALS:
        level = rng.integers(0, len(kind.levels), n)
        right = rng.random(n) < model.hit[kind.name][level]
        wrong = _draw(model.background[kind.name], n, rng)
        match ROLES[kind.name]:
            case Role.TEXT:
                truth = _tongues(subject, author, model, loyal, rng)
            case Role.OWN:
                truth = number
            case _:
                truth = place
        seen = rng.random(n) < SEEN[kind.name]
        columns[f"{kind.name}_value"] = np.where(seen, np.where(right, truth, wrong), NONE)
        columns[f"{kind.name}_level"] = np.where(seen, level, 0)
        columns[f"{kind.name}_reason"] = np.where(seen, NullReason.PRESENT, NullReason.ABSENT)
    return pa.table({field.name: pa.array(columns[field.name]).cast(field.type) for field in EVIDENCE}, schema=EVIDENCE)


def _tongues(
    subject: Integers, author: Integers, model: ResidenceModel, loyal: float, rng: np.random.Generator
) -> Integers:
    languages = _draw_by_row(model.speakers, author, rng)
    _, first, same = np.unique(subject * len(COUNTRIES) + author, return_index=True, return_inverse=True)
    return np.where(rng.random(len(author)) < loyal, languages[first][same], languages)


def _draw(shares: Floats, shape: int | tuple[int, ...], rng: np.random.Generator) -> Integers:
    return rng.choice(len(shares), shape, p=shares)


def _draw_by_row(shares: Floats, row: Integers, rng: np.random.Generator) -> Integers:
    cumulated = np.cumsum(shares, axis=1)
    drawn = np.empty(len(row), np.int64)
    for each in np.unique(row):
        chosen = row == each
        drawn[chosen] = np.searchsorted(cumulated[each], rng.random(chosen.sum()) * cumulated[each][-1], side="right")
    return drawn.clip(max=shares.shape[1] - 1)


def with_residents(model: ResidenceModel, residents: Mapping[str, float]) -> Floats:
    """The model's prior with these countries given these shares of the people."""
    prior = model.prior.copy()
    chosen = [COUNTRIES.index(code) for code in residents]
    prior[chosen] = 0
    prior *= (1 - sum(residents.values())) / prior.sum()
    prior[chosen] = list(residents.values())
    return prior
