"""`lethe explain`: why one subject is, or is not, on each manifest; bar by bar, and episode by episode."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from classifiers.explain import episode_details, explain_sentence
from classifiers.gather import gather_evidence, name_subjects
from pipelines.inventory import read_unit
from pipelines.score import BATCH_ROWS
from runners.stages import Session
from schemas.errors import InputError
from schemas.evidence import EVIDENCE
from schemas.quarantine import Fault
from schemas.scores import SCORES


def explain_subject(session: Session, subject: str) -> dict[str, Any]:
    """The scores of a subject with their reasons and, while its records still exist, its episodes.

    Raises:
        InputError: nothing is scored yet, or there is no such subject.

    """
    folder = session.job.out / "scores"
    if not folder.is_dir():
        raise InputError("nothing is scored yet; run `lethe score` first")
    scores = pq.read_table(folder, schema=SCORES, filters=pc.field("subject_id") == subject)
    if not len(scores):
        raise InputError(
            "no subject of that id was scored; a record without a subject is called record:<record_id>, "
            "and what could not be used is in quarantine/"
        )
    reasons = explain_sentence(scores).to_pylist()
    jurisdictions = [{**row, "reason": reason} for row, reason in zip(scores.to_pylist(), reasons, strict=True)]
    for row in jurisdictions:
        del row["subject_id"]
    explanation: dict[str, Any] = {"subject": subject, "jurisdictions": jurisdictions}
    evidence = find_evidence(session, subject)
    if len(evidence):
        explanation["episodes"] = episode_details(evidence, session.model, session.work.territories).to_pylist()
    return explanation


def find_evidence(session: Session, subject: str) -> pa.Table:
    """The evidence of one subject's usable records, read again; empty once they are erased."""
    return pa.concat_tables([EVIDENCE.empty_table(), *_evidence(session, subject)]).filter(
        pc.field("fault") == Fault.NONE
    )


def _evidence(session: Session, subject: str) -> Iterator[pa.Table]:
    inventory, sources = session.inventory, session.work.sources()
    for unit in inventory.units():
        row = unit.first_row
        for batch in read_unit(inventory.root, unit, session.job.records.columns, BATCH_ROWS):
            mine = pc.equal(name_subjects(batch.column("subject_id"), batch.column("record_id")), subject).to_numpy(
                zero_copy_only=False
            )
            rows = np.flatnonzero(mine) + row
            row += len(batch)
            if len(rows):
                yield gather_evidence(batch.filter(pa.array(mine)), unit.index, rows, sources)
