"""Estimate: image records in, one table of counted histories out; what a residence model is fitted to.

    records ─ ReadUnits ─┬─ evidence, by subject ──────────────┬─ CountShards ─ MergeCounts ─ histories.arrow
                         └─ ids, by id ─ CompareIds ─ findings ┘

The way to the subject is that of scoring, so duplicates and switchboards are treated the same. The counts are of
`MOST_SUBJECTS` subjects and a few: each shard takes those of the lowest hash. They name nobody.
"""

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.episodes import find_episodes
from classifiers.histories import HISTORIES, count_histories, merge_histories
from pipelines.score import GatherSubjects, Grouped, ScoreWork, gathered_records
from schemas.countries import NONE, country_indices
from schemas.files import replacing
from schemas.hashing import hash_strings
from schemas.labels import read_labels

MOST_SUBJECTS = 200_000
"""Parameters of a few hundred thousand subjects are better known than the model is true."""

SAMPLE_SEED = 160
"""So that who is sampled has nothing to do with which shard a subject is in."""

MERGE_FROM = 32


@dataclass(frozen=True)
class EstimateWork:
    """What every worker needs to know."""

    reading: ScoreWork
    """How records are read; its folder is that of this estimate alone."""
    labels: Path | None = None

    @property
    def shard_subjects(self) -> int:
        """How many subjects a shard may count, beside the labelled."""
        return -(-MOST_SUBJECTS // self.reading.shard_count)

    @property
    def counts(self) -> Path:
        """Where the counted histories go."""
        return self.reading.folder / "histories.arrow"


class CountHistories(beam.PTransform):
    """PCollection[None], one element → PCollection[str], the path of the counts."""

    def __init__(self, work: EstimateWork) -> None:
        self.work = work

    def expand(self, start: beam.PCollection) -> beam.PCollection:
        """Read and compare as scoring does, then count and merge."""
        work = self.work
        shards = start | GatherSubjects(work.reading)
        counts = shards | "CountShards" >> beam.Map(count_shard, work)
        return counts | "MergeCounts" >> beam.CombineGlobally(MergeCounts()) | "Write" >> beam.Map(write_counts, work)


class MergeCounts(beam.CombineFn):
    """Packed HISTORIES → packed HISTORIES, the same in whatever order they are merged."""

    def create_accumulator(self) -> list[bytes]:
        """Nothing counted."""
        return []

    def add_input(self, accumulator: list[bytes], element: bytes) -> list[bytes]:
        """One more shard."""
        return self.merge_accumulators([accumulator, [element]])

    def merge_accumulators(self, accumulators: Iterable[list[bytes]]) -> list[bytes]:
        """All of them; merged now and then, so that what is held does not grow with the number of shards."""
        held = [part for accumulator in accumulators for part in accumulator]
        return [merge_packed(held)] if len(held) >= MERGE_FROM else held

    def extract_output(self, accumulator: list[bytes]) -> bytes:
        """The sum."""
        return merge_packed(accumulator)


def merge_packed(parts: Iterable[bytes]) -> bytes:
    """Packed HISTORIES added up."""
    return pack(merge_histories([unpack(parts, HISTORIES)]))


def count_shard(element: Grouped, work: EstimateWork) -> bytes:
    """(shard, {"evidence": pointers, "findings": pointers}) → the packed HISTORIES of its subjects."""
    _, grouped = element
    usable, _ = gathered_records(grouped["evidence"], grouped["findings"])
    episodes = find_episodes(usable, work.reading.model.trust)
    home = find_homes(episodes.subject_ids, work.labels)
    return pack(count_histories(episodes, home, choose_subjects(episodes.subject_ids, home, work.shard_subjects)))


def choose_subjects(ids: pa.Array, home: npt.NDArray[np.int16], most: int) -> npt.NDArray[np.bool_]:
    """`(S,)`: the `most` subjects of the lowest hash, and all whose home is known."""
    chosen: npt.NDArray[np.bool_] = home != NONE
    chosen[np.argsort(hash_strings(ids, seed=SAMPLE_SEED), kind="stable")[:most]] = True
    return chosen


def find_homes(ids: pa.Array, labels: Path | None) -> npt.NDArray[np.int16]:
    """`(S,)`: the country of each subject's label, `NONE` without one."""
    if labels is None:
        return np.full(len(ids), NONE, np.int16)
    known = known_homes(labels)
    at = pc.index_in(ids, known["subject_id"].combine_chunks()).fill_null(-1).to_numpy()
    countries = country_indices(known["country"].to_pylist())
    return np.where(at < 0, np.int16(NONE), countries[at]) if len(known) else np.full(len(ids), NONE, np.int16)


@functools.cache
def known_homes(labels: Path) -> pa.Table:
    """`subject_id` and `country` of the subjects whose annotators agree on a country, by subject id.

    Raises InputError as `read_labels` does.
    """
    told = read_labels(labels)
    by_subject = told.group_by("subject_id", use_threads=False).aggregate(
        [("country", "min"), ("country", "max"), ("country", "count"), ([], "count_all")]
    )
    agreed = by_subject.filter(
        (pc.field("country_min") == pc.field("country_max")) & (pc.field("country_count") == pc.field("count_all"))
    )
    return agreed.select(["subject_id", "country_min"]).rename_columns(["subject_id", "country"]).sort_by("subject_id")


def write_counts(packed: bytes, work: EstimateWork) -> str:
    """Write the counts where the driver finds them."""
    with replacing(work.counts) as aside:
        aside.write_bytes(packed)
    return str(work.counts)


def read_counts(work: EstimateWork) -> pa.Table:
    """The counts, once they are written."""
    return unpack([work.counts.read_bytes()], HISTORIES)


def pack(table: pa.Table) -> bytes:
    """A small table as the bytes of an IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def unpack(packed: Iterable[bytes], schema: pa.Schema) -> pa.Table:
    """The rows of several packed tables."""
    return pa.concat_tables([schema.empty_table(), *(pa.ipc.open_stream(part).read_all() for part in packed)])
