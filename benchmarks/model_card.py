"""Measures the residence model on simulated people and writes docs/model-card.md.

    .venv/bin/python benchmarks/model_card.py [--subjects 20000] [--out docs/model-card.md]

The text is `model_card_template.md`; every figure in it is measured by this run, through the commands a user has:
the demo of seed 11 is scored with the model that ships, a model is estimated from it without labels, and it is scored
again. The people of `tests/mover_world.py` are scored by the residence model alone.
"""

import argparse
import contextlib
import dataclasses
import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # the worlds of the tests

from classifiers.model import ResidenceModel, load_model  # noqa: E402
from classifiers.residence import score_subjects  # noqa: E402
from runners.cli import main as lethe  # noqa: E402
from runners.demo import write_demo  # noqa: E402
from schemas.countries import COUNTRIES  # noqa: E402
from schemas.jurisdictions import find_jurisdiction  # noqa: E402
from tests.mover_world import MIXED, draw_world, with_residents  # noqa: E402

SEED = 11
JURISDICTIONS = ("uk", "fr", "it")
ERASE_AT, REVIEW_AT = 0.95, 0.05


def call(*arguments: object) -> dict[str, Any]:
    """Run one command of lethe; returns its summary."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = lethe([*map(str, arguments), "--json"])
    if code:
        raise SystemExit(f"lethe {arguments[0]} ended with {code}")
    summary: dict[str, Any] = json.loads(said.getvalue())
    return summary


def measure_demo(folder: Path, subjects: int) -> dict[str, Any]:
    """The demo scored with the shipped model and with one estimated from it, and what the estimate says."""
    demo = write_demo(folder / "demo", subjects, SEED)
    job, truth = demo.folder / "job.toml", demo.folder / "truth.parquet"
    call("plan", job)
    shipped = call("evaluate", job, "--truth", truth)["evaluation"]
    estimate = call("estimate", job, "--out", demo.folder / "model.json")["estimate"]
    job.write_text(job.read_text().replace("[policy]\n", '[model]\npath = "model.json"\n\n[policy]\n', 1))
    call("plan", job)
    estimated = call("evaluate", job, "--truth", truth)["evaluation"]
    return {"shipped": shipped, "estimated": estimated, "estimate": estimate, "records": demo.records}


def measure_kinds(model: ResidenceModel, subjects: int) -> list[dict[str, Any]]:
    """How people of each kind in a world of movers, tourists and households are judged, for GB, FR and IT together."""
    prior = with_residents(model, {"GB": 0.08, "FR": 0.08, "IT": 0.08})
    world = dataclasses.replace(model, prior=prior, second=0.0, stay=0.0, move=0.0)
    evidence, people = draw_world(world, subjects, MIXED, np.random.default_rng(SEED), loyal=0.7)
    territories = {name: find_jurisdiction(name).territory for name in JURISDICTIONS}
    scores = score_subjects(evidence, dataclasses.replace(model, prior=prior), territories)
    drawn = np.array(scores.column("subject_id").to_pylist()[:: len(territories)], int)
    chance = scores.column("probability").to_numpy().reshape(len(drawn), -1)
    homes, kinds = np.array(COUNTRIES)[people.home[drawn]], people.kind[drawn]
    resident = np.stack([np.isin(homes, codes) for codes in territories.values()], axis=1)
    return [_judge_kind(kind, chance[kinds == kind], resident[kinds == kind]) for kind in MIXED]


def _judge_kind(kind: str, chance: np.ndarray, resident: np.ndarray) -> dict[str, Any]:
    erased, flagged = chance >= ERASE_AT, chance >= REVIEW_AT
    return {
        "kind": kind.replace("_", " "),
        "residents": int(resident.sum()),
        "erased": int(erased.sum()),
        "wrongly": int((erased & ~resident).sum()),
        "expected": float((1 - chance[erased]).sum()),
        "erase_recall": float((erased & resident).sum() / resident.sum()),
        "flag_recall": float((flagged & resident).sum() / resident.sum()),
    }


def main() -> None:
    """Measure, and write the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", type=int, default=20_000)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "model-card.md")
    args = parser.parse_args()
    model = load_model()
    document = json.loads((ROOT / "classifiers" / "data" / "model.json").read_text())
    with tempfile.TemporaryDirectory() as folder:
        demo = measure_demo(Path(folder), args.subjects)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # Markdown
        keep_trailing_newline=True,
    )
    card = environment.get_template("model_card_template.md").render(
        model=document,
        digest=model.digest,
        demo=demo,
        kinds=measure_kinds(model, args.subjects),
        subjects=args.subjects,
        seed=SEED,
        names={name: find_jurisdiction(name).name for name in JURISDICTIONS},
    )
    args.out.write_text(card, encoding="utf-8")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
