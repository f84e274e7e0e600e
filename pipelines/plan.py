"""Plan: scores and placements in, one deletion manifest per jurisdiction out.

    shards ─ WriteEntries ─ reports ─ (driver) ─ manifest.json

Each shard writes its part of every manifest; what a manifest says about all parts is put together from the reports, in
the order of the shards, so that the same scores give the same bytes.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from classifiers.explain import explain_sentence
from pipelines.ledger import Ledger
from pipelines.score import ScoreWork
from schemas.errors import LetheError
from schemas.files import canonical_json, digest_bytes, digest_file, replacing, write_json
from schemas.hashing import hash_strings
from schemas.jurisdictions import Jurisdiction, find_jurisdiction
from schemas.manifests import (
    ENTRIES,
    ENTRIES_AT_ONCE,
    Expectation,
    Manifest,
    Part,
    entry_leaves,
    manifest_root,
)
from schemas.merkle import TreeHash
from schemas.scores import EVIDENCE_CLASSES, SCORES, TIERS

LISTED_TIERS = ("erase", "review", "insufficient")


@dataclass(frozen=True)
class PlanWork:
    """What the workers of the stage need to know."""

    score: ScoreWork
    run_id: str
    digests: Mapping[str, Any]
    """Of job file, model, databases and input, as the manifest gives them."""
    quarantined: int

    @property
    def shards(self) -> Ledger:
        """Shards whose entries are written."""
        return Ledger(self.score.folder / "entries")

    def manifest_folder(self, jurisdiction: str) -> Path:
        """`out/manifests/<jurisdiction>/`."""
        return self.score.job.out / "manifests" / jurisdiction


class WriteEntries(beam.PTransform):
    """PCollection[int], shards → PCollection[dict], one report per shard with what it adds to each manifest."""

    def __init__(self, work: PlanWork) -> None:
        self.work = work

    def expand(self, shards: beam.PCollection) -> beam.PCollection:
        """Spread the shards, write their entries."""
        return shards | beam.Reshuffle() | "WriteShardEntries" >> beam.Map(write_shard_entries, self.work)


def write_shard_entries(shard: int, work: PlanWork) -> dict[str, Any]:
    """Write one shard's part of every manifest, unless it was written before; returns its report."""
    done = work.shards.find(str(shard))
    if done:
        return done
    placements = pq.read_table(work.score.output("placements", shard)).combine_chunks()
    scores = split_scores(work.score.output("scores", shard), work.score.territories)
    report: dict[str, Any] = {"shard": shard}
    for name in work.score.territories:
        mine = scores.pop(name).combine_chunks()
        placed = pc.index_in(placements.column("subject_id"), mine.column("subject_id")).to_numpy()
        entries = list_entries(placements, mine, placed, work.digests["model_digest"], find_jurisdiction(name))
        records = _count_records(placed, mine.column("tier"))
        report[name] = {
            "part": _write_entries(work.manifest_folder(name), shard, entries),
            "entries": {tier: records[tier] for tier in LISTED_TIERS},
            "kept": records["keep"],
            "subjects": _counts(mine.column("tier"), TIERS),
            "expected": {kind: _expect(mine, kind) for kind in EVIDENCE_CLASSES},
        }
    return work.shards.enter(str(shard), report)


def split_scores(file: Path, jurisdictions: Iterable[str]) -> dict[str, pa.Table]:
    """The scores of one shard by jurisdiction; the file is never in memory whole beside them."""
    rows: dict[str, list[pa.RecordBatch]] = {name: [] for name in jurisdictions}
    with pq.ParquetFile(file) as scores:
        for batch in scores.iter_batches(use_threads=False):
            for name, batches in rows.items():
                batches.append(batch.filter(pc.equal(batch.column("jurisdiction"), name)))
    return {name: pa.Table.from_batches(batches, SCORES) for name, batches in rows.items()}


def list_entries(
    placements: pa.Table,
    scores: pa.Table,
    placed: npt.NDArray[np.int64],
    model: str,
    jurisdiction: Jurisdiction,
) -> Iterator[pa.Table]:
    """The entries of one shard and jurisdiction, as tables of `ENTRIES_AT_ONCE` rows of `ENTRIES`, the last of fewer.

    `placed` is the score row of each placement. Placements and scores come by subject.
    """
    listed = np.flatnonzero(pc.is_in(scores.column("tier"), pa.array(LISTED_TIERS)).to_numpy()[placed])
    for start in range(0, len(listed), ENTRIES_AT_ONCE):
        at = listed[start : start + ENTRIES_AT_ONCE]
        # One sentence for a subject, not one for each of its records.
        subjects, of_record = np.unique(placed[at], return_inverse=True)
        mine = scores.take(pa.array(subjects))
        of_subject = mine.append_column("reason", explain_sentence(mine)).take(pa.array(of_record))
        records = placements.take(pa.array(at))
        columns = {
            "entry_id": name_entries(mine.column("jurisdiction")[0].as_py(), records.column("record_id")),
            "order": pa.repeat(jurisdiction.order, len(at)),
            "record_id": records.column("record_id"),
            "face_id": records.column("face_id"),
            "model_digest": pa.repeat(model, len(at)),
        }
        yield pa.table(
            [columns.get(field.name) if field.name in columns else of_subject.column(field.name) for field in ENTRIES],
            schema=ENTRIES,
        )


