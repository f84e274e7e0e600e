"""`lethe audit`: draw a blind sample to a plan that is fixed first, and judge what its labels show."""

import shutil
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.audit import AuditWork, CountStrata, Draw, DrawCandidates, assemble_sample, scores_root
from pipelines.score import write_part
from runners.audit_plan import AuditOptions, make_plan
from runners.audit_result import judge_agreement, judge_jurisdictions
from runners.stages import Session, checked_manifests
from schemas.audits import KEY, SAMPLE, AuditPlan, AuditResult, Seal, load_audit_file
from schemas.errors import InputError, ManifestError
from schemas.files import digest_file, write_json
from schemas.labels import read_labels
from schemas.manifests import Manifest


def draw_sample(session: Session, options: AuditOptions, register: bool = True) -> dict[str, Any]:
    """Fix the plan, then draw the sample to it; the same options again change nothing.

    Without `register` nothing is written: the summary says what the plan would be.

    Raises:
        InputError: the options make no sense, no labels could reach the target, or another audit is registered.
        ManifestError: the manifests are altered, or the records, the job file or the model have changed since.

    """
    options.check()
    manifests = _frozen_manifests(session)
    work = _audit_work(session)
    plan = make_plan(session, manifests, _count(session, work), options)
    folder = _folder(session)
    _refuse_another(folder, plan)
    if not register:
        return {"audit": {"registered": False, "plan": plan.model_dump(mode="json")}}
    write_json(folder / "plan.json", plan.model_dump(mode="json"))
    digest = digest_file(folder / "plan.json")
    draw = Draw.keyed_by(
        digest,
        {name: of.drawn for name, of in plan.jurisdictions.items()},
        {name: of.populations for name, of in plan.jurisdictions.items()},
    )
    sample, key = _draw(session, work, draw)
    write_part(folder / "sample.parquet", sample, SAMPLE)
    write_part(folder / "key.parquet", key, KEY)
    seal = Seal(plan=digest, sample=digest_file(folder / "sample.parquet"), key=digest_file(folder / "key.parquet"))
    write_json(folder / "seal.json", seal.model_dump())
    shutil.rmtree(work.folder, ignore_errors=True)
    sealed = digest_file(folder / "seal.json")
    if (session.state.finished("audit") or {}).get("seal") != sealed:
        session.state.record(audit={"seal": sealed})
    return {
        "audit": {
            "registered": True,
            "seal": sealed,
            "sample": str(folder / "sample.parquet"),
            "to_label": len(sample),
            "plan": plan.model_dump(mode="json"),
        }
    }


def judge_audit(session: Session, labels: Path, seal: str | None = None) -> dict[str, Any]:
    """Judge the labels of the sample and write `audit.json`; `verdict` is `pass`, `fail` or `inconclusive`.

    Args:
        session: the job's.
        labels: Parquet with `subject_id`, `country` and, where two people labelled, `annotator`.
        seal: the digest that the auditor wrote down when the sample was drawn, if it is to be checked.

    Raises:
        InputError: the labels cannot be used.
        ManifestError: the plan, the sample, its key, the model, a manifest or the scores have changed since the draw.

    """
    folder = _folder(session)
    plan, sealed = _sealed_plan(session, folder, seal)
    _refuse_changed(session, plan)
    sample, key = pq.read_table(folder / "sample.parquet"), pq.read_table(folder / "key.parquet")
    table = read_labels(labels)
    results, codes = judge_jurisdictions(plan, sample, key, table)
    verdicts = {result.verdict for result in results.values()}
    result = AuditResult(
        run_id=plan.run_id,
        seal=sealed,
        plan=digest_file(folder / "plan.json"),
        labels=digest_file(labels),
        verdict="fail" if "fail" in verdicts else "inconclusive" if "inconclusive" in verdicts else "pass",
        target_recall=plan.target_recall,
        target_precision=plan.target_precision,
        confidence=plan.confidence,
        sensitivity=plan.sensitivity,
        drawn=len(sample),
        labelled=len(pc.unique(table.column("subject_id"))),
        annotators=len(codes),
        agreement=judge_agreement(codes),
        quarantined=plan.quarantined,
        jurisdictions=results,
    )
    write_json(folder / "audit.json", result.model_dump(mode="json"))
    session.state.record(
        audit={"seal": sealed, "result": digest_file(folder / "audit.json"), "verdict": result.verdict}
    )
    return {"audit": result.model_dump(mode="json")}


