"""Image records of the demo: episodes become images, images become rows, and a few rows are spoilt on purpose."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from runners.demo_draw import NOTHING, Episodes, Integers, People
from runners.demo_networks import draw_addresses
from runners.demo_text import (
    Words,
    captions,
    declared_languages,
    hosts,
    opaque_ids,
    phones,
    pick,
    titles,
    urls,
)
from runners.demo_world import World

_STATUSES = pa.array(["public", "private", "removed"])
_SECOND = 1_000_000
_DAY = 86_400 * _SECOND
HUGE_CAPTION = 200_000

BAD_ROWS = (
    "null_record_id",
    "duplicate_record_id",
    "latitude_512",
    "latitude_nan",
    "malformed_address",
    "broken_url",
    "nul_bytes",
    "huge_caption",
)
"""The kinds of spoilt rows. The first three belong into quarantine, the others silence one signal or none."""


class Drawn(NamedTuple):
    """Records of a range of people: the table of image records, and who is on each and where that person lives.

    `person` is a row of `People`, shape `(len(table),)`; `bad_rows` counts the spoilt rows by kind.
    """

    table: pa.Table
    person: Integers
    bad_rows: dict[str, int]


def draw_records(
    world: World, random: np.random.Generator, seed: int, people: People, episodes: Episodes, first: int
) -> Drawn:
    """The records of these episodes, in random order; they are numbered from `first`, their faces too."""
    image_episode = np.repeat(np.arange(len(episodes.person)), episodes.copies)
    images = _images(world, random, seed, episodes, image_episode, first)
    row_image, row_person = _rows(world, random, people, episodes, image_episode)
    number = first + np.arange(len(row_image))
    subject = opaque_ids(seed, "subject", people.number)
    table = images.take(pa.array(row_image))
    ids = {
        "record_id": opaque_ids(seed, "record", number),
        "face_id": opaque_ids(seed, "face", number),
        "subject_id": pick(subject, np.where(people.nameless, NOTHING, np.arange(len(people.number)))[row_person]),
    }
    table = pa.table({**ids, **dict(zip(table.column_names, table.columns, strict=True))})
    order = random.permutation(len(row_image))
    return _spoil(world, random, table.take(pa.array(order)), row_person[order], people, first == 0)


def _rows(
    world: World, random: np.random.Generator, people: People, episodes: Episodes, image_episode: Integers
) -> tuple[Integers, Integers]:
    """The image and the person of each row: everybody's own, then companions who are on somebody else's image.

    A companion lives where the image was taken, so that their own truth stays as the world draws it.
    """
    person = episodes.person[image_episode]
    at_home = np.flatnonzero(episodes.place[image_episode] == people.home[person])
    shown = at_home[random.random(len(at_home)) < world.companions]
    willing = np.flatnonzero(~people.dark & ~people.nameless)
    willing = willing[np.argsort(people.home[willing], kind="stable")]
    homes, place = people.home[willing], people.home[person[shown]]
    start, stop = np.searchsorted(homes, place), np.searchsorted(homes, place, side="right")
    shown, start, stop = (array[stop > start] for array in (shown, start, stop))
    companion = willing[random.integers(start, stop)]
    alone = companion == person[shown]
    image = np.concatenate([np.arange(len(image_episode)), shown[~alone]])
    return image, np.concatenate([person, companion[~alone]])


def _images(
    world: World, random: np.random.Generator, seed: int, episodes: Episodes, episode: Integers, first: int
) -> pa.Table:
    """The columns that belong to an image; those of one episode share nearly all of their values."""
    m, n = len(episodes.person), len(episode)
    numbers = _numbers(random, m)
    fresh = random.random(n) < world.fresh_caption
    text_number = np.where(fresh, _numbers(random, n), numbers[episode])
    language = episodes.language[episode]
    latitude, longitude = _coordinates(world, random, episodes)
    captured, collected = _moments(random, episodes.month)
    wait = random.integers(0, 1800, n) * _SECOND
    seen = random.random(n) < 0.25
    phone = phones(world, random, episodes.phone)
    host = hosts(world, episodes.site, episodes.site_kind, numbers >> np.uint64(7))
    titled = np.where((random.random(m) < 0.4) & ~episodes.short, episodes.language, NOTHING)
    declared = np.where((random.random(m) < world.declared) & ~episodes.short, episodes.language, NOTHING)
    caption = captions(world, language, episodes.short[episode], text_number)
    page = opaque_ids(seed, "page", first + np.arange(n))
    of_episode = {
        "title": titles(world, titled, numbers >> np.uint64(3)),
        "declared_language": declared_languages(world, declared, episodes.place, numbers >> np.uint64(40)),
        "latitude": pa.array(latitude, mask=episodes.coordinates == NOTHING),
        "longitude": pa.array(longitude, mask=episodes.coordinates == NOTHING),
        "uploader_id": _account_ids(seed, episodes.account),
        "uploader_ip": draw_addresses(world, random, episodes.address, episodes.network),
    }
    shared = pa.table(of_episode).take(pa.array(episode))
    status = np.searchsorted([0.93, 0.97], random.random(n))
    return pa.table(
        {
            "image_id": opaque_ids(seed, "image", first + np.arange(n)),
            "source_url": urls(host.take(pa.array(episode)), pc.utf8_slice_codeunits(page, 0, 16), text_number),
            "title": shared["title"],
            "caption": pc.binary_join_element_wise(caption, phone.take(pa.array(episode)), ""),
            "declared_language": shared["declared_language"],
            "latitude": shared["latitude"],
            "longitude": shared["longitude"],
            "captured_at": _timestamps(captured[episode] + wait, captured[episode] == NOTHING),
            "collected_at": _timestamps(collected[episode] + np.where(seen, wait, 0), np.zeros(n, bool)),
            "uploader_id": shared["uploader_id"],
            "uploader_ip": shared["uploader_ip"],
            "source_status": _STATUSES.take(pa.array(status)),
        }
    )


def _numbers(random: np.random.Generator, n: int) -> Words:
    return random.integers(0, 1 << 63, n, dtype=np.uint64)


def _coordinates(world: World, random: np.random.Generator, episodes: Episodes) -> tuple[np.ndarray, np.ndarray]:
    """Latitude and longitude near a city of each episode's country, in degrees; what stands for none is no matter."""
    n = len(episodes.person)
    counts = np.array([len(country.cities) for country in world.countries])
    cities = np.array([city for country in world.countries for city in country.cities])
    starts = np.cumsum(counts) - counts
    city = starts[episodes.coordinates] + (random.random(n) * counts[episodes.coordinates]).astype(np.int64)
    point = cities[city] + random.normal(0, 0.04, (n, 2))
    kind = random.random(n)
    point = np.where((kind < world.coarse)[:, None], point.round(1), point.round(6))
    point = np.where((kind > 1 - world.null_island)[:, None], 0.0, point)
    return point[:, 0], point[:, 1]