def name_entries(jurisdiction: str, record_ids: pa.ChunkedArray) -> pa.Array:
    """`<jurisdiction>-<32 hex digits>`, from the record's id alone, so that it is the same in every run."""
    ids = record_ids.combine_chunks()
    both = np.stack([hash_strings(ids), hash_strings(ids, second=True)], axis=1).astype(">u8")
    text = np.frombuffer(both.tobytes().hex().encode(), "S32").astype(str)
    return pc.binary_join_element_wise(jurisdiction, pa.array(text, pa.string()), "-")


def _write_entries(folder: Path, shard: int, entries: Iterator[pa.Table]) -> dict[str, Any] | None:
    """Write a part, a row group for each table, and describe it; None, and no part, if there is no table."""
    first = next(entries, None)
    if first is None:
        return None
    file = folder / f"entries-{shard:05d}.parquet"
    rows, tree = 0, TreeHash()
    with replacing(file) as aside, pq.ParquetWriter(aside, ENTRIES, compression="zstd") as writer:
        for table in itertools.chain([first], entries):
            writer.write_table(table)
            rows += len(table)
            for batch in table.to_batches():
                tree.update(entry_leaves(batch))
    return {"name": file.name, "rows": rows, "sha256": digest_file(file), "merkle_root": tree.digest().hex()}


def _count_records(placed: npt.NDArray[np.int64], tiers: pa.ChunkedArray) -> dict[str, int]:
    """How many records the subjects of each tier have."""
    records = np.bincount(placed, minlength=len(tiers))
    return {tier: int(records[pc.equal(tiers, tier).to_numpy()].sum()) for tier in TIERS}


def _counts(values: pa.ChunkedArray, names: Iterable[str]) -> dict[str, int]:
    return {name: pc.sum(pc.equal(values, name)).as_py() or 0 for name in names}


def _expect(scores: pa.Table, evidence_class: str) -> dict[str, float]:
    of_class = scores.filter(pc.equal(scores.column("evidence_class"), evidence_class))
    probability, tier = of_class.column("probability").to_numpy(), of_class.column("tier")
    erased = pc.equal(tier, "erase").to_numpy()
    kept = pc.equal(tier, "keep").to_numpy()
    return {
        "subjects": len(of_class),
        "erased": int(erased.sum()),
        "wrongly_erased": math.fsum(1 - probability[erased]),
        "kept": int(kept.sum()),
        "missed": math.fsum(probability[kept]),
        "undecided": math.fsum(probability[~erased & ~kept]),
    }


def write_manifests(reports: Iterable[Mapping[str, Any]], work: PlanWork) -> dict[str, Manifest]:
    """Put the shards' reports together into `manifest.json`, one per jurisdiction, and remove parts of older plans."""
    ordered = sorted(reports, key=lambda report: report["shard"])
    manifests = {}
    for name in work.score.territories:
        manifest = assemble_manifest(name, [report[name] for report in ordered], work)
        folder = work.manifest_folder(name)
        for stale in {file.name for file in folder.glob("entries-*.parquet")} - {part.name for part in manifest.parts}:
            (folder / stale).unlink()
        write_json(folder / "manifest.json", manifest.model_dump(mode="json"))
        manifests[name] = manifest
    return manifests


def assemble_manifest(name: str, reports: list[Mapping[str, Any]], work: PlanWork) -> Manifest:
    """One manifest from what each shard reported about its jurisdiction, in the order of the shards."""
    jurisdiction = find_jurisdiction(name)
    job = work.score.job
    policy = job.policy.model_dump(mode="json")
    parts = tuple(Part.model_validate(report["part"]) for report in reports if report["part"])
    entries = {tier: sum(report["entries"][tier] for report in reports) for tier in LISTED_TIERS}
    kept = sum(report["kept"] for report in reports)
    found = sum(entries.values()) + kept + work.quarantined
    if found != work.score.records:
        raise LetheError(
            f"{name}: {work.score.records} records were read, and {found} are accounted for; nothing was written"
        )
    return Manifest(
        run_id=work.run_id,
        jurisdiction=name,
        name=jurisdiction.name,
        territory=jurisdiction.territory,
        regulator=jurisdiction.regulator,
        order=jurisdiction.order,
        order_date=jurisdiction.order_date,
        deadline=jurisdiction.deadline,
        source=jurisdiction.source,
        policy=policy,
        policy_digest=digest_bytes(canonical_json(policy)),
        **work.digests,
        records=work.score.records,
        entries=entries,
        kept=kept,
        quarantined=work.quarantined,
        subjects={tier: sum(report["subjects"][tier] for report in reports) for tier in TIERS},
        expected={kind: _add_up([report["expected"][kind] for report in reports]) for kind in EVIDENCE_CLASSES},
        parts=parts,
        merkle_root=manifest_root([bytes.fromhex(part.merkle_root) for part in parts]).hex(),
    )


def _add_up(parts: list[Mapping[str, float]]) -> Expectation:
    return Expectation(
        subjects=sum(int(part["subjects"]) for part in parts),
        erased=sum(int(part["erased"]) for part in parts),
        kept=sum(int(part["kept"]) for part in parts),
        **{
            name: round(math.fsum(part[name] for part in parts), 6)
            for name in ("wrongly_erased", "missed", "undecided")
        },
    )
