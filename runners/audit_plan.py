"""The plan of an audit: what the auditor decides, and what follows from it and from the scores, before the draw."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scipy import stats

from classifiers.elusion import SPLIT, Labelled, accept_number, allocate, judge_labels, labels_needed, predict
from pipelines.audit import scores_root
from runners.stages import Session
from schemas.audits import GROUPS, AuditPlan, JurisdictionPlan, Stratum
from schemas.errors import InputError, ManifestError
from schemas.jurisdictions import find_jurisdiction
from schemas.manifests import Manifest

ALLOCATION = (
    "of all splits of n in twentieths over missed, erase and review, one at least for each, the one whose lower bound "
    "of recall is highest as the model expects residents; what a small group cannot take goes to the others"
)
_FEWEST = 20


@dataclass(frozen=True)
class AuditOptions:
    """What the auditor decides before anything is drawn.

    `n` subjects are drawn for each jurisdiction, many of them for several. `confidence` is that of all verdicts
    together. `sensitivity` is a lower bound of the chance that the annotators recognise a resident.
    """

    n: int
    seed: int
    target_recall: float = 0.95
    confidence: float = 0.95
    target_precision: float | None = None
    sensitivity: float = 1.0

    def check(self) -> None:
        """Raise an InputError for what cannot be meant."""
        problems = (
            (self.n < _FEWEST, f"n is {self.n}; at least {_FEWEST} are needed, in practice thousands"),
            (self.seed < 0, f"the seed is {self.seed}; it must be 0 or more"),
            (not 0 < self.target_recall < 1, f"the recall is {self.target_recall}; it must lie between 0 and 1"),
            (not 0.5 < self.confidence < 1, f"the confidence is {self.confidence}; it must lie between 0.5 and 1"),
            (
                self.target_precision is not None and not 0 < self.target_precision < 1,
                f"the precision is {self.target_precision}; it must lie between 0 and 1",
            ),
            (not 0 < self.sensitivity <= 1, f"the sensitivity is {self.sensitivity}; it must lie above 0, up to 1"),
        )
        for found, problem in problems:
            if found:
                raise InputError(problem)


def make_plan(
    session: Session, manifests: Mapping[str, Manifest], reports: Mapping[str, Mapping[str, Any]], options: AuditOptions
) -> AuditPlan:
    """The plan for these options, from the counted shards."""
    scored = session.state.finished("score") or {}
    counts: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for report in reports.values():
        for row in report["strata"]:
            counts.setdefault((row["jurisdiction"], row["tier"], row["evidence_class"]), []).append(row)
    strata = {
        name: tuple(
            Stratum(
                tier=tier,
                evidence_class=evidence_class,
                population=sum(row["count_all"] for row in rows),
                expected=round(math.fsum(row["probability_sum"] for row in rows), 6),
            )
            for (jurisdiction, tier, evidence_class), rows in sorted(counts.items())
            if jurisdiction == name
        )
        for name in manifests
    }
    if any(sum(stratum.population for stratum in of) != scored.get("subjects") for of in strata.values()):
        raise ManifestError("out/scores/ holds other subjects than were scored; `lethe run` scores them anew")
    delta = (1 - options.confidence) / len(manifests)
    return AuditPlan(
        run_id=str(session.state.run_id),
        config_digest=session.job.digest,
        model_digest=session.model.digest,
        input_digest=session.inventory.digest,
        scores=scores_root(reports),
        subjects=scored["subjects"],
        quarantined=scored["quarantined"],
        n=options.n,
        seed=options.seed,
        target_recall=options.target_recall,
        target_precision=options.target_precision,
        confidence=options.confidence,
        sensitivity=options.sensitivity,
        delta=delta,
        split=SPLIT,
        allocation=ALLOCATION,
        jurisdictions={name: _plan_jurisdiction(session, name, of, delta, options) for name, of in strata.items()},
    )


def _plan_jurisdiction(
    session: Session, name: str, strata: tuple[Stratum, ...], delta: float, options: AuditOptions
) -> JurisdictionPlan:
    written = session.state.finished("manifests") or {}
    bare = JurisdictionPlan(
        territory=find_jurisdiction(name).territory,
        manifest=written[name],
        strata=strata,
        drawn={},
        accept=None,
        chance_of_passing=0,
    )
    populations, residents = bare.populations, bare.expected
    drawn = allocate(populations, residents, options.n, delta, options.sensitivity)
    _refuse_hopeless(name, populations, drawn, delta, options)
    predicted = predict(populations, residents, drawn)
    accept = accept_number(predicted, options.target_recall, delta, options.sensitivity)
    share = residents["missed"] / max(populations["missed"], 1)
    chance = 0.0 if accept is None else float(stats.binom.cdf(accept, drawn["missed"], share))
    return bare.model_copy(update={"drawn": drawn, "accept": accept, "chance_of_passing": round(chance, 4)})


def _refuse_hopeless(
    name: str, populations: Mapping[str, int], drawn: Mapping[str, int], delta: float, options: AuditOptions
) -> None:
    """Raise an InputError if not even the best labels could reach the target: then nobody should start to label."""
    best = {
        group: Labelled(populations[group], drawn[group], 0 if group == "missed" else drawn[group]) for group in GROUPS
    }
    least = judge_labels(best, delta, options.sensitivity).recall_least
    if least < options.target_recall:
        needed = labels_needed(best, options.target_recall, delta, options.sensitivity)
        raise InputError(
            f"{name}: with n = {options.n} even an audit that finds nothing missed shows a recall of {least:.3f} only, "
            f"not {options.target_recall}; "
            + (f"at least {needed} are needed" if needed else "no number of labels would be enough")
        )
