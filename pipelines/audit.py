"""Audit: what the scores hold, counted and fixed by digests; then the sample, drawn from them.

    shards ─ CountStrata ─ reports ─ (driver) ─ the plan
    shards ─ DrawCandidates ─ candidates ─ (driver) ─ the sample and its key

Every subject has one keyed hash, the same for every jurisdiction, and a group's sample is its subjects of smallest
hash. So each sample is uniform, does not depend on shards or workers, and the samples of several jurisdictions overlap
as far as they can, which saves labels. The key is the plan's own digest: nobody can know it before the plan is fixed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.ledger import Ledger
from pipelines.score import ScoreWork, write_part
from schemas.audits import GROUP_OF_TIER, KEY, SAMPLE
from schemas.errors import LetheError
from schemas.files import digest_file
from schemas.hashing import Hashes, hash_strings
from schemas.merkle import leaf_hash, tree_hash

CANDIDATES = pa.schema(
    [*KEY, pa.field("hash", pa.uint64(), nullable=False), SAMPLE.field("record_ids"), SAMPLE.field("face_ids")]
)
"""Subjects that may be in the sample, with all that the sample and its key say of them."""

_SCORED = ["subject_id", "jurisdiction", "tier", "evidence_class", "probability"]


@dataclass(frozen=True)
class Draw:
    """What to draw: how many from each group of each jurisdiction, out of how many, and the key of the hash."""

    key: int
    drawn: Mapping[str, Mapping[str, int]]
    populations: Mapping[str, Mapping[str, int]]

    @classmethod
    def keyed_by(cls, digest: str, drawn: Mapping[str, Any], populations: Mapping[str, Any]) -> "Draw":
        """A draw with the first 64 bits of a digest, `sha256:<hex>`, as its key."""
        return cls(int(digest.removeprefix("sha256:")[:16], 16), drawn, populations)

    def limit(self, jurisdiction: str, group: str) -> int:
        """The greatest hash that can be in a group's sample: beyond it are more subjects than chance could need.

        Ten standard deviations above the number wanted, so that a shard hands on a handful of its subjects.
        """
        wanted, population = self.drawn[jurisdiction][group], self.populations[jurisdiction][group]
        ample = wanted + 10 * math.isqrt(wanted) + 50 if wanted else 0
        return 2**64 - 1 if ample >= population else ample * 2**64 // population

    def hashes(self, subjects: pa.Array) -> Hashes:
        """Of n subjects, shape `(n,)`."""
        return hash_strings(subjects, seed=self.key)

    def positions(self, subjects: pa.Array) -> Hashes:
        """What puts the sample in an order that tells nothing: the order of `hashes` tells which group is small."""
        return hash_strings(subjects, second=True, seed=self.key)


@dataclass(frozen=True)
class AuditWork:
    """What the workers need to know."""

    score: ScoreWork
    folder: Path
    """For what only the audit needs while it draws."""

    @property
    def counted(self) -> Ledger:
        """Shards that are counted."""
        return Ledger(self.folder / "counted")

    @property
    def drawn(self) -> Ledger:
        """Shards that are drawn from."""
        return Ledger(self.folder / "drawn")

    def candidates(self, shard: int) -> Path:
        """A shard's candidates."""
        return self.folder / "candidates" / f"part-{shard:05d}.parquet"


class CountStrata(beam.PTransform):
    """PCollection[int], shards → PCollection[dict], one report per shard: digest of its scores, strata counted."""

    def __init__(self, work: AuditWork) -> None:
        self.work = work

    def expand(self, shards: beam.PCollection) -> beam.PCollection:
        """Spread the shards, read each of them whole."""
        return shards | beam.Reshuffle() | "CountShard" >> beam.Map(count_shard, self.work)


class DrawCandidates(beam.PTransform):
    """PCollection[int], shards → PCollection[dict], one report per shard: how many candidates it has."""

    def __init__(self, work: AuditWork, draw: Draw) -> None:
        self.work, self.draw = work, draw

    def expand(self, shards: beam.PCollection) -> beam.PCollection:
        """Spread the shards, draw from each."""
        return shards | beam.Reshuffle() | "DrawFromShard" >> beam.Map(draw_from_shard, self.work, self.draw)


