"""The stages of a job as the command line runs them: what to start with, what to run, what to write down."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa

from classifiers.model import ResidenceModel, load_model
from pipelines.check import CheckParts, judge_parts, load_manifests, parts_to_check
from pipelines.forks import forked
from pipelines.inventory import Inventory, as_first_read, take_inventory
from pipelines.ledger import Ledger
from pipelines.plan import PlanWork, WriteEntries, write_manifests
from pipelines.purge import rewritten_files
from pipelines.score import ScoreRecords, ScoreWork, write_part
from runners.engine import choose_engine, processes_of, run_pipeline, threads_that_wait_for
from runners.progress import showing
from runners.state import RunState, name_run
from schemas.errors import LetheError
from schemas.files import digest_file, remove_temporaries
from schemas.job import Job
from schemas.jurisdictions import find_jurisdiction
from schemas.manifests import Manifest, load_manifest
from schemas.quarantine import QUARANTINE, Fault


@dataclass(frozen=True)
class Session:
    """One call of the command line: the job, what goes to Beam, and the state it works on."""

    job: Job
    state: RunState
    beam_options: Sequence[str] = field(default=())

    @classmethod
    def start(cls, job: Job, beam_options: Sequence[str]) -> "Session":
        """A session on the job's output folder, which must be held by `only_one`; the options are checked."""
        choose_engine(beam_options)
        return cls(job, RunState(job.out), beam_options)

    def run(
        self, label: str, build: Callable[[beam.Pipeline], object], done: Ledger, total: int, *more_options: str
    ) -> None:
        """Run one pipeline with its progress shown."""
        with showing(label, done, total):
            run_pipeline(build, [*self.beam_options, *more_options])

    @cached_property
    def model(self) -> ResidenceModel:
        """The model that the job names, or the one that ships."""
        return load_model(self.job.path(self.job.model.path) if self.job.model.path else None)

    @cached_property
    def inventory(self) -> Inventory:
        """The job's input, checked; files that a purge of this job rewrote count as they were first read."""
        found = take_inventory(self.job.source, self.job.records.columns)
        saved = self.state.out / "work" / str(self.state.run_id) / "inventory.json"
        if not saved.is_file():
            return found
        return as_first_read(found, Inventory.load(saved), rewritten_files(self.state.receipts))

    @cached_property
    def digests(self) -> dict[str, Any]:
        """Of all that decides the result."""
        signals = self.job.signals
        databases = {"geoip": signals.geoip, "anonymous_ip": signals.anonymous_ip}
        return {
            "config_digest": self.job.digest,
            "model_digest": self.model.digest,
            "input_digest": self.inventory.digest,
            "databases": {
                name: digest_file(self.job.path(path))
                for name, path in databases.items()
                if path and self.job.path(path).is_file()  # one that is not there is told when it is opened
            },
        }

    @property
    def run_folder(self) -> Path:
        """What the run that `out` holds remembers."""
        return self.job.out / "work" / str(self.state.run_id)

    @cached_property
    def work(self) -> ScoreWork:
        """The scoring to be done, named by job, model and input."""
        run_id = name_run(self.digests)
        territories = {name: find_jurisdiction(name).territory for name in self.job.job.jurisdictions}
        return ScoreWork(self.job, territories, self.inventory.rows, self.job.out / "work" / run_id)


def score(session: Session) -> dict[str, Any]:
    """Score all records, unless just this was done before; returns the counts, which add up."""
    job, state, work = session.job, session.state, session.work
    state.begin(work.folder.name, session.digests)
    if done := state.finished("score"):
        return done
    remove_temporaries(job.out)
    session.inventory.save(work.folder / "inventory.json")
    work.load()  # a database that cannot be read stops the job here, before any work
    units = sum(1 for _ in session.inventory.units())
    with forked(min(processes_of(session.beam_options), units)) as processes:
        session.run(
            "score",
            lambda pipeline: pipeline | beam.Create([None]) | ScoreRecords(work),
            work.units,
            units,
            *threads_that_wait_for(processes),
        )
    report = add_up(work)
    quarantine_files(work)
    shutil.rmtree(work.folder / "spill", ignore_errors=True)
    state.record(score=report)
    return report


