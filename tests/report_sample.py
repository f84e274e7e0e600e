"""A finished run in small: scores, manifests and `run.json` that agree with each other, drawn with a seed."""

import datetime
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from runners.evaluate import write_evaluation
from runners.evaluation import Evaluation
from schemas.countries import COUNTRIES
from schemas.evidence import FAMILIES
from schemas.job import Job, load_job
from schemas.jurisdictions import find_jurisdiction
from schemas.manifests import Expectation, Manifest
from schemas.scores import EVIDENCE_CLASSES, SCORES, TIERS

NAMES = ("uk", "fr", "it")
QUARANTINED = 13


def write_job(folder: Path, stores: tuple[str, ...] = ("faces",), policy: str = "") -> Job:
    """A job file with Parquet stores of the given names, and the job it describes."""
    folder.mkdir(parents=True, exist_ok=True)
    sections = "".join(
        f'[[store]]\nkind = "parquet"\npath = "stores/{i}"\nholds = "vectors"\nname = {_toml(name)}\n'
        for i, name in enumerate(stores)
    )
    (folder / "job.toml").write_text(
        f'[records]\npath = "records/"\n[signals]\ngeoip = "places.mmdb"\n[policy]\n{policy}\n{sections}',
        encoding="utf-8",
    )
    return load_job(folder)


def _toml(text: str) -> str:
    return '"' + "".join(f"\\U{ord(char):08x}" for char in text) + '"'


def draw_scores(subjects: int, seed: int, hostile: str = "") -> pa.Table:
    """Scores of `subjects` in all of `NAMES`; every subject has one record. `hostile` is put into every free text."""
    random = np.random.default_rng(seed)
    rows = []
    for subject in range(subjects):
        home = random.choice([*NAMES, "elsewhere"], p=[0.06, 0.05, 0.04, 0.85])
        kind = str(random.choice(EVIDENCE_CLASSES, p=[0.6, 0.25, 0.15]))
        strength = {"rich": 9000, "poor": 3500, "none": 0}[kind]
        speaks = {family: kind != "none" and random.random() < 0.55 for family in FAMILIES}
        for name in NAMES:
            prior = -4500
            target = int(random.normal(strength if name == home else -strength, 2500)) if kind != "none" else 0
            talking = [family for family in FAMILIES if speaks[family]]
            bars = [
                {
                    "family": family,
                    "evidence": hostile if speaks[family] else "",
                    "weight_mb": target // len(talking) * 2 if speaks[family] else 0,
                    "n_records": int(speaks[family]),
                    "n_episodes": int(speaks[family]),
                    "null_reason": None if speaks[family] else ("not_found" if family == "network" else "absent"),
                    "rival": hostile or None,
                }
                for family in FAMILIES
            ]
            score = prior + sum(bar["weight_mb"] for bar in bars)
            probability = 1 / (1 + 2 ** (-score / 1000))
            tier = "erase" if probability >= 0.95 else "review" if probability >= 0.05 else "keep"
            rows.append(
                {
                    "subject_id": f"{hostile}person-{subject}",
                    "jurisdiction": name,
                    "probability": probability,
                    "tier": "insufficient" if kind == "none" else tier,
                    "evidence_class": kind,
                    "prior_mb": prior,
                    "score_mb": score,
                    "bars": bars,
                }
            )
    return pa.Table.from_pylist(rows, schema=SCORES)


