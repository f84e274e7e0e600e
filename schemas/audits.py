"""The audit's files: the plan that is fixed before the draw, the blind sample, its key, the seal, and the result.

out/audit/plan.json        what is drawn, from what, and what has to come out; written before anything is drawn
out/audit/sample.parquet   for the annotators: who is to be labelled, in random order; nothing else
out/audit/key.parquet      not for the annotators: from which tier each of them was drawn
out/audit/seal.json        the digests of these three: its own digest is what the auditor writes down
out/audit/audit.json       the result
"""

from pathlib import Path
from typing import Literal, TypeVar

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from schemas.errors import ManifestError

SAMPLE = pa.schema(
    [
        pa.field("subject_id", pa.large_string(), nullable=False),
        pa.field("record_ids", pa.list_(pa.field("element", pa.large_string(), nullable=False)), nullable=False),
        pa.field("face_ids", pa.list_(pa.field("element", pa.large_string(), nullable=False)), nullable=False),
    ],
    metadata={"lethe": "audit-sample/1"},
)
"""Whom to label, once each and in random order. No tier, no score, no jurisdiction: whoever knows them is not blind."""

KEY = pa.schema(
    [
        pa.field("subject_id", pa.large_string(), nullable=False),
        pa.field("jurisdiction", pa.string(), nullable=False),
        pa.field("tier", pa.string(), nullable=False),
        pa.field("evidence_class", pa.string(), nullable=False),
        pa.field("probability", pa.float64(), nullable=False),
    ],
    metadata={"lethe": "audit-key/1"},
)
"""For which jurisdiction, and from which tier and class of evidence, each was drawn; one may be drawn for several."""

GROUP_OF_TIER = {"erase": "erase", "review": "review", "keep": "missed", "insufficient": "missed"}
"""An audit samples three groups: what is to be erased, what waits for a person, and what may have been missed."""

GROUPS = ("missed", "erase", "review")

Verdict = Literal["pass", "fail", "inconclusive"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Stratum(_Frozen):
    """A tier and evidence class: how many subjects it has, and how many residents the model expects among them."""

    tier: str
    evidence_class: str
    population: int
    expected: float


class JurisdictionPlan(_Frozen):
    """What is drawn for one jurisdiction.

    `drawn` counts subjects per group (`missed`, `erase`, `review`). `accept` is how many residents may be found among
    the missed for the audit to pass if all else is as the model expects, None if not even none would do;
    `chance_of_passing` is the chance that it passes then.
    """

    territory: tuple[str, ...]
    manifest: str
    strata: tuple[Stratum, ...]
    drawn: dict[str, int]
    accept: int | None
    chance_of_passing: float

    @property
    def populations(self) -> dict[str, int]:
        """Subjects in each group."""
        return {name: sum(stratum.population for stratum in self._in_group(name)) for name in GROUPS}

    @property
    def expected(self) -> dict[str, float]:
        """Residents that the model expects in each group."""
        return {name: sum(stratum.expected for stratum in self._in_group(name)) for name in GROUPS}

    def _in_group(self, name: str) -> list[Stratum]:
        return [stratum for stratum in self.strata if GROUP_OF_TIER[stratum.tier] == name]


class AuditPlan(_Frozen):
    """`plan.json`. It holds no clock and no path, so the same run and options give the same bytes.

    `delta` is the error of each jurisdiction, `split` how its bounds share it. `scores` is the Merkle root over the
    digests of the parts of `out/scores/`. `quarantined` counts records that no audit of scores can speak about.
    """

    format: Literal["lethe/audit-plan/1"] = "lethe/audit-plan/1"
    run_id: str
    config_digest: str
    model_digest: str
    input_digest: str
    scores: str
    subjects: int
    quarantined: int
    n: int
    seed: int
    target_recall: float
    target_precision: float | None
    confidence: float
    sensitivity: float
    delta: float
    split: dict[str, float]
    allocation: str
    jurisdictions: dict[str, JurisdictionPlan]


class Seal(_Frozen):
    """`seal.json`: the digests of the plan, the sample and its key."""

    format: Literal["lethe/audit-seal/1"] = "lethe/audit-seal/1"
    plan: str
    sample: str
    key: str


class StratumResult(_Frozen):
    """What the labels say about one tier and evidence class.

    `expected` is what the model expected among those drawn, `unlikely` the chance of finding so many if it is right.
    """

    tier: str
    evidence_class: str
    population: int
    drawn: int
    residents: int
    unknown: int
    expected: float
    unlikely: float


class JurisdictionResult(_Frozen):
    """The verdict on one jurisdiction; all bounds hold together with the error `delta` of the plan.

    `elusion_most` bounds the share of residents among the missed, `missed_most` their number after the annotators'
    sensitivity. `recall` counts a resident in review as found, `erased_recall` as not. `labels_needed` is how many
    labels in all would do if further ones are like these; None if none are needed, or no number would do.
    """

    verdict: Verdict
    reason: str
    elusion_most: float
    missed_most: int
    recall: float | None
    recall_least: float
    recall_most: float
    erased_recall: float | None
    erased_recall_least: float
    precision: float | None
    precision_least: float | None
    precision_most: float | None
    erased_least: int
    review_least: int
    review_most: int
    unknown: dict[str, int]
    accept: int | None
    labels_needed: int | None
    strata: tuple[StratumResult, ...]


class Agreement(_Frozen):
    """How far two annotators agree on the country, over the subjects that both labelled; Cohen's kappa."""

    subjects: int
    agreement: float
    kappa: float | None


class AuditResult(_Frozen):
    """`audit.json`."""

    format: Literal["lethe/audit/1"] = "lethe/audit/1"
    run_id: str
    seal: str
    plan: str
    labels: str
    verdict: Verdict
    target_recall: float
    target_precision: float | None
    confidence: float
    sensitivity: float
    drawn: int
    labelled: int
    annotators: int
    agreement: Agreement | None
    quarantined: int
    jurisdictions: dict[str, JurisdictionResult]


_Model = TypeVar("_Model", bound=BaseModel)


def load_audit_file(file: Path, model: type[_Model]) -> _Model:
    """Read one of the audit's JSON files.

    Raises:
        ManifestError: it is missing, or not what lethe wrote.

    """
    try:
        return model.model_validate_json(file.read_bytes())
    except FileNotFoundError as error:
        raise ManifestError(f"there is no audit/{file.name}; `lethe audit sample` draws a sample") from error
    except ValidationError as error:
        raise ManifestError(
            f"audit/{file.name} is not a file of this version: {error.error_count()} fields differ"
        ) from error