def _moments(random: np.random.Generator, month: Integers) -> tuple[Integers, Integers]:
    """When each episode's image was taken (or `NOTHING`) and collected, microseconds since 1970, UTC.

    An image without a date is collected in the episode's own month, which is then all that is known.
    """
    n = len(month)
    start = (month - 1970 * 12).astype("datetime64[M]").astype("datetime64[us]").astype(np.int64)
    moment = start + random.integers(0, 27 * 86_400, n) * _SECOND
    dated = random.random(n) < 0.7
    delay = (random.exponential(120, n) * _DAY).astype(np.int64) // _SECOND * _SECOND
    return np.where(dated, moment, NOTHING), np.where(dated, moment + delay, moment)


def _timestamps(microseconds: Integers, absent: np.ndarray) -> pa.Array:
    return pa.array(microseconds, mask=absent).cast(pa.timestamp("us", tz="UTC"))


def _account_ids(seed: int, account: Integers) -> pa.Array:
    ids = opaque_ids(seed, "account", account)
    return pc.if_else(pa.array(account == NOTHING), None, pc.utf8_slice_codeunits(ids, 0, 20))


def _spoil(
    world: World, random: np.random.Generator, table: pa.Table, person: Integers, people: People, at_least_one: bool
) -> Drawn:
    """Spoil a few rows, each in one way, none of a person without a subject id."""
    wanted = len(table) * world.bad_rows / len(BAD_ROWS)
    count = max(int(wanted + random.random()), 1) if at_least_one else int(wanted + random.random())
    named = random.permutation(np.flatnonzero(~people.nameless[person]))
    chosen = dict(zip(BAD_ROWS, (np.sort(part) for part in _parts(named, count, len(BAD_ROWS))), strict=True))
    # One a range is enough: at 200 kB each, a share of them would be most of a big demo.
    chosen["huge_caption"] = chosen["huge_caption"][:1]
    donors = named[count * len(BAD_ROWS) :][: len(chosen["duplicate_record_id"])]
    chosen["duplicate_record_id"] = chosen["duplicate_record_id"][: len(donors)]
    columns = dict(zip(table.column_names, (column.combine_chunks() for column in table.columns), strict=True))

    def put(kind: str, column: str, values: pa.Array) -> None:
        mask = np.zeros(len(table), bool)
        mask[chosen[kind]] = True
        columns[column] = pc.replace_with_mask(columns[column], pa.array(mask), values)

    def repeat(kind: str, value: str | float | None, kind_type: pa.DataType) -> pa.Array:
        return pa.array([value] * len(chosen[kind]), kind_type)

    put("duplicate_record_id", "record_id", columns["record_id"].take(pa.array(donors, pa.int64())))
    put("null_record_id", "record_id", repeat("null_record_id", None, pa.string()))
    for kind, latitude in (("latitude_512", 512.0), ("latitude_nan", float("nan"))):
        put(kind, "latitude", repeat(kind, latitude, pa.float64()))
        put(kind, "longitude", repeat(kind, 2.35, pa.float64()))
    put("malformed_address", "uploader_ip", repeat("malformed_address", "999.1.2.3", pa.string()))
    put("broken_url", "source_url", repeat("broken_url", "http://[not a url", pa.string()))
    put("nul_bytes", "caption", repeat("nul_bytes", "scan\x00 0001\x00\x00 .jpg", pa.string()))
    put("huge_caption", "caption", repeat("huge_caption", "la " * (HUGE_CAPTION // 3), pa.string()))
    return Drawn(pa.table(columns), person, {kind: len(rows) for kind, rows in chosen.items()})


def _parts(rows: Integers, size: int, count: int) -> list[Integers]:
    return [rows[part * size : (part + 1) * size] for part in range(count)]