def write_scores(job: Job, scores: pa.Table, parts: int = 2) -> None:
    """Write the scores in `parts` files."""
    folder = job.out / "scores"
    folder.mkdir(parents=True, exist_ok=True)
    step = -(-len(scores) // parts)
    for part in range(parts):
        pq.write_table(scores.slice(part * step, step), folder / f"scores-{part:05d}.parquet", row_group_size=100)


def evaluation_of(job: Job, scores: pa.Table) -> dict[str, Any]:
    """Write the `evaluation.json` of the scores, for people who live where the model says; what `run.json` notes."""
    random = np.random.default_rng(5)
    evaluation = Evaluation({name: find_jurisdiction(name) for name in NAMES})
    territory = {name: COUNTRIES.index(find_jurisdiction(name).territory[0]) for name in NAMES}
    homes: dict[str, int] = {}
    for row in scores.to_pylist():
        if random.random() < row["probability"]:
            homes[row["subject_id"]] = territory[row["jurisdiction"]]
    abroad = COUNTRIES.index("BE")
    country = np.array([homes.get(one, abroad) for one in scores.column("subject_id").to_pylist()], np.int16)
    for batch in scores.combine_chunks().to_batches():
        evaluation.add(batch, country)
    named = len(scores) // len(NAMES)
    truth = {"digest": "sha256:" + "6" * 64, "named": named + 4, "scored": named, "never_scored": 4, "unknown": 0}
    return write_evaluation(job.out, {"run_id": "3fa94c0be1d27756", "truth": truth}, evaluation)


def manifest_of(job: Job, scores: pa.Table, name: str, hostile: str = "") -> Manifest:
    """The manifest that belongs to the scores, one record a subject and `QUARANTINED` more."""
    jurisdiction = find_jurisdiction(name)
    mine = scores.filter(pc.equal(scores.column("jurisdiction"), name))
    subjects = {tier: pc.sum(pc.equal(mine.column("tier"), tier)).as_py() or 0 for tier in TIERS}
    return Manifest(
        run_id="3fa94c0be1d27756",
        jurisdiction=name,
        name=jurisdiction.name,
        territory=jurisdiction.territory,
        regulator=jurisdiction.regulator,
        order=jurisdiction.order + hostile,
        order_date=jurisdiction.order_date,
        deadline=jurisdiction.deadline or datetime.date(2026, 1, 1),
        source=jurisdiction.source,
        policy=job.policy.model_dump(mode="json"),
        policy_digest="sha256:" + "1" * 64,
        model_digest="sha256:" + "2" * 64,
        config_digest=job.digest,
        databases={"geoip": "sha256:" + "ab" * 32},
        input_digest="sha256:" + "3" * 64,
        records=len(mine) + QUARANTINED,
        entries={tier: subjects[tier] for tier in ("erase", "review", "insufficient")},
        kept=subjects["keep"],
        quarantined=QUARANTINED,
        subjects=subjects,
        expected={kind: _expectation(mine, kind) for kind in EVIDENCE_CLASSES},
        parts=(),
        merkle_root="4" * 64,
    )


def _expectation(scores: pa.Table, kind: str) -> Expectation:
    rows = [row for row in scores.to_pylist() if row["evidence_class"] == kind]

    def total(tiers: tuple[str, ...], wrong: bool = False) -> float:
        chosen = (row["probability"] for row in rows if row["tier"] in tiers)
        return round(math.fsum(1 - p if wrong else p for p in chosen), 6)

    return Expectation(
        subjects=len(rows),
        erased=sum(row["tier"] == "erase" for row in rows),
        wrongly_erased=total(("erase",), wrong=True),
        kept=sum(row["tier"] == "keep" for row in rows),
        missed=total(("keep",)),
        undecided=total(("review", "insufficient")),
    )


def run_of(job: Job, manifests: dict[str, Manifest], executed: bool = True, hostile: str = "") -> dict[str, Any]:
    """The `run.json` of a run that went well, up to its verification if `executed`."""
    records = manifests["fr"].records
    faces = sum(manifest.entries["erase"] for manifest in manifests.values())
    run: dict[str, Any] = {
        "run_id": "3fa94c0be1d27756",
        "config_digest": job.digest,
        "model_digest": "sha256:" + "2" * 64,
        "input_digest": "sha256:" + "3" * 64,
        "software": {"python": "3.11.9", "lethe": "0.1.0", "apache-beam": "2.77.0", "pyarrow": "25.0.1"},
        "score": {
            "files": 4,
            "unreadable_files": 0,
            "read": records,
            "scored": records - QUARANTINED,
            "quarantined": QUARANTINED,
            "reasons": {"face_id is null or empty" + hostile: 9, "latitude is outside -90..90": 4},
            "subjects": records - QUARANTINED,
        },
        "manifests": {name: "sha256:" + "5" * 64 for name in manifests},
        "purge": {
            "executed": executed,
            "faces": faces,
            "stores": {
                name: {
                    "kind": "parquet",
                    "holds": "vectors",
                    "files": 8,
                    "files_matched": 8,
                    "rows": records,
                    "rows_matched": faces,
                    "rows_removed": faces if executed else 0,
                    "rows_cleaned": faces if executed else 0,
                    "matched_at": "2026-11-22T08:00:00+00:00",
                    "removed_at": "2026-11-22T08:10:00+00:00" if executed else None,
                    "compacted_at": "2026-11-22T08:20:00+00:00" if executed else None,
                    "bytes": 41_200_000,
                    "bytes_to_rewrite": 38_000_000,
                    "conflicts": [],
                    "unreadable": [],
                    "uncompacted": [],
                }
                for name in job.stores
            },
        },
    }
    if executed:
        control = {"planted": 12, "found": 12}
        clean = {"verdict": "CLEAN", "reasons": [], "files": 8, "rows_lost": 0, "residue": 0, "control": control}
        clean["verified_at"] = "2026-11-22T08:30:00+00:00"
        run["verification"] = {"stores": {name: dict(clean) for name in job.stores}}
    return run
