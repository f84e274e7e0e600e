"""The stages that destroy and that prove it: purge and verify, as the command line runs them."""

import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import apache_beam as beam

from pipelines.baseline import BaselineWork
from pipelines.ledger import Ledger
from pipelines.purge import LocateUnits, PurgeUnits, PurgeWork, key_column, sum_up, write_keys
from pipelines.verify import CheckStore, VerifyWork, judge, list_pieces
from runners.approval import require_approvals
from runners.stages import Session
from schemas.errors import ExitCode, InputError, ManifestError
from schemas.files import write_json
from schemas.job import StoreSection
from schemas.manifests import Manifest
from stores.audit.verdict import StoreVerdict
from stores.contract import now
from stores.keys import KeySet


def purge(session: Session, manifests: Mapping[str, Manifest], execute: bool) -> ExitCode:
    """Destroy what the manifests say is to be erased, or without `execute` count what that would be.

    Raises:
        InputError: the job names no store, or one that cannot be used.
        ManifestError: the manifests are those of another input, or not approved though the policy says they must be.

    """
    job, state = session.job, session.state
    if execute and not job.stores:
        raise InputError("the job file names no [[store]], so there is nothing that could be erased")
    if any(manifest.input_digest != session.inventory.digest for manifest in manifests.values()):
        raise ManifestError("the records have changed since the manifests were written; nothing was touched")
    if execute and job.policy.require_approval:
        require_approvals(job)
    before = state.finished("purge")
    if not execute and before and before["executed"]:
        return ExitCode.DONE
    works = store_works(session, manifests)
    # Every store is looked into before the first is touched: a mistake in the job file must not stop half-way.
    stores = {name: _each_unit(session, work, "locate", LocateUnits(work)) for name, work in works.items()}
    if execute:
        for work in works.values():
            work.open_store().janitor(work.receipts)
        stores = {name: _each_unit(session, work, "purge", PurgeUnits(work)) for name, work in works.items()}
    faces = len(KeySet.open(_keys_file(session, "face_id")))
    state.record(purge={"executed": execute, "faces": faces, "stores": stores})
    refused = any(store["conflicts"] or store["unreadable"] or store["uncompacted"] for store in stores.values())
    return ExitCode.FAILED if refused and execute else ExitCode.DONE


def _each_unit(session: Session, work: PurgeWork, label: str, transform: beam.PTransform) -> dict[str, Any]:
    """Run one step over all units of a store; returns what their receipts come to."""
    shutil.rmtree(work.located.folder, ignore_errors=True)
    session.run(f"{label} {work.name}", _apply(transform), work.located, work.open_store().describe().units)
    return sum_up(work.located.entries().values(), work.section)


def store_works(session: Session, manifests: Mapping[str, Manifest]) -> dict[str, PurgeWork]:
    """What is to be done in each store, with the keys to remove written down."""
    job, folder = session.job, session.run_folder
    for column in sorted({key_column(store, job) for store in job.stores.values()} | {"face_id"}):
        write_keys(manifests, job.out / "manifests", column, _keys_file(session, column))
    return {
        name: PurgeWork(
            name=name,
            section=job.locate(section),
            keys_file=_keys_file(session, key_column(section, job)),
            receipts=session.state.receipts / name,
            located=Ledger(folder / "located" / name),
            baseline=_baseline_work(session, name, section),
        )
        for name, section in job.stores.items()
    }


def verify(session: Session, manifests: Mapping[str, Manifest], finish: bool = False) -> ExitCode:
    """Examine every store after an executed purge and write `verification.json`.

    With `finish`, the audit key and the fingerprints are destroyed once every store has passed: the verdicts then
    stand, and can be repeated by nobody, not even lethe.

    Raises:
        InputError: no purge was executed.

    """
    state = session.state
    purged = state.finished("purge")
    if not purged or not purged["executed"]:
        raise InputError("no purge was executed, so there is nothing to verify; `lethe purge JOB --execute` destroys")
    if not state.finished("finished"):
        verdicts = {
            name: (_verify_store(session, manifests, name, store), now()) for name, store in session.job.stores.items()
        }
        write_json(
            session.job.out / "verification.json",
            {
                "run_id": state.run_id,
                "stores": {name: {**verdict.to_json(), "verified_at": at} for name, (verdict, at) in verdicts.items()},
            },
        )
        outlines = {name: {**_outline(verdict), "verified_at": at} for name, (verdict, at) in verdicts.items()}
        state.record(verification={"stores": outlines})
    passed = all(store["passed"] for store in state.content["verification"]["stores"].values())
    if finish and passed:
        shutil.rmtree(session.run_folder / "secret", ignore_errors=True)
        state.record(finished=True)
    return ExitCode.DONE if passed else ExitCode.NOT_VERIFIED


def _verify_store(
    session: Session, manifests: Mapping[str, Manifest], name: str, section: StoreSection
) -> StoreVerdict:
    root = session.job.out / "manifests"
    work = VerifyWork(
        name=name,
        baseline=_baseline_work(session, name, section),
        parts=tuple(root / folder / part.name for folder, manifest in manifests.items() for part in manifest.parts),
        column=key_column(section, session.job),
        checks=Ledger(session.run_folder / "checks" / name),
        scratch=session.run_folder / "control",
        attempt=uuid.uuid4().hex,
    )
    shutil.rmtree(work.checks.folder, ignore_errors=True)
    total = sum(1 for _ in list_pieces(None, work))
    session.run(f"verify {name}", _apply(CheckStore(work)), work.checks, total)
    return judge(work)


def _outline(verdict: StoreVerdict) -> dict[str, Any]:
    """What `run.json`, the page and the terminal say about one store; all of it is in `verification.json`."""
    lost = verdict.survivors_before.rows - verdict.survivors_after.rows
    control = verdict.control
    return {
        "verdict": str(verdict.status),
        "rows": str(verdict.rows),
        "passed": verdict.passed,
        "reasons": list(verdict.reasons[:20]),
        "files": verdict.files,
        "rows_lost": max(lost, 0),
        "residue": sum(finding.count for finding in verdict.findings),
        "control": {"planted": control.planted, "found": control.found} if control else {"planted": 0, "found": 0},
    }


def _baseline_work(session: Session, name: str, section: StoreSection) -> BaselineWork:
    folder = session.run_folder
    return BaselineWork(session.job.locate(section), Ledger(folder / "baseline" / name), folder / "secret")


def _keys_file(session: Session, column: str) -> Path:
    return session.run_folder / "keys" / f"{column}.arrow"


def _apply(transform: beam.PTransform) -> Callable[[beam.Pipeline], object]:
    return lambda pipeline: pipeline | beam.Create([None]) | transform
