"""Drawing people and what happened to them from a `World`: integers only, no text yet.

Everything is drawn for a range of people at a time, from one random generator, so that a world of any size fits
into memory and a range of it can be drawn alone.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from runners.demo_world import Shares, World

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

NOTHING = -1
FIRST_MONTH = 2016 * 12
MOST_EPISODES, MOST_COPIES = 12, 8


class People(NamedTuple):
    """n people: arrays of shape `(n,)`.

    `number` counts the people of the whole world; `home` and `language` are positions in the world's countries and
    languages; `dark` people leave no evidence; `nameless` people have no subject id.
    """

    number: Integers
    home: Integers
    language: Integers
    dark: Flags
    nameless: Flags


class Episodes(NamedTuple):
    """m episodes: arrays of shape `(m,)`, with `NOTHING` where there is none.

    `person` is a row of `People`. `place`, and the countries that `coordinates`, `address`, `site` and `phone` point
    to, are positions in the world's countries; `network` and `site_kind` in `World.networks` and `World.sites`;
    `language` in its languages. `month` is year * 12 + month - 1; `account` a number below 0 for a shared account.
    """

    person: Integers
    place: Integers
    month: Integers
    account: Integers
    coordinates: Integers
    address: Integers
    network: Integers
    site: Integers
    site_kind: Integers
    language: Integers
    short: Flags
    phone: Integers
    copies: Integers


def draw_people(world: World, random: np.random.Generator, first: int, count: int) -> People:
    """The people numbered `first` to `first + count - 1`."""
    home = _choose(random, world.home_shares, count)
    return People(
        number=np.arange(first, first + count),
        home=home,
        language=_choose_by_row(random, world.speaker_shares, home),
        dark=random.random(count) < world.without_evidence,
        nameless=random.random(count) < world.without_subject,
    )


def draw_episodes(world: World, random: np.random.Generator, people: People, population: int) -> Episodes:
    """All episodes of these people; `population` is the number of people in the world.

    No account is at two places in one month: a person's own episodes are in different months, and a shared account
    never leaves its country.
    """
    counts = np.minimum(random.geometric(1 / world.episodes, len(people.number)), MOST_EPISODES)
    person = np.repeat(np.arange(len(people.number)), counts)
    n = len(person)
    home, dark = people.home[person], people.dark[person]
    is_away = random.random(n) < world.away
    travels = is_away & (random.random(n) < world.traveller)
    place = np.where(is_away, _choose(random, world.visit_shares, n), home)

    coordinates = _point(world, random, place, world.coordinates, world.coordinates_right)
    network = _choose(random, np.array([share for _, share, _ in world.networks]), n)
    right = np.array([chance for _, _, chance in world.networks])[network]
    address = _point(world, random, place, world.address, right)
    site_kind = _choose(random, np.array([share for _, share in world.sites]), n)
    kinds = [name for name, _ in world.sites]
    telling = [kinds.index("country"), kinds.index("stray")]
    site = np.where(site_kind == kinds.index("stray"), _choose(random, world.visit_shares, n), place)
    phone = _point(world, random, home, world.phone, world.phone_right)
    short = random.random(n) < np.where(dark, 0.5, world.short_caption)
    written = (random.random(n) < world.caption) & (short | ~dark)
    language = _languages(world, random, people, person, place, is_away & ~travels)
    return Episodes(
        person=person,
        place=place,
        month=_months(random, person, counts),
        account=_accounts(world, random, people.number[person], place, is_away, travels, population),
        coordinates=np.where(dark, NOTHING, coordinates),
        address=np.where(dark, NOTHING, address),
        network=network,
        site=site,
        site_kind=np.where(dark & np.isin(site_kind, telling), kinds.index("generic"), site_kind),
        language=np.where(written, language, NOTHING),
        short=short,
        phone=np.where(written & ~short, phone, NOTHING),
        copies=np.minimum(random.geometric(1 / world.copies, n), MOST_COPIES),
    )


def _languages(
    world: World, random: np.random.Generator, people: People, person: Integers, place: Integers, by_friend: Flags
) -> Integers:
    """The language of each episode: the subject's own, or a friend's of the place, or English in its stead."""
    theirs = _choose_by_row(random, world.speaker_shares, place)
    language = np.where(by_friend, theirs, people.language[person])
    writer = np.where(by_friend, place, people.home[person])
    english = np.array([country.english for country in world.countries])[writer]
    return np.where(random.random(len(person)) < english, world.languages.index("en"), language)


def _accounts(
    world: World,
    random: np.random.Generator,
    number: Integers,
    place: Integers,
    is_away: Flags,
    travels: Flags,
    population: int,
) -> Integers:
    """Own accounts are the person's number, shared ones are below `NOTHING`; few of them post very much.

    A trip is posted by the subject's own account, a picture by a friend abroad by a shared one.
    """
    pool = np.maximum(world.home_shares * population / 12, 3)[place]
    rank = (random.random(len(place)) ** 2 * pool).astype(np.int64)
    shared = NOTHING - 1 - (rank * len(world.countries) + place)
    draw = random.random(len(place))
    own = np.where(is_away, travels, draw < world.own_account)
    nobody = ~is_away & (draw >= world.own_account + world.shared_account)
    return np.where(own, number, np.where(nobody, NOTHING, shared))


def _months(random: np.random.Generator, person: Integers, counts: Integers) -> Integers:
    """A different month for every episode of a person."""
    gaps = random.geometric(0.4, len(person))
    firsts = np.cumsum(counts) - counts
    walked = np.cumsum(gaps)
    start = random.integers(0, 60, len(counts))
    months: Integers = FIRST_MONTH + start[person] + walked - walked[firsts][person]
    return months


def _point(
    world: World, random: np.random.Generator, target: Integers, coverage: float, right: float | Shares
) -> Integers:
    """The country a signal points to: the target, sometimes another, often none."""
    n = len(target)
    found = np.where(random.random(n) < right, target, _choose(random, world.visit_shares, n))
    return np.where(random.random(n) < coverage, found, NOTHING)


def _choose(random: np.random.Generator, shares: Shares, n: int) -> Integers:
    """Draw n positions with these chances."""
    cumulated = np.cumsum(shares / shares.sum())
    drawn: Integers = np.searchsorted(cumulated, random.random(n), side="right")
    return drawn.clip(max=len(shares) - 1)


def _choose_by_row(random: np.random.Generator, shares: Shares, row: Integers) -> Integers:
    """Draw a position for each of n rows of `shares`, with the chances that stand there."""
    cumulated = np.cumsum(shares, axis=1)
    draw = random.random(len(row))[:, None]
    drawn: Integers = (cumulated[row] <= draw).sum(axis=1)
    return drawn.clip(max=shares.shape[1] - 1)