def _folder(session: Session) -> Path:
    return session.job.out / "audit"


def _audit_work(session: Session) -> AuditWork:
    return AuditWork(session.work, session.run_folder / "audit")


def _shards(session: Session) -> list[int]:
    return [int(name) for name in session.work.shards.entries()]


def _frozen_manifests(session: Session) -> dict[str, Manifest]:
    """The manifests, if they and all that led to them are as they were written. Raises ManifestError."""
    if not session.state.finished("manifests"):
        raise ManifestError("there are no manifests to audit; run `lethe plan` first")
    manifests = checked_manifests(session)
    if session.work.folder.name != session.state.run_id:
        raise ManifestError("the records have changed since the manifests were written; run `lethe plan` again")
    return manifests


def _count(session: Session, work: AuditWork) -> dict[str, dict[str, Any]]:
    shutil.rmtree(work.counted.folder, ignore_errors=True)
    shards = _shards(session)
    session.run("count", lambda pipeline: pipeline | beam.Create(shards) | CountStrata(work), work.counted, len(shards))
    reports = work.counted.entries()
    shutil.rmtree(work.folder, ignore_errors=True)
    return reports


def _draw(session: Session, work: AuditWork, draw: Draw) -> tuple[pa.Table, pa.Table]:
    shutil.rmtree(work.drawn.folder, ignore_errors=True)
    shards = _shards(session)
    session.run(
        "draw", lambda pipeline: pipeline | beam.Create(shards) | DrawCandidates(work, draw), work.drawn, len(shards)
    )
    return assemble_sample(work, draw)


def _refuse_another(folder: Path, plan: AuditPlan) -> None:
    """Raise an InputError if another audit is registered: drawing until one passes would prove nothing."""
    if (folder / "plan.json").is_file() and load_audit_file(folder / "plan.json", AuditPlan) != plan:
        raise InputError(
            f"{str(folder)!r} holds an audit with another plan; it is not overwritten, for an audit repeated until it "
            "passes proves nothing. Keep it with its result: move the folder elsewhere, and say so, to begin another"
        )


def _sealed_plan(session: Session, folder: Path, expected: str | None) -> tuple[AuditPlan, str]:
    """The plan and the digest of its seal, if nothing that was sealed has changed. Raises ManifestError."""
    seal = load_audit_file(folder / "seal.json", Seal)
    sealed = digest_file(folder / "seal.json")
    recorded = (session.state.finished("audit") or {}).get("seal")
    files = {"plan.json": seal.plan, "sample.parquet": seal.sample, "key.parquet": seal.key}
    changed = [
        name for name, digest in files.items() if not (folder / name).is_file() or digest_file(folder / name) != digest
    ]
    problems = (
        (expected is not None and sealed != expected, f"seal.json is {sealed}, and not {expected}"),
        (sealed != recorded, "seal.json is not the one that was written when the sample was drawn"),
        (bool(changed), f"{' and '.join(changed)} changed since the sample was drawn"),
    )
    for found, problem in problems:
        if found:
            raise ManifestError(f"audit: {problem}; what such a sample shows is not the audit that was registered")
    return load_audit_file(folder / "plan.json", AuditPlan), sealed


def _refuse_changed(session: Session, plan: AuditPlan) -> None:
    """Raise a ManifestError if the model, a manifest or the scores are not those that the plan was made for."""
    manifests = _frozen_manifests(session)
    written = session.state.finished("manifests") or {}
    problems = (
        (plan.run_id != session.state.run_id, "the sample was drawn for another run"),
        (plan.model_digest != session.model.digest, "the model has changed since the sample was drawn"),
        (
            {name: of.manifest for name, of in plan.jurisdictions.items()}
            != {name: written[name] for name in manifests},
            "the manifests have changed since the sample was drawn",
        ),
        (plan.scores != scores_root(_count(session, _audit_work(session))), "the scores have changed since the draw"),
    )
    for found, problem in problems:
        if found:
            raise ManifestError(f"audit: {problem}; draw a new sample, and keep the old one")