def count_shard(shard: int, work: AuditWork) -> dict[str, Any]:
    """Digest one shard's scores and count its strata."""
    file = work.score.output("scores", shard)
    if not file.is_file():
        return work.counted.enter(str(shard), {"shard": shard, "scores": None, "strata": []})
    scores = pq.read_table(file, columns=_SCORED[1:])
    strata = scores.group_by(_SCORED[1:4], use_threads=False).aggregate([("probability", "sum"), ([], "count_all")])
    return work.counted.enter(str(shard), {"shard": shard, "scores": digest_file(file), "strata": strata.to_pylist()})


def scores_root(reports: Mapping[str, Mapping[str, Any]]) -> str:
    """The Merkle root over the digests of all parts of the scores, in the order of the shards."""
    ordered = sorted(reports.values(), key=lambda report: int(report["shard"]))
    return "sha256:" + tree_hash(leaf_hash(str(report["scores"]).encode()) for report in ordered).hex()


def draw_from_shard(shard: int, work: AuditWork, draw: Draw) -> dict[str, Any]:
    """Write down one shard's candidates, if it has any."""
    scores = pq.read_table(work.score.output("scores", shard), columns=_SCORED).combine_chunks()
    subjects = scores.column("subject_id").combine_chunks()
    hashes = draw.hashes(subjects)
    near = hashes <= _limits(scores, draw)
    if near.any():
        found = scores.append_column("hash", pa.array(hashes)).filter(pa.array(near))
        write_part(work.candidates(shard), _with_records(found, work.score.output("placements", shard)), CANDIDATES)
    return work.drawn.enter(str(shard), {"shard": shard, "candidates": int(near.sum())})


def _limits(scores: pa.Table, draw: Draw) -> npt.NDArray[np.uint64]:
    limits = np.zeros(len(scores), np.uint64)
    for jurisdiction in draw.drawn:
        mine = pc.equal(scores.column("jurisdiction"), jurisdiction).to_numpy()
        for tier, group in GROUP_OF_TIER.items():
            limits[mine & pc.equal(scores.column("tier"), tier).to_numpy()] = draw.limit(jurisdiction, group)
    return limits


def _with_records(found: pa.Table, placements: Path) -> pa.Table:
    """The same subjects with their records and faces."""
    mine = pq.read_table(placements, filters=pc.field("subject_id").isin(pc.unique(found.column("subject_id"))))
    lists = mine.group_by("subject_id", use_threads=False).aggregate([("record_id", "list"), ("face_id", "list")])
    at = pc.index_in(found.column("subject_id"), lists.column("subject_id").combine_chunks())
    return found.append_column("record_ids", lists.column("record_id_list").take(at)).append_column(
        "face_ids", lists.column("face_id_list").take(at)
    )


def assemble_sample(work: AuditWork, draw: Draw) -> tuple[pa.Table, pa.Table]:
    """The sample, rows of `SAMPLE`, and its key, rows of `KEY`, from the candidates of all shards.

    Raises:
        LetheError: there are fewer candidates than subjects to draw.

    """
    files = [work.candidates(shard["shard"]) for shard in work.drawn.entries().values() if shard["candidates"]]
    candidates = pa.concat_tables([CANDIDATES.empty_table(), *map(pq.read_table, sorted(files))])
    candidates = candidates.sort_by([("hash", "ascending"), ("subject_id", "ascending")])
    chosen = pa.concat_tables(
        [
            _smallest(candidates, jurisdiction, group, n)
            for jurisdiction, of in draw.drawn.items()
            for group, n in of.items()
        ]
    )
    by_subject = chosen.sort_by([("subject_id", "ascending"), ("jurisdiction", "ascending")]).combine_chunks()
    subjects = by_subject.column("subject_id")
    first = np.unique(pc.index_in(subjects, pc.unique(subjects)).to_numpy(), return_index=True)[1]
    sample = by_subject.select(SAMPLE.names).take(pa.array(first))
    order = np.argsort(draw.positions(sample.column("subject_id").combine_chunks()), kind="stable")
    return sample.take(pa.array(order)), by_subject.select(KEY.names)


def _smallest(candidates: pa.Table, jurisdiction: str, group: str, n: int) -> pa.Table:
    tiers = [tier for tier, its_group in GROUP_OF_TIER.items() if its_group == group]
    of_group = (pc.field("jurisdiction") == jurisdiction) & pc.field("tier").isin(tiers)
    found = candidates.filter(of_group).slice(0, n)
    if len(found) < n:
        raise LetheError(
            f"{jurisdiction}: {n} subjects were to be drawn from {group}, and there are {len(found)} candidates; "
            "the scores have changed since they were counted, or chance was not to be believed: try another seed"
        )
    return found
