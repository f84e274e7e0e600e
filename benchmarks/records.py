"""A job of any size to time scoring on: the demo's world, with a different text on every record.

Who posts what from where, and how often a signal is there at all, is `runners.demo_world`. Its captions repeat,
so here every record has one of its own, of 65 characters on average, and one in twelve lies on a host of its own.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from runners.demo_draw import Integers, draw_episodes, draw_people
from runners.demo_networks import write_networks
from runners.demo_records import draw_records
from runners.demo_text import captions
from runners.demo_world import World

SEED = 20261122
_PEOPLE_PER_FILE = 50_000
_ROW_GROUP = 65_536
_SENTENCE = 50
_OWN_HOSTS = 12
"""One record in so many is the only one of its host."""
_SYLLABLES = pa.array([first + vowel for first in "bcdfglmnprstvz" for vowel in ("a", "e", "i", "o", "u", "ai", "ou")])
_PHONE = r"(?P<phone>[^.!?]*[0-9][0-9 ().-]{6,})$"

_JOB = """\
[job]
out = "out"
jurisdictions = ["uk", "fr", "it"]

[records]
path = "records/"

[signals]
geoip = "geoip.mmdb"
"""


def write_job(folder: Path, records: int) -> Path:
    """Write a job of exactly so many records into an empty folder, a file at a time; returns the job file."""
    world = World()
    population = 2 * records // 7
    (folder / "records").mkdir(parents=True)
    write_networks(world, folder / "geoip.mmdb")
    written = part = 0
    while written < records:
        random = np.random.default_rng([SEED, part])
        people = draw_people(world, random, part * _PEOPLE_PER_FILE, _PEOPLE_PER_FILE)
        episodes = draw_episodes(world, random, people, population)
        drawn = draw_records(world, random, SEED, people, episodes, written)
        own = _with_own_texts(world, random, drawn.table, people.language[drawn.person]).slice(0, records - written)
        path = folder / "records" / f"part-{part:05d}.parquet"
        pq.write_table(own, path, compression="zstd", row_group_size=_ROW_GROUP)
        written += len(own)
        part += 1
    job = folder / "job.toml"
    job.write_text(_JOB, encoding="utf-8")
    return job


def _with_own_texts(world: World, random: np.random.Generator, table: pa.Table, language: Integers) -> pa.Table:
    """The records, each with one text in a language; phone numbers stay at the end, some pages move to other hosts."""
    n = len(table)
    number = random.integers(0, 1 << 63, n, dtype=np.uint64)
    sentence = pc.utf8_slice_codeunits(captions(world, language, np.zeros(n, np.bool_), number), 0, _SENTENCE)
    phone = pc.fill_null(pc.struct_field(pc.extract_regex(table["caption"].combine_chunks(), _PHONE), "phone"), "")
    named = pc.binary_join_element_wise(sentence, _words(random, n), _words(random, n), " ")
    host = pc.binary_join_element_wise("https://", _words(random, n), _words(random, n), ".", "")
    url = table["source_url"].combine_chunks()
    moved = pc.binary_join_element_wise(host, pc.replace_substring_regex(url, r"^https?://(?:www\.)?", ""), "")
    texts = {
        "title": pa.nulls(n, pa.string()),
        "caption": pc.binary_join_element_wise(named, phone, ""),
        "source_url": pc.if_else(pa.array(random.integers(0, _OWN_HOSTS, n) == 0), moved, url),
    }
    for name, column in texts.items():
        table = table.set_column(table.schema.get_field_index(name), name, column)
    return table


def _words(random: np.random.Generator, n: int) -> pa.Array:
    """N made-up words of three syllables, one of a million each."""
    syllables = (_SYLLABLES.take(pa.array(random.integers(0, len(_SYLLABLES), n))) for _ in range(3))
    return pc.binary_join_element_wise(*syllables, "")
