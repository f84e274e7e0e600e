"""Score: image records in, one row per subject and jurisdiction out.

    records ─ ReadUnits ─┬─ evidence, by subject ──────────────┬─ ScoreShards ─ scores, placements, quarantine
                         └─ ids, by id ─ CompareIds ─ findings ┘

Elements are descriptors: units, pointers into spill files, reports. Every function below also works without Beam.

Counters (namespace `lethe`): `records_read`, `records_scored`, `records_quarantined`.
"""

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.metrics import Metrics

from classifiers.gather import SignalSources, gather_evidence
from classifiers.model import ResidenceModel, load_model
from classifiers.residence import score_subjects
from classifiers.tiers import assign_tiers
from pipelines.findings import FINDINGS, IDS, apply_findings, column, compare_ids, list_ids
from pipelines.forks import call
from pipelines.inventory import Inventory, Unit, read_unit, rows_at_once
from pipelines.ledger import Ledger
from pipelines.spill import Pointer, SpillWriter, read_spill, shard_of
from schemas.evidence import EVIDENCE
from schemas.files import replacing
from schemas.hashing import hash_strings
from schemas.job import Job
from schemas.quarantine import QUARANTINE, Fault
from schemas.scores import PLACEMENTS, SCORES

BATCH_ROWS = 32_768

Grouped = tuple[int, Mapping[str, Iterable[Any]]]


