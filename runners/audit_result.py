"""From the labels of an audit's sample to its verdict."""

import math
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy import stats

from classifiers.agreement import Codes, Reading, cohens_kappa, label_codes, read_codes
from classifiers.elusion import Findings, Labelled, accept_number, judge_labels, labels_needed
from schemas.audits import (
    GROUP_OF_TIER,
    GROUPS,
    Agreement,
    AuditPlan,
    JurisdictionPlan,
    JurisdictionResult,
    StratumResult,
    Verdict,
)
from schemas.errors import InputError

_UNKNOWN = (Reading.CANNOT_TELL, Reading.DISAGREE, Reading.UNLABELLED)


def judge_jurisdictions(
    plan: AuditPlan, sample: pa.Table, key: pa.Table, labels: pa.Table
) -> tuple[dict[str, JurisdictionResult], list[Codes]]:
    """The verdict on every jurisdiction, and what each annotator said about the sample, in its order.

    Raises:
        InputError: labels of subjects that are not in the sample, or of none that is.

    """
    subjects = sample.column("subject_id").combine_chunks()
    strangers = len(labels) - (pc.sum(pc.is_in(labels.column("subject_id"), subjects)).as_py() or 0)
    if strangers:
        raise InputError(f"{strangers} labels are of subjects that are not in the sample; are they of another one?")
    if not len(labels):
        raise InputError("there are no labels")
    codes = label_codes(subjects, labels)
    results = {}
    for name, of in plan.jurisdictions.items():
        mine = key.filter(pc.equal(key.column("jurisdiction"), name)).combine_chunks()
        at = pc.index_in(mine.column("subject_id"), subjects).to_numpy()
        results[name] = judge_jurisdiction(plan, of, mine, read_codes(codes, of.territory)[at])
    return results, codes


def judge_jurisdiction(
    plan: AuditPlan, of: JurisdictionPlan, key: pa.Table, readings: npt.NDArray[np.int64]
) -> JurisdictionResult:
    """The verdict on one jurisdiction from its rows of the key and the `Reading` of each, shape `(rows,)`."""
    groups = _groups(of, key, readings)
    findings = judge_labels(groups, plan.delta, plan.sensitivity)
    verdict = _verdict(plan, findings)
    needed = None
    if findings.recall_least < plan.target_recall <= findings.recall_most:
        needed = labels_needed(groups, plan.target_recall, plan.delta, plan.sensitivity)
    figures = {name: None if value is None or math.isnan(value) else value for name, value in asdict(findings).items()}
    return JurisdictionResult.model_validate(
        {
            **figures,
            "verdict": verdict,
            "reason": _reason(plan, groups, findings, verdict, needed),
            "unknown": {reading.name.lower(): int((readings == reading).sum()) for reading in _UNKNOWN},
            "accept": accept_number(groups, plan.target_recall, plan.delta, plan.sensitivity),
            "labels_needed": needed,
            "strata": _strata(of, key, readings),
        }
    )


def judge_agreement(codes: list[Codes]) -> Agreement | None:
    """Agreement and kappa, where two annotators labelled the same subjects."""
    kappa = cohens_kappa(*codes) if len(codes) == 2 else None
    return Agreement(**kappa._asdict()) if kappa else None


def _groups(of: JurisdictionPlan, key: pa.Table, readings: npt.NDArray[np.int64]) -> dict[str, Labelled]:
    group_of = np.array([GROUP_OF_TIER[tier] for tier in key.column("tier").to_pylist()], dtype=object)
    populations = of.populations
    return {
        name: Labelled(
            populations[name],
            int((group_of == name).sum()),
            int((readings[group_of == name] == Reading.RESIDENT).sum()),
            int(np.isin(readings[group_of == name], _UNKNOWN).sum()),
        )
        for name in GROUPS
    }


def _verdict(plan: AuditPlan, findings: Findings) -> Verdict:
    precise, imprecise = True, False
    if plan.target_precision is not None and findings.precision_least is not None:
        assert findings.precision_most is not None
        precise = findings.precision_least >= plan.target_precision
        imprecise = findings.precision_most < plan.target_precision
    if findings.recall_most < plan.target_recall or imprecise:
        return "fail"
    return "pass" if findings.recall_least >= plan.target_recall and precise else "inconclusive"


def _reason(
    plan: AuditPlan, groups: Mapping[str, Labelled], findings: Findings, verdict: Verdict, needed: int | None
) -> str:
    """Why the verdict is what it is, and what would settle it."""
    if verdict == "pass":
        return f"recall is at least {_down(findings.recall_least)}, and {plan.target_recall} was to be shown"
    if findings.recall_most < plan.target_recall:
        return f"recall is at most {_up(findings.recall_most)}, and {plan.target_recall} was to be shown"
    if findings.recall_least >= plan.target_recall:
        assert findings.precision_least is not None and findings.precision_most is not None
        return (
            f"precision is between {_down(findings.precision_least)} and {_up(findings.precision_most)}, and "
            f"{plan.target_precision} was to be shown"
        )
    reason = f"recall is shown to be at least {_down(findings.recall_least)}, and {plan.target_recall} was to be shown"
    unknown = sum(group.unknown for group in groups.values())
    if unknown and _without_doubt(plan, groups):
        return f"{reason}; what decides it is the {unknown} of whom nobody could tell, who count against the audit"
    if needed is None:
        return f"{reason}; labels like these would not show it, however many"
    drawn = sum(group.drawn for group in groups.values())
    return f"{reason}; about {max(needed - drawn, 1)} more labels like these would"


def _without_doubt(plan: AuditPlan, groups: Mapping[str, Labelled]) -> bool:
    """Whether the audit would pass if all that is unknown were in its favour."""
    settled = {
        name: group._replace(residents=group.residents if name == "missed" else group.at_most, unknown=0)
        for name, group in groups.items()
    }
    return judge_labels(settled, plan.delta, plan.sensitivity).recall_least >= plan.target_recall


def _strata(of: JurisdictionPlan, key: pa.Table, readings: npt.NDArray[np.int64]) -> list[StratumResult]:
    probability = key.column("probability").to_numpy()
    results = []
    for stratum in of.strata:
        tier, evidence = key.column("tier"), key.column("evidence_class")
        mine = pc.and_(pc.equal(tier, stratum.tier), pc.equal(evidence, stratum.evidence_class)).to_numpy()
        drawn, residents = int(mine.sum()), int((readings[mine] == Reading.RESIDENT).sum())
        expected = math.fsum(probability[mine])
        results.append(
            StratumResult(
                tier=stratum.tier,
                evidence_class=stratum.evidence_class,
                population=stratum.population,
                drawn=drawn,
                residents=residents,
                unknown=int(np.isin(readings[mine], _UNKNOWN).sum()),
                expected=round(expected, 3),
                unlikely=round(float(stats.binom.sf(residents - 1, drawn, expected / drawn)), 6) if drawn else 1.0,
            )
        )
    return results


def _down(share: float) -> str:
    """Three decimals, never more than is shown."""
    return f"{math.floor(share * 1000) / 1000:.3f}"


def _up(share: float) -> str:
    return f"{math.ceil(share * 1000) / 1000:.3f}"