def add_up(work: ScoreWork) -> dict[str, Any]:
    """The counts of all shards; a LetheError unless every record read was scored or quarantined."""
    shards = work.shards.entries().values()
    reasons: dict[str, int] = {}
    for shard in shards:
        for reason, count in shard["reasons"].items():
            reasons[reason] = reasons.get(reason, 0) + count
    report = {
        "files": len(work.inventory.files),
        "unreadable_files": sum(1 for file in work.inventory.files if file.fault),
        "read": work.inventory.rows,
        "scored": sum(shard["scored"] for shard in shards),
        "quarantined": sum(shard["quarantined"] for shard in shards),
        "reasons": dict(sorted(reasons.items())),
        "subjects": sum(shard["subjects"] for shard in shards),
    }
    if report["read"] != report["scored"] + report["quarantined"]:
        raise LetheError(
            f"{report['read']} records were read, {report['scored']} scored and {report['quarantined']} quarantined: "
            "the sum does not fit, so nothing of this run can be relied on"
        )
    return report


def quarantine_files(work: ScoreWork) -> None:
    """Write down the files that could not be opened: one row each, since nobody knows their records."""
    unreadable = [file for file in work.inventory.files if file.fault]
    if unreadable:
        rows = [
            {"stage": "read", "reason": f"{Fault.UNREADABLE_FILE.reason} ({file.fault})", "file": file.name}
            for file in unreadable
        ]
        write_part(
            work.job.out / "quarantine" / "files.parquet",
            pa.Table.from_pylist(rows, schema=QUARANTINE),
            QUARANTINE,
        )


def plan(session: Session, anew: bool = False) -> dict[str, Manifest]:
    """The manifests of a scored job, written if they are not there yet, or `anew`; all their digests are checked."""
    scored, state = score(session), session.state
    if anew or not state.finished("manifests"):
        work = PlanWork(session.work, str(state.run_id), session.digests, scored["quarantined"])
        shutil.rmtree(work.shards.folder, ignore_errors=True)
        shards = [int(name) for name in session.work.shards.entries()]
        session.run(
            "plan",
            lambda pipeline: pipeline | beam.Create(shards) | WriteEntries(work),
            work.shards,
            len(shards),
        )
        write_manifests(work.shards.entries().values(), work)
        files = {name: work.manifest_folder(name) / "manifest.json" for name in session.job.job.jurisdictions}
        state.record(manifests={name: digest_file(file) for name, file in files.items()})
    return checked_manifests(session)


def checked_manifests(session: Session) -> dict[str, Manifest]:
    """The manifests, after every digest of them was checked again. Raises ManifestError."""
    manifests = load_manifests(session.job, session.model.digest, session.state.finished("manifests") or {})
    reports = Ledger(session.job.out / "work" / "check")
    shutil.rmtree(reports.folder, ignore_errors=True)
    parts = list(parts_to_check(manifests, session.job.out / "manifests", reports.folder))
    session.run("check", lambda pipeline: pipeline | beam.Create(parts) | CheckParts(), reports, len(parts))
    judge_parts(manifests, reports.entries())
    return manifests


def summary(session: Session) -> dict[str, Any]:
    """What a command has to say: the content of `run.json`, and the numbers of the manifests."""
    out = session.job.out
    written = session.state.finished("manifests") or {}
    manifests = {name: load_manifest(out / "manifests" / name) for name in written}
    shown = ("entries", "kept", "quarantined", "records", "subjects", "expected", "policy")
    return {
        **session.state.content,
        "jurisdictions": {
            name: manifest.model_dump(mode="json", include=set(shown)) for name, manifest in manifests.items()
        },
        "out": str(out),
        **({"report": str(out / "report.html")} if (out / "report.html").is_file() else {}),
    }


def evaluate(session: Session, truth: Path) -> None:
    """Measure the scores against `truth`, and write the page anew if the manifests are there."""
    _measure(session, truth)
    if session.state.finished("manifests"):
        report(session)


def _measure(session: Session, truth: Path) -> None:
    from runners.evaluate import evaluate_run  # brings SciPy, half a second that scoring should not wait for

    evaluate_run(session.job, session.state, truth)


def report(session: Session) -> None:
    """Write the page, first of all evaluating the run if the job names the truth and nobody has done so."""
    from runners.report import write_report  # brings SciPy, too

    job = session.job
    if job.truth and not session.state.finished("evaluation"):
        _measure(session, job.path(job.truth.path))
    manifests = {name: load_manifest(session.job.out / "manifests" / name) for name in session.job.job.jurisdictions}
    write_report(session.job, session.state.content, manifests)