@dataclass(frozen=True)
class ScoreWork:
    """What every worker of the stage needs to know; small, and sent once."""

    job: Job
    territories: Mapping[str, tuple[str, ...]]
    records: int
    """How many records the input has."""
    folder: Path
    """Work folder of this run; `inventory.json` in it lists the input."""

    @property
    def inventory(self) -> Inventory:
        """The files to read, loaded once a process."""
        return _load_inventory(self.folder / "inventory.json")

    @property
    def unit_files(self) -> pa.Array:
        """The file of every unit, listed once a process."""
        return _list_unit_files(self.folder / "inventory.json")

    @property
    def shard_count(self) -> int:
        """Into how many shards subjects are cut: grows with the input, so that the memory of a worker does not.

        A subject is never cut: one with more records than a shard has on average makes its shard larger.
        """
        return max(1, -(-self.records // rows_at_once(self.records)))

    @property
    def units(self) -> Ledger:
        """Units that were read."""
        return Ledger(self.folder / "units")

    @property
    def shards(self) -> Ledger:
        """Shards that were scored."""
        return Ledger(self.folder / "shards")

    def load(self) -> None:
        """Load what every worker of this machine shares. Raises InputError for a database that cannot be read."""
        self.sources()
        _ = self.model, self.inventory

    def sources(self) -> SignalSources:
        """The signals' models and databases."""
        signals = self.job.signals
        return SignalSources.load(
            signals.language,
            self.job.path(signals.geoip) if signals.geoip else None,
            self.job.path(signals.anonymous_ip) if signals.anonymous_ip else None,
        )

    @property
    def model(self) -> ResidenceModel:
        """The model that the job names, or the one that ships, loaded once a process."""
        return _load_model(self.job.path(self.job.model.path) if self.job.model.path else None)

    def output(self, kind: str, shard: int) -> Path:
        """Where a shard's `scores`, `quarantine` or `placements` go."""
        folder = self.folder if kind == "placements" else self.job.out
        return folder / kind / f"part-{shard:05d}.parquet"


@functools.cache
def _load_inventory(file: Path) -> Inventory:
    return Inventory.load(file)


@functools.cache
def _list_unit_files(file: Path) -> pa.Array:
    return pa.array([unit.file for unit in _load_inventory(file).units()], pa.string())


@functools.cache
def _load_model(file: Path | None) -> ResidenceModel:
    return load_model(file)


class ScoreRecords(beam.PTransform):
    """PCollection[None], one element → PCollection[dict], one report per shard: records scored and quarantined."""

    def __init__(self, work: ScoreWork) -> None:
        self.work = work

    def expand(self, start: beam.PCollection) -> beam.PCollection:
        """Gather, score."""
        return start | GatherSubjects(self.work) | "ScoreShards" >> beam.ParDo(ScoreShard(self.work))


class GatherSubjects(beam.PTransform):
    """PCollection[None], one element → PCollection[Grouped], what is known of the subjects of each shard."""

    def __init__(self, work: ScoreWork) -> None:
        self.work = work

    def expand(self, start: beam.PCollection) -> beam.PCollection:
        """List, read, compare, group."""
        units = start | "ListUnits" >> beam.FlatMap(list_units, self.work) | beam.Reshuffle()
        read = units | "ReadUnits" >> beam.ParDo(ReadUnit(self.work)).with_outputs("ids", main="evidence")
        findings = (
            read.ids | "GroupIds" >> beam.GroupByKey() | "CompareIds" >> beam.FlatMap(find_for_subjects, self.work)
        )
        return {"evidence": read.evidence, "findings": findings} | "GroupSubjects" >> beam.CoGroupByKey()


class ReadUnit(beam.DoFn):
    """Unit → (subject shard, Pointer) on the main output, (id shard, Pointer) on `ids`."""

    def __init__(self, work: ScoreWork) -> None:
        self.work = work
        self.records_read = Metrics.counter("lethe", "records_read")

    def setup(self) -> None:
        """Use one core a worker."""
        pa.set_cpu_count(1)

    def process(self, unit: Unit) -> Iterator[Any]:
        """Read one unit, unless it was read before."""
        report = self.work.units.find(str(unit.index)) or call(extract_unit, unit, self.work)
        self.records_read.inc(unit.rows)
        for shard, path, batches in report["evidence"]:
            yield shard, Pointer(path, tuple(batches))
        for shard, path, batches in report["ids"]:
            yield beam.pvalue.TaggedOutput("ids", (shard, Pointer(path, tuple(batches))))


class ScoreShard(beam.DoFn):
    """(shard, {"evidence": pointers, "findings": pointers}) → the shard's report."""

    def __init__(self, work: ScoreWork) -> None:
        self.work = work
        self.scored = Metrics.counter("lethe", "records_scored")
        self.quarantined = Metrics.counter("lethe", "records_quarantined")

    def process(self, element: Grouped) -> Iterator[dict[str, Any]]:
        """Score one shard, unless it was scored before."""
        shard, grouped = element
        report = self.work.shards.find(str(shard)) or call(
            score_shard, shard, list(grouped["evidence"]), list(grouped["findings"]), self.work
        )
        self.scored.inc(report["scored"])
        self.quarantined.inc(report["quarantined"])
        yield report


def list_units(start: object, work: ScoreWork) -> Iterator[Unit]:
    """The units of the input; listed by a worker, so that the job graph stays small."""
    del start
    return work.inventory.units()


def extract_unit(unit: Unit, work: ScoreWork) -> dict[str, Any]:
    """Read one unit and spill its evidence by subject and its ids by id; returns the pointers, and enters them."""
    shards = work.shard_count
    name, held = f"{unit.index:07d}.arrow", rows_at_once(work.records)
    with (
        SpillWriter(work.folder / "spill" / "evidence" / name, EVIDENCE, held) as evidence_spill,
        SpillWriter(work.folder / "spill" / "ids" / name, IDS, held) as ids_spill,
    ):
        for evidence in unit_evidence(unit, work, work.sources()):
            subjects = hash_strings(evidence.column("subject_id").combine_chunks())
            ids = list_ids(evidence, subjects)
            evidence_spill.write(evidence, shard_of(subjects, shards))
            ids_spill.write(ids, shard_of(column(ids, "first"), shards))
    return work.units.enter(
        str(unit.index),
        {
            "rows": unit.rows,
            "evidence": [(shard, *pointer) for shard, pointer in evidence_spill.pointers().items()],
            "ids": [(shard, *pointer) for shard, pointer in ids_spill.pointers().items()],
        },
    )


def unit_evidence(unit: Unit, work: ScoreWork, sources: SignalSources) -> Iterator[pa.Table]:
    """The evidence of one unit, batch by batch; rows that cannot be decoded are there too, with their fault."""
    row = unit.first_row
    stop = row + unit.rows
    try:
        for batch in read_unit(work.inventory.root, unit, work.job.records.columns, BATCH_ROWS):
            yield gather_evidence(batch, unit.index, np.arange(row, row + len(batch)), sources)
            row += len(batch)
    except (OSError, pa.ArrowException):
        yield unreadable_rows(unit.index, row, stop)


def unreadable_rows(unit: int, first: int, stop: int) -> pa.Table:
    """Rows of `EVIDENCE` for records of which only the position is known."""
    n = stop - first
    known = {
        "unit": np.full(n, unit, np.int32),
        "row": np.arange(first, stop),
        "subject_id": pa.array([f"unreadable:{unit}"] * n, pa.large_string()),
        "fault": np.full(n, Fault.UNREADABLE_ROW_GROUP, np.uint8),
    }
    arrays = [
        pa.array(known[field.name], field.type)
        if field.name in known
        else pa.nulls(n, field.type)
        if field.nullable
        else pa.array(np.zeros(n), field.type)
        for field in EVIDENCE
    ]
    return pa.Table.from_arrays(arrays, schema=EVIDENCE)


def find_for_subjects(group: tuple[int, Iterable[Pointer]], work: ScoreWork) -> list[tuple[int, Pointer]]:
    """(id shard, pointers) → (subject shard, Pointer), several."""
    shard, pointers = group
    return call(find_in_shard, (shard, list(pointers)), work)


def find_in_shard(group: tuple[int, list[Pointer]], work: ScoreWork) -> list[tuple[int, Pointer]]:
    """(id shard, pointers) → (subject shard, Pointer) for every subject shard something was found about.

    What is found is spilled as evidence is: where most records are duplicates, it is as much as there are records.
    The file is named by the id shard and what is found does not depend on the order of the pointers, so an attempt
    that runs twice writes the same file.
    """
    shard, pointers = group
    findings = compare_ids(read_spill(pointers, IDS), work.job.signals.switchboard_subjects)
    if not len(findings):
        return []
    with SpillWriter(work.folder / "spill" / "findings" / f"{shard:07d}.arrow", FINDINGS) as spill:
        spill.write(findings, shard_of(column(findings, "subject"), work.shard_count))
    return list(spill.pointers().items())


def gathered_records(pointers: Iterable[Pointer], findings: Iterable[Pointer]) -> tuple[pa.Table, pa.Table]:
    """The usable and the faulty evidence of one shard, in the order of the input; `findings` point to `FINDINGS`.

    Spill files are named by unit and keep the order of rows, so what is read from them is in that order.
    """
    evidence = apply_findings(read_spill(pointers, EVIDENCE), read_spill(findings, FINDINGS))
    usable = column(evidence, "fault") == Fault.NONE
    return evidence.filter(pa.array(usable)), evidence.filter(pa.array(~usable))


def score_shard(shard: int, pointers: list[Pointer], findings: list[Pointer], work: ScoreWork) -> dict[str, Any]:
    """Score the subjects of one shard; writes its scores, placements and quarantine, and enters the report."""
    records, faulty = gathered_records(pointers, findings)
    scores = decide(score_subjects(records, work.model, work.territories), faulty, work.job)
    write_part(work.output("scores", shard), scores, SCORES)
    placements = sort_placements(records.select(PLACEMENTS.names))
    write_part(work.output("placements", shard), placements, PLACEMENTS, repeating=False)
    if len(faulty):
        write_part(work.output("quarantine", shard), quarantine_rows(faulty, work.unit_files), QUARANTINE)
    reasons = pc.value_counts(name_reasons(faulty))
    return work.shards.enter(
        str(shard),
        {
            "shard": shard,
            "scored": len(records),
            "quarantined": len(faulty),
            "reasons": {item["values"]: item["counts"] for item in reasons.to_pylist()},
            "subjects": len(scores) // len(work.territories),
        },
    )


def sort_placements(placements: pa.Table) -> pa.Table:
    """Placements by subject and record. Distinct subjects are sorted first, which takes a third of the time."""
    subjects = placements.column("subject_id").combine_chunks().dictionary_encode()
    rank = np.empty(len(subjects.dictionary), np.int64)
    rank[pc.array_sort_indices(subjects.dictionary).to_numpy()] = np.arange(len(rank))
    ranked = placements.append_column("rank", pa.array(rank[subjects.indices.to_numpy()]))
    return ranked.sort_by([("rank", "ascending"), ("record_id", "ascending")]).drop_columns("rank")


def decide(scores: pa.Table, faulty: pa.Table, job: Job) -> pa.Table:
    """Scores with their tier. A subject of which a record could not be used is never quietly kept: it is reviewed."""
    tiers = assign_tiers(scores.column("probability"), scores.column("evidence_class"), job.policy)
    incomplete = pc.is_in(scores.column("subject_id"), pc.unique(faulty.column("subject_id")))
    reviewed = pc.if_else(pc.and_(incomplete, pc.equal(tiers, "keep")), "review", tiers)
    return scores.append_column("tier", reviewed).select(SCORES.names)


def name_reasons(faulty: pa.Table) -> pa.Array:
    """What an auditor reads of the fault of each record."""
    return pa.array([fault.reason for fault in Fault]).take(pa.array(column(faulty, "fault")))


def quarantine_rows(faulty: pa.Table, unit_files: pa.Array) -> pa.Table:
    """Rows of `QUARANTINE` for records that cannot be used; `unit_files` names the file of every unit."""
    return pa.table(
        {
            **{name: faulty.column(name) for name in ("record_id", "face_id", "subject_id")},
            "stage": pa.repeat("score", len(faulty)),
            "reason": name_reasons(faulty),
            "file": unit_files.take(pa.array(column(faulty, "unit"))),
            "row": faulty.column("row"),
        }
    )


def write_part(path: Path, table: pa.Table, schema: pa.Schema, *, repeating: bool = True) -> None:
    """Write one part of an output, replaced atomically, with exactly `schema`.

    Where values are not `repeating`, as ids are not, a dictionary of them costs more than it saves. Statistics would
    let no reader skip anything: subjects are cut into parts by hash, so every part has ids and scores of all kinds.
    """
    table = table.select(schema.names).cast(schema)
    with replacing(path) as aside:
        pq.write_table(table, aside, compression="zstd", use_dictionary=repeating, write_statistics=False)
