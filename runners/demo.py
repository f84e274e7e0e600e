"""`lethe demo`: a whole example job with known truth, to try lethe on and to measure it by.

    DIR/job.toml                the job file, commented: what users copy
    DIR/records/part-*.parquet  image records, several files of several row groups
    DIR/faces/part-*.parquet    face vectors, in another order than the records
    DIR/hashes/part-*.parquet   perceptual hashes of the same faces, a derived index
    DIR/geoip.mmdb              the demo world's own IP database
    DIR/deepface/, ...          with `--databases`: the same faces once more, see `runners.demo_databases`
    DIR/truth.parquet           where every subject really lives
    DIR/demo.json               what was written, from which subjects, seed and world

Nobody in it exists. The same subjects, seed and world give the same bytes, but for databases. It is written range
after range of people, so that the memory needed does not grow with the demo.
"""

import dataclasses
import json
import math
import shutil
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from classifiers.gather import name_subjects
from runners.demo_databases import DATABASES, section
from runners.demo_draw import People, draw_episodes, draw_people
from runners.demo_networks import write_networks
from runners.demo_records import BAD_ROWS, Drawn, draw_records
from runners.demo_stores import write_faces, write_hashes
from runners.demo_text import opaque_ids, pick
from runners.demo_world import World
from schemas.errors import InputError
from schemas.files import TEMPORARY_PREFIX, canonical_json, digest_bytes, write_json
from schemas.suggest import nearest

FEWEST_SUBJECTS = 10
_SUBJECTS_PER_FILE = 20_000
_FORMAT = 1


@dataclass(frozen=True)
class DemoSummary:
    """What a demo holds.

    `subjects` are the people drawn; `truth_rows` is more, for each record of a person without a subject id is its
    own subject. `faces` equals `records`. `bad_rows` counts the rows spoilt on purpose, by kind.
    """

    folder: Path
    subjects: int
    seed: int
    records: int
    faces: int
    truth_rows: int
    bad_rows: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """The same, as JSON can hold it."""
        return {**dataclasses.asdict(self), "folder": str(self.folder)}


def write_demo(
    folder: Path, subjects: int, seed: int, world: World | None = None, databases: Sequence[str] = ()
) -> DemoSummary:
    """Write a demo of `subjects` people into `folder`, or leave it as it is if it is there already.

    Raises:
        InputError: too few subjects, a negative seed, an unknown database, or the folder holds something else.

    """
    if subjects < FEWEST_SUBJECTS:
        raise InputError(f"a demo of {subjects} subjects shows nothing; at least {FEWEST_SUBJECTS} are needed")
    if seed < 0:
        raise InputError(f"the seed is {seed}; it must be 0 or more")
    for unknown in sorted({*databases} - DATABASES.keys()):
        raise InputError(
            f"a demo has no database {unknown!r}{nearest(unknown, DATABASES)}; it may have {', '.join(DATABASES)}"
        )
    world = world or World()
    drawn_from = {
        "format": _FORMAT,
        "subjects": subjects,
        "seed": seed,
        "world": digest_bytes(canonical_json(dataclasses.asdict(world))),
        **({"databases": sorted(databases)} if databases else {}),
    }
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        return _already_there(folder, drawn_from)
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    try:
        aside.mkdir()
        counts = _write_all(aside, subjects, seed, world)
        _write_databases(aside, databases, counts["records"], seed)
        for finished in sorted(aside.iterdir()):
            finished.replace(folder / finished.name)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    # Last, for it is what says that the demo is whole.
    write_json(folder / "demo.json", {**drawn_from, **counts})
    return DemoSummary(folder, subjects, seed, **counts)


def _already_there(folder: Path, drawn_from: dict[str, Any]) -> DemoSummary:
    """The summary of the demo in `folder`, if it is the same one."""
    try:
        found = json.loads((folder / "demo.json").read_text(encoding="utf-8"))
        same = {key: found.get(key) for key in drawn_from} == drawn_from
        what = f"a demo of {found.get('subjects')} subjects, seed {found.get('seed')}"
    except (OSError, ValueError, AttributeError):
        same, what = False, "something else"
    if not same:
        raise InputError(
            f"{folder} holds {what}, and nothing is overwritten; name a folder that is empty or not there yet"
        )
    told = {field.name for field in dataclasses.fields(DemoSummary)}
    return DemoSummary(folder, **{key: value for key, value in found.items() if key in told})


def _write_all(folder: Path, subjects: int, seed: int, world: World) -> dict[str, Any]:
    for name in ("records", "faces", "hashes"):
        (folder / name).mkdir()
    (folder / "job.toml").write_text(JOB_FILE, encoding="utf-8")
    write_networks(world, folder / "geoip.mmdb")
    records, truth_rows, bad_rows = _write_records(folder, subjects, seed, world)
    write_faces(folder / "faces", records, seed)
    write_hashes(folder / "hashes", records, seed)
    return {"records": records, "faces": records, "truth_rows": truth_rows, "bad_rows": bad_rows}


