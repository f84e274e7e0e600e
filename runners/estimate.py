"""`lethe estimate`: a residence model for a job's own records, with labels or without."""

import shutil
from pathlib import Path
from typing import Any

import apache_beam as beam

from classifiers.estimate import estimate_model
from pipelines.estimate import MOST_SUBJECTS, CountHistories, EstimateWork, known_homes, read_counts
from pipelines.inventory import take_inventory
from pipelines.score import ScoreWork
from runners.stages import Session
from runners.state import name_run
from schemas.errors import InputError
from schemas.files import digest_file, remove_temporaries, write_json
from schemas.jurisdictions import find_jurisdiction


def estimate(session: Session, out: Path, labels: Path | None) -> dict[str, Any]:
    """Estimate a model from the job's records and write it to `out`; returns what a command has to say.

    The job's scores and manifests are left as they are: put `[model] path` into the job file to use the new model.
    `labels` are those of an audit, of a random sample of the subjects; one on whom two annotators do not agree, or
    whom they cannot tell, has none.

    Raises:
        InputError: labels that cannot be used, too few subjects, or fewer than three signals with coverage.

    """
    if out.is_dir():
        raise InputError(f"{str(out)!r} is a folder; name the file to write, for example {str(out / 'model.json')!r}")
    known = len(known_homes(labels)) if labels else 0
    job = session.job
    inventory = take_inventory(job.source, job.records.columns)
    digests = {**session.digests, "input_digest": inventory.digest, "labels": digest_file(labels) if labels else None}
    folder = job.out / "work" / f"estimate-{name_run(digests)}"
    for other in folder.parent.glob("estimate-*"):
        if other != folder:  # what was stopped halfway holds ids of people
            shutil.rmtree(other)
    territories = {name: find_jurisdiction(name).territory for name in job.job.jurisdictions}
    work = EstimateWork(ScoreWork(job, territories, inventory.rows, folder), labels.absolute() if labels else None)
    work.reading.sources()  # a database that cannot be read stops the job here, before any work
    remove_temporaries(folder)
    inventory.save(folder / "inventory.json")
    units = sum(1 for _ in inventory.units())
    session.run(
        "estimate", lambda pipeline: pipeline | beam.Create([None]) | CountHistories(work), work.reading.units, units
    )
    counted = read_counts(work)
    subjects = sum(counted["subjects"].to_pylist())
    origin = f"{subjects:,} subjects (all, or about {MOST_SUBJECTS:,} chosen by hash and the labelled)"
    found = estimate_model(counted, session.model, territories, origin)
    write_json(out, found.document)
    shutil.rmtree(folder)
    unmatched = known - found.report["labels"]
    return {"estimate": {"out": str(out), **found.report, "labels_without_subject": unmatched}}
