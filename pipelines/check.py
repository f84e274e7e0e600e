"""Check: every digest of the manifests again, before anything is destroyed on their word.

parts ─ CheckParts ─ reports ─ (driver) ─ the manifests, or a ManifestError that names what differs
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.ledger import Ledger
from schemas.errors import InputError, ManifestError
from schemas.files import canonical_json, digest_bytes, digest_file
from schemas.job import Job
from schemas.manifests import (
    ENTRIES,
    ENTRIES_AT_ONCE,
    Manifest,
    Part,
    entry_leaves,
    load_manifest,
    manifest_root,
)
from schemas.merkle import TreeHash


@dataclass(frozen=True)
class PartToCheck:
    """One part of one manifest, as the manifest describes it."""

    jurisdiction: str
    path: Path
    part: Part
    report_to: Path


class CheckParts(beam.PTransform):
    """PCollection[PartToCheck] → PCollection[dict], one report per part with the problem found, if any."""

    def expand(self, parts: beam.PCollection) -> beam.PCollection:
        """Spread the parts, read all of each."""
        return parts | beam.Reshuffle() | "CheckPart" >> beam.Map(check_part)


def check_part(check: PartToCheck) -> dict[str, Any]:
    """Compare one part with its digests; the report has the tiers counted, and `problem`, None if there is none."""
    tiers: Counter[str] = Counter()
    problem = _part_problem(check, tiers)
    report = {"jurisdiction": check.jurisdiction, "tiers": {} if problem else dict(tiers), "problem": problem}
    return Ledger(check.report_to).enter(f"{check.jurisdiction}-{check.path.stem}", report)


def _part_problem(check: PartToCheck, tiers: Counter[str]) -> str | None:
    """What is wrong with a part, None if nothing is; the tiers of its entries are added to `tiers`."""
    if not check.path.is_file():
        return f"{check.part.name} is missing"
    if digest_file(check.path) != check.part.sha256:
        return f"{check.part.name} has changed since the manifest was written"
    tree = TreeHash()
    try:
        with pq.ParquetFile(check.path) as file:
            if not file.schema_arrow.equals(ENTRIES) or file.metadata.num_rows != check.part.rows:
                return f"{check.part.name} has other columns or rows than the manifest says"
            for batch in file.iter_batches(ENTRIES_AT_ONCE, use_threads=False):
                tree.update(entry_leaves(batch))
                tiers.update(
                    {item["values"]: item["counts"] for item in batch.column("tier").value_counts().to_pylist()}
                )
    except (OSError, pa.ArrowException):
        return f"{check.part.name} cannot be read"
    if tree.digest().hex() != check.part.merkle_root:
        return f"{check.part.name} does not lead to the Merkle root that the manifest gives"
    return None


def parts_to_check(manifests: Mapping[str, Manifest], root: Path, report_to: Path) -> Iterator[PartToCheck]:
    """Every part of every manifest below `root`."""
    for name, manifest in manifests.items():
        for part in manifest.parts:
            yield PartToCheck(name, root / name / part.name, part, report_to)


def load_manifests(job: Job, model_digest: str, written: Mapping[str, str]) -> dict[str, Manifest]:
    """Read the manifests of the job's jurisdictions and check all that can be checked without their parts.

    `written` gives the digest of each `manifest.json` as `lethe plan` left it.

    Raises:
        InputError: nothing was planned yet.
        ManifestError: one is missing, altered, or was made for another job file, policy or model.

    """
    root = job.out / "manifests"
    if not written:
        raise InputError("there are no manifests yet; `lethe plan JOB` writes them")
    manifests = {}
    for name in job.job.jurisdictions:
        manifest = load_manifest(root / name)
        if problem := _manifest_problem(root / name, manifest, job, model_digest, written.get(name)):
            raise ManifestError(f"{name}: {problem}; nothing was touched. `lethe plan` writes it anew")
        manifests[name] = manifest
    return manifests


def _manifest_problem(folder: Path, manifest: Manifest, job: Job, model_digest: str, written: str | None) -> str | None:
    roots = [bytes.fromhex(part.merkle_root) for part in manifest.parts]
    unlisted = {file.name for file in folder.glob("*.parquet")} - {part.name for part in manifest.parts}
    problems = (
        (digest_file(folder / "manifest.json") != written, "manifest.json has changed since it was written"),
        (manifest.jurisdiction != folder.name, "manifest.json is that of another jurisdiction"),
        (manifest.config_digest != job.digest, "the job file has changed since the manifest was written"),
        (manifest.model_digest != model_digest, "the model has changed since the manifest was written"),
        (
            manifest.policy_digest != digest_bytes(canonical_json(manifest.policy)),
            "the policy does not fit its digest",
        ),
        (manifest_root(roots).hex() != manifest.merkle_root, "the parts do not lead to the Merkle root"),
        (bool(unlisted), f"there are {len(unlisted)} parts that the manifest does not list"),
    )
    return next((problem for found, problem in problems if found), None)


def judge_parts(manifests: Mapping[str, Manifest], reports: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise a ManifestError unless every part was checked, has no problem, and the tiers add up."""
    problems = sorted(
        f"{report['jurisdiction']}: {report['problem']}" for report in reports.values() if report["problem"]
    )
    if problems:
        raise ManifestError("; ".join(problems[:5]) + "; nothing was touched")
    for name, manifest in manifests.items():
        mine = [report["tiers"] for report in reports.values() if report["jurisdiction"] == name]
        found = {tier: sum(tiers.get(tier, 0) for tiers in mine) for tier in manifest.entries}
        if len(mine) != len(manifest.parts) or found != manifest.entries:
            raise ManifestError(
                f"{name}: the manifest says {manifest.entries} entries and its parts hold {found}; nothing was touched"
            )
