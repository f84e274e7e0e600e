"""`lethe evaluate`: the scores of a run against known countries of residence, in `out/evaluation.json`.

truth, shard by shard ──┐
scores, shard by shard ─┴─ counts ─ figures
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.score import ScoreWork
from pipelines.spill import shard_of
from runners.evaluation import SPREAD, Evaluation, Figures
from runners.state import RunState
from runners.truth import read_truth
from schemas.errors import InputError, LetheError
from schemas.files import digest_file, write_json
from schemas.hashing import hash_strings
from schemas.job import Job
from schemas.jurisdictions import find_jurisdiction

BATCH_ROWS = 65_536
_READ = ("subject_id", "jurisdiction", "tier", "evidence_class", "score_mb", "probability")
_BAR_LEAVES = (".family", ".evidence")


def evaluate_run(job: Job, state: RunState, truth: Path) -> None:
    """Compare the scores of the run with `truth`: all figures go to `out/evaluation.json`, the main ones to `run.json`.

    Args:
        job: the job that was scored.
        state: what `out` holds.
        truth: Parquet with `subject_id` and `country` (ISO alpha-2), one row a subject.

    Raises:
        InputError: nothing is scored, or the job has changed since; the truth cannot be used, or names nobody scored.

    """
    scored = state.finished("score")
    if not scored:
        raise InputError("nothing is scored yet; run `lethe score` first")
    if state.content["config_digest"] != job.digest:
        raise InputError("the job file has changed since it was scored; run `lethe score` first")
    work = ScoreWork(job, {}, scored["read"], job.out / "work" / str(state.run_id))
    spill = work.folder / "truth"
    try:
        counts, evaluation = _compare(work, truth, spill / "known.arrow")
    finally:
        shutil.rmtree(spill, ignore_errors=True)
    heading = {
        "run_id": state.run_id,
        "config_digest": job.digest,
        "model_digest": state.content["model_digest"],
        "truth": {"digest": digest_file(truth), **counts},
    }
    state.record(evaluation=write_evaluation(job.out, heading, evaluation))


def write_evaluation(out: Path, heading: Figures, evaluation: Evaluation) -> Figures:
    """Write `evaluation.json`; returns what `run.json` says of it: its digest, the counts, and the main figures."""
    jurisdictions = evaluation.figures()
    file = out / "evaluation.json"
    write_json(file, {**heading, "intervals": SPREAD, "jurisdictions": jurisdictions})
    counts = {name: count for name, count in heading["truth"].items() if name != "digest"}
    main = {name: _main_figures(figures["evidence"]) for name, figures in jurisdictions.items()}
    return {"digest": digest_file(file), **counts, "jurisdictions": main}


def _compare(work: ScoreWork, truth: Path, spill: Path) -> tuple[dict[str, int], Evaluation]:
    names = work.job.job.jurisdictions
    evaluation = Evaluation({name: find_jurisdiction(name) for name in names})
    named = scored = unknown = 0
    for shard, truths in enumerate(read_truth(truth, work.shard_count, spill)):
        seen = np.zeros(len(truths.country), np.bool_)
        for batch in _read_scores(work, shard):
            at = truths.find(batch.column("subject_id"))
            known = at >= 0
            seen[at[known]] = True
            first = pc.equal(batch.column("jurisdiction"), names[0]).to_numpy(zero_copy_only=False)
            unknown += int((first & ~known).sum())
            evaluation.add(batch.filter(pa.array(known)), truths.country[at[known]])
        named += len(seen)
        scored += int(seen.sum())
    if not scored:
        raise InputError(
            f"none of the {named:,} subjects of {truth.name} was scored; it must name subjects as the records do, "
            "and a record without a subject is called record:<record_id>"
        )
    return {
        "named": named,
        "scored": scored,
        "never_scored": named - scored,
        "unknown": unknown,
    }, evaluation


def _read_scores(work: ScoreWork, shard: int) -> Iterator[pa.RecordBatch]:
    """The scores of one shard, of the bars only what filters look at; a LetheError if they are of another shard."""
    file = work.output("scores", shard)
    if not file.is_file():
        return
    with pq.ParquetFile(file) as parquet:
        paths = [parquet.schema.column(i).path for i in range(len(parquet.schema))]
        leaves = [path for path in paths if path.startswith("bars.") and path.endswith(_BAR_LEAVES)]
        for batch in parquet.iter_batches(BATCH_ROWS, columns=[*_READ, *leaves]):
            subjects = hash_strings(batch.column("subject_id"))
            if (shard_of(subjects, work.shard_count) != shard).any():
                raise LetheError(f"{file.name} holds subjects that belong elsewhere; run `lethe score` again")
            yield batch


def _main_figures(evidence: Figures) -> Figures:
    """What a terminal has room for."""
    whole, rich = evidence["all"], evidence["rich"]
    rules: dict[str, Any] = {
        rule: {
            "flagged": found["flagged"],
            "precision": found["precision"]["value"],
            "recall": found["recall"]["value"],
            **({"equal": found["at_equal_recall"]["precision"]["value"]} if "at_equal_recall" in found else {}),
        }
        for rule, found in whole["rules"].items()
    }
    return {
        **{name: whole[name] for name in ("subjects", "residents", "auc", "brier", "ece")},
        "recall_rich": rich["rules"]["flag"]["recall"]["value"],
        "rules": rules,
    }
