"""Image records made of public data: one record, of a subject of its own, for each row."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.countries import COUNTRIES, NONE
from schemas.records import RECORD


class Population(NamedTuple):
    """n records of n subjects, and the country that the source gives for each."""

    name: str
    title: str
    records: pa.Table
    """Schema `RECORD`; subject ids ascend."""
    country: npt.NDArray[np.int16]
    """Index into `COUNTRIES`."""


def populations(data: Path) -> Iterator[Population]:
    """All populations of the evaluation: places with and without some of their columns, feeds, tweets, addresses."""
    places = pq.read_table(data / "places.parquet")
    coordinates = {"latitude": places["lat"], "longitude": places["lon"]}
    website = {"source_url": places["website"]}
    text_and_phone = {"caption": _joined(places["description"], places["phone"])}
    text = {"caption": places["description"]}
    for name, title, columns in (
        ("places", "Restaurants, all four columns", coordinates | website | text_and_phone),
        ("places-no-device", "Restaurants without coordinates", website | text_and_phone),
        ("places-no-contact", "Restaurants without phone number", coordinates | website | text),
        (
            "places-no-publication",
            "Restaurants without website and description",
            coordinates | {"caption": places["phone"]},
        ),
        ("places-pages", "Restaurants, website and description alone", website | text),
    ):
        yield population(name, title, places["country"], columns)

    feeds = pq.read_table(data / "feeds.parquet")
    columns = {"source_url": feeds["url"], "title": feeds["title"], "caption": feeds["text"]}
    yield population("feeds", "News feeds: address, title and text", feeds["country"], columns)

    tweets = pq.read_table(data / "tweets.parquet")
    yield population("tweets", "Tweets: text alone", tweets["country"], {"caption": tweets["text"]})

    anchors = pq.read_table(data / "ip_anchors.parquet")
    address = {"uploader_ip": anchors["ip"]}
    where = {"latitude": anchors["lat"], "longitude": anchors["lon"]}
    yield population("addresses", "RIPE Atlas: IP address alone", anchors["country"], address)
    yield population(
        "addresses-device", "RIPE Atlas: IP address and declared coordinates", anchors["country"], address | where
    )


def population(name: str, title: str, country: pa.ChunkedArray, columns: Mapping[str, pa.ChunkedArray]) -> Population:
    """One record for each row; `columns` are columns of `RECORD`, the others are null."""
    ids = pa.array([f"{name}-{row:06d}" for row in range(len(country))], pa.large_string())
    given = {"record_id": ids, "face_id": ids, "subject_id": ids, **columns}
    arrays = [given.get(field.name, pa.nulls(len(ids), field.type)) for field in RECORD]
    return Population(name, title, pa.table(arrays, schema=RECORD), country_indices(country))


def country_indices(codes: pa.ChunkedArray) -> npt.NDArray[np.int16]:
    """Index into `COUNTRIES` of each code; a source that writes a name instead of a code gives `NONE`."""
    found = pc.index_in(codes, pa.array(COUNTRIES, codes.type))
    return np.asarray(pc.fill_null(found, NONE), np.int16)


def _joined(first: pa.ChunkedArray, second: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(
        first, second, pa.scalar(" ", first.type), null_handling="replace", null_replacement=""
    )
