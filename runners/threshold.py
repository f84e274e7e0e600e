"""`lethe threshold`: the review threshold that misses no more than allowed, from labelled residents (QBCB)."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from classifiers.agreement import Reading, label_codes, read_codes
from classifiers.bounds import residents_needed, threshold_rank
from pipelines.spill import shard_of
from runners.stages import Session
from schemas.errors import InputError
from schemas.hashing import hash_strings
from schemas.labels import read_labels

_COLUMNS = ["subject_id", "jurisdiction", "probability", "evidence_class"]


def threshold(session: Session, labels: Path, recall: float, confidence: float) -> dict[str, Any]:
    """The `review_at` that flags a share `recall` of residents with `confidence`, per jurisdiction and for the policy.

    The labels must be of a uniform random sample, of all subjects or of residents. The guarantee is about residents of
    whom there is evidence: what becomes of the others, no threshold decides.

    Raises:
        InputError: nothing is scored, or the labels cannot be used or are those of the audit.

    """
    for name, value in (("recall", recall), ("confidence", confidence)):
        if not 0 < value < 1:
            raise InputError(f"the {name} is {value}; it must lie between 0 and 1")
    if not session.state.finished("score") or session.work.folder.name != session.state.run_id:
        raise InputError("the job as it is now has not been scored; run `lethe score` first")
    table = read_labels(labels)
    subjects = pc.unique(table.column("subject_id"))
    _refuse_audit_sample(session, subjects)
    scores = find_scores(session, subjects)
    codes = label_codes(subjects, table)
    jurisdictions = {}
    for name, territory in session.work.territories.items():
        mine = scores.filter(pc.equal(scores.column("jurisdiction"), name)).combine_chunks()
        at = pc.index_in(mine.column("subject_id"), subjects).to_numpy()
        jurisdictions[name] = certify(mine, read_codes(codes, territory)[at], recall, 1 - confidence)
    found = [each["review_at"] for each in jurisdictions.values()]
    review_at = None if None in found else min([*found, session.job.policy.erase_at])
    return {
        "threshold": {
            "recall": recall,
            "confidence": confidence,
            "labelled": len(subjects),
            "not_scored": len(subjects) - len(pc.unique(scores.column("subject_id"))),
            "insufficient_evidence": session.job.policy.insufficient_evidence,
            "jurisdictions": jurisdictions,
            "review_at": review_at,
            "policy": None if review_at is None else f"review_at = {review_at!r}",
        }
    }


def _refuse_audit_sample(session: Session, subjects: pa.Array) -> None:
    """Raise an InputError if these are the labels of the audit, whose sample is anything but uniform."""
    file = session.job.out / "audit" / "sample.parquet"
    if file.is_file() and pc.all(pc.is_in(subjects, pq.read_table(file).column("subject_id"))).as_py():
        raise InputError(
            "all of these labels are of the audit's sample, which has more of some tiers than of others; a threshold "
            "needs labels of a uniform random sample"
        )


def find_scores(session: Session, subjects: pa.Array) -> pa.Table:
    """The scores of these subjects, read from the shards they are in alone.

    Raises:
        InputError: none of them was scored.

    """
    shards = np.unique(shard_of(hash_strings(subjects), session.work.shard_count))
    files = [session.work.output("scores", int(shard)) for shard in shards]
    wanted = pc.field("subject_id").isin(subjects)
    tables = [pq.read_table(file, columns=_COLUMNS, filters=wanted) for file in files if file.is_file()]
    scores = pa.concat_tables(tables) if tables else None
    if scores is None or not len(scores):
        raise InputError("none of the labelled subjects was scored; are the labels of another database?")
    return scores


def certify(scores: pa.Table, readings: "np.typing.NDArray[np.int64]", recall: float, delta: float) -> dict[str, Any]:
    """QBCB for one jurisdiction, from the scores of labelled subjects and the `Reading` of each, shape `(rows,)`.

    `review_at` is None while there are too few residents; `more_residents` says how many more would do, and
    `more_labels` about how many more labels that is, None while no resident has been found.
    """
    resident = readings == Reading.RESIDENT
    evident = pc.not_equal(scores.column("evidence_class"), "none").to_numpy()
    probability = scores.column("probability").to_numpy()
    ranked = np.sort(probability[resident & evident])[::-1]
    rank = threshold_rank(len(ranked), recall, delta)
    review_at = float(ranked[rank - 1]) if rank else None
    told = np.isin(readings, (Reading.RESIDENT, Reading.ELSEWHERE))
    more = 0 if rank else residents_needed(recall, delta) - len(ranked)
    return {
        "review_at": review_at or None,
        "reason": _reason(rank, review_at, len(ranked), more),
        "residents": len(ranked),
        "residents_without_evidence": int((resident & ~evident).sum()),
        "elsewhere": int((readings == Reading.ELSEWHERE).sum()),
        "cannot_tell": int((~told).sum()),
        "rank": rank,
        "misses_allowed": len(ranked) - rank if rank else None,
        "flagged_share": _share(probability[told & evident], review_at),
        "more_residents": more,
        "more_labels": math.ceil(more * told.sum() / len(ranked)) if len(ranked) else None,
    }


def _reason(rank: int | None, review_at: float | None, residents: int, more: int) -> str:
    if rank is None:
        return f"{residents} labelled residents with evidence are too few; {more} more are needed"
    if not review_at:
        return "the resident that decides it has a probability of 0; no threshold would flag that one"
    return f"the score of rank {rank} of {residents} labelled residents with evidence"


def _share(probability: "np.typing.NDArray[np.float64]", review_at: float | None) -> float | None:
    """About which share of the subjects with evidence the threshold would flag."""
    return round(float(np.mean(probability >= review_at)), 4) if review_at and len(probability) else None