def _write_databases(folder: Path, kinds: Sequence[str], total: int, seed: int) -> None:
    with (folder / "job.toml").open("a", encoding="utf-8") as job:
        for kind in kinds:
            (folder / kind).mkdir()
            DATABASES[kind][0](folder, total, seed)
            job.write(section(kind))


def _write_records(folder: Path, subjects: int, seed: int, world: World) -> tuple[int, int, dict[str, int]]:
    """Write records and truth; half of every range of people goes into the next file, so subjects span files."""
    bad_rows = Counter(dict.fromkeys(BAD_ROWS, 0))
    records = truth_rows = 0
    held: pa.Table | None = None
    with pq.ParquetWriter(folder / "truth.parquet", _TRUTH, compression="zstd") as truth_file:
        for part, (first, count) in enumerate(_ranges(subjects)):
            random = np.random.default_rng([seed, part])
            people = draw_people(world, random, first, count)
            episodes = draw_episodes(world, random, people, subjects)
            drawn = draw_records(world, random, seed, people, episodes, records)
            truth = _truth(world, seed, people, drawn)
            truth_file.write_table(truth)
            now = random.random(len(drawn.table)) < 0.5
            current = drawn.table.filter(pa.array(now))
            _write_part(folder, part, current if held is None else pa.concat_tables([held, current]))
            held = drawn.table.filter(pa.array(~now))
            records += len(drawn.table)
            truth_rows += len(truth)
            bad_rows.update(drawn.bad_rows)
    assert held is not None
    _write_part(folder, part + 1, held)
    return records, truth_rows, dict(bad_rows)


def _ranges(subjects: int) -> Iterator[tuple[int, int]]:
    """First and count of every range of people: four ranges at least, where there are enough people for it."""
    ranges = max(math.ceil(subjects / _SUBJECTS_PER_FILE), min(4, subjects // 100), 1)
    for number in range(ranges):
        first, stop = subjects * number // ranges, subjects * (number + 1) // ranges
        yield first, stop - first


def _write_part(folder: Path, part: int, table: pa.Table) -> None:
    path = folder / "records" / f"part-{part:05d}.parquet"
    pq.write_table(table, path, compression="zstd", row_group_size=max(math.ceil(len(table) / 4), 1))


_TRUTH = pa.schema([("subject_id", pa.string()), ("country", pa.string())])


def _truth(world: World, seed: int, people: People, drawn: Drawn) -> pa.Table:
    """Where everybody lives, under the names that scoring gives them: a record without a subject is its own."""
    codes = pa.array([country.code for country in world.countries])
    named = ~people.nameless
    own = ~named[drawn.person]
    subjects = opaque_ids(seed, "subject", people.number[named])
    records = drawn.table["record_id"].filter(pa.array(own)).combine_chunks().cast(pa.large_string())
    alone = name_subjects(pa.nulls(len(records), pa.large_string()), records).cast(pa.string())
    homes = np.concatenate([people.home[named], people.home[drawn.person[own]]])
    return pa.table([pa.concat_arrays([subjects, alone]), pick(codes, homes)], schema=_TRUTH)


JOB_FILE = """\
# A lethe job. Paths are relative to this file. `lethe run job.toml` looks for residents, writes one deletion
# manifest per jurisdiction and a report into `out/`, and destroys nothing; `lethe run job.toml --execute` does.

[job]
out = "out"
# Whose residents are to be erased: each name stands for territories, a regulator and its order.
jurisdictions = ["uk", "fr", "it"]

[records]
# One row per face in one image: a folder, a file or a glob of Parquet.
path = "records/"

# [records.columns]
# Only where your columns have other names: ours = "theirs".
# caption = "alt_text"

[signals]
# A MaxMind database (GeoLite2-City, GeoIP2-Country, ...) tells the country of an uploader's IP address. Without this
# line that signal is off, and the report says so. This one knows the invented networks of the demo alone.
geoip = "geoip.mmdb"
# anonymous_ip = "GeoIP2-Anonymous-IP.mmdb"     # makes addresses of VPNs and proxies count for less

# [model]
# path = "model.json"                           # a residence model of your own; absent: the one that ships with lethe

[policy]
# Probability of residence from which a record is erased, and from which a person has to look at it.
erase_at = 0.95
review_at = 0.05
# What happens to a subject of whom there is no evidence at all, your written decision: "review", "erase" or "keep".
insufficient_evidence = "review"

# Where the data lives that has to go: vectors, whatever was derived from them, and the records themselves. `key` is
# the column that holds the face id.
[[store]]
kind = "parquet"
path = "faces/"
key = "face_id"
holds = "vectors"

[[store]]
kind = "parquet"
path = "hashes/"
key = "face_id"
holds = "hashes"

[[store]]
kind = "parquet"
path = "records/"
key = "face_id"
holds = "records"

# Only a demo or an evaluation knows the truth; with it, `lethe run` prints precision and recall.
[truth]
path = "truth.parquet"
"""
