"""`out/report.html`: one self-contained page that answers what was erased, whether it is gone, and how sure that is.

It needs no script, no network and no other file, tells only times that were written down, and escapes every text. Its
order:

    the answer in one sentence         what a regulator came for
    orders                             who ordered what, until when, and how it stands
    every record accounted for         records = erase + review + insufficient + kept + quarantined
    what may be wrong                  expected errors, by evidence
    measured against known residence   where the truth was given: what weighing buys, calibration, neighbours
    how sure, and on what evidence     probabilities and families of signals
    stores                             found, removed, verified: three states, never mixed up
    set aside, audit, limits           what no number above covers
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from runners import wording
from runners.chart import (
    HEIGHT,
    LEFT,
    SQUARE,
    TOP,
    WIDTH,
    Histogram,
    bin_edges,
    draw_histogram,
    draw_reliability,
    limit_label,
    shares,
)
from runners.evaluation import RULES
from runners.outcome import (
    State,
    check_scored,
    check_sum,
    headline,
    judge,
    lists_once,
    total_listed,
)
from runners.tally import Tally, tally_scores
from runners.verdicts import TONES, Judged, judge_check
from schemas.errors import LetheError
from schemas.evidence import SIGNALS
from schemas.files import digest_file, replacing
from schemas.job import Job
from schemas.manifests import Expectation, Manifest
from schemas.scores import EVIDENCE_CLASSES, TIERS

MOST_NAMES = 20
"""So many file names are shown of one kind; the rest is counted, and all of them are in the receipts."""


class StoreRow(NamedTuple):
    """One store: as the job names it, as the purge left it, as verification found it."""

    name: str
    kind: str
    holds: str
    purge: Mapping[str, Any] | None
    check: Mapping[str, Any] | None
    judged: Judged


class Errors(NamedTuple):
    """What is expected to be wrong in one jurisdiction, all classes of evidence together."""

    total: Expectation
    classes: tuple[tuple[str, Expectation], ...]


class FamilyRow(NamedTuple):
    """How often a family of signals spoke, how often it spoke for the erasure, and why it was silent."""

    name: str
    signals: tuple[str, ...]
    share: float
    supports: tuple[tuple[str, float | None], ...]
    silence: tuple[tuple[str, int], ...]


def write_report(job: Job, run: Mapping[str, Any], manifests: Mapping[str, Manifest]) -> Path:
    """Write `out/report.html` and return its path; the same run gives the same bytes.

    Args:
        job: the job, for its output folder, its stores and its signals.
        run: the content of `out/run.json`; any key may be absent.
        manifests: by the short name of the jurisdiction; empty before `lethe plan`.

    Raises:
        LetheError: the numbers of the run, its manifests and its scores contradict each other.

    """
    page = job.out / "report.html"
    text = _template().render(_context(job, run, manifests))
    with replacing(page) as aside:
        aside.write_bytes(text.encode())
    return page


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("runners"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters |= {
        "number": wording.number,
        "percent": wording.percent,
        "expected": wording.expected,
        "size": wording.size,
        "moment": wording.moment,
        "listed": wording.listed,
        "shares": shares,
        "limit": limit_label,
        "dots": draw_reliability,
        "sum_up": sum_up_others,
    }
    environment.globals |= {"counted": wording.counted, "most_names": MOST_NAMES, "square": SQUARE}
    return environment.get_template("report.html")


def _finalize(value: object) -> object:
    """What is printed into the page: text with nothing hidden in it. Markup is the template's own."""
    return wording.visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _context(job: Job, run: Mapping[str, Any], manifests: Mapping[str, Manifest]) -> dict[str, Any]:
    counts = {name: manifest.model_dump() for name, manifest in manifests.items()}
    for name, one in counts.items():
        check_sum(name, one)
    if run.get("score"):
        check_scored(run["score"], counts)
    names = tuple(manifests) or job.job.jurisdictions
    edges = bin_edges(job.policy.review_at, job.policy.erase_at)
    tally = tally_scores(job.out / "scores", names, edges)
    _check_tally(tally, manifests)
    listing = total_listed((manifest.name for manifest in manifests.values()), counts.values())
    return {
        "headline": headline(run, listing),
        "listing": listing,
        "state": judge(run, listing),
        "State": State,
        "tones": TONES,
        "run": run,
        "job": job,
        "manifests": manifests,
        "overlap": not all(map(lists_once, counts.values())),
        "evaluation": _evaluation(job, run),
        "errors": {name: _errors(manifest) for name, manifest in manifests.items()},
        "subjects": None if tally is None else int(tally.tiers[0].sum()),
        "histograms": _histograms(job, tally),
        "families": _families(tally),
        "plot": {"width": WIDTH, "height": HEIGHT, "left": LEFT, "top": TOP},
        "stores": _stores(job, run),
    }


def _check_tally(tally: Tally | None, manifests: Mapping[str, Manifest]) -> None:
    for index, (name, manifest) in enumerate(manifests.items() if tally else ()):
        found = dict(zip(TIERS, tally.tiers[index].tolist(), strict=True)) if tally else {}
        if found != {tier: manifest.subjects.get(tier, 0) for tier in TIERS}:
            raise LetheError(
                f"{name}: the scores count the subjects {found}, the manifest {manifest.subjects}; one of them is of "
                "another run: run `lethe plan` again"
            )


def _evaluation(job: Job, run: Mapping[str, Any]) -> dict[str, Any] | None:
    """The content of `evaluation.json`, if `run` was evaluated; a LetheError if the file is not the one it names."""
    if not run.get("evaluation"):
        return None
    file = job.out / "evaluation.json"
    if not file.is_file() or digest_file(file) != run["evaluation"]["digest"]:
        raise LetheError(f"{file.name} is not the one that this run wrote: run `lethe evaluate` again")
    content: dict[str, Any] = json.loads(file.read_bytes())
    return content


def sum_up_others(confusion: Sequence[Mapping[str, Any]], most: int) -> list[dict[str, Any]]:
    """Residents and the first `most` other countries of a confusion as they are, and the sum of all others, if any."""
    shown = [dict(row) for row in confusion if row["resident"]]
    foreign = [dict(row) for row in confusion if not row["resident"]]
    rest = foreign[most:]
    counts = {key: sum(row[key] for row in rest) for key in ("subjects", *RULES)}
    others = {"country": wording.counted(len(rest), "other country", "other countries"), "resident": False, **counts}
    return [*shown, *foreign[:most], *([others] if rest else [])]


def _errors(manifest: Manifest) -> Errors:
    known = [(kind, manifest.expected[kind]) for kind in EVIDENCE_CLASSES if kind in manifest.expected]
    fields = Expectation.model_fields
    total = Expectation(**{name: sum(getattr(one, name) for _, one in known) for name in fields})
    return Errors(total, tuple(known))


def _histograms(job: Job, tally: Tally | None) -> dict[str, Histogram]:
    if tally is None:
        return {}
    tallest, policy = int(tally.histogram.max()), job.policy
    return {
        name: draw_histogram(counts, tally.edges, policy.review_at, policy.erase_at, tallest)
        for name, counts in zip(tally.jurisdictions, tally.histogram, strict=True)
    }


def _families(tally: Tally | None) -> list[FamilyRow]:
    if tally is None:
        return []
    subjects, erase = int(tally.tiers[0].sum()), tally.tiers[:, TIERS.index("erase")].tolist()
    rows = []
    for family in tally.families:
        supports = tuple(
            (name, tally.supports[name, family] / n if n else None)
            for name, n in zip(tally.jurisdictions, erase, strict=True)
        )
        silent = [(reason, count) for (one, reason), count in tally.silent.items() if one == family]
        silence = tuple(sorted(silent, key=lambda pair: (-pair[1], pair[0]))[:3])
        signals = tuple(kind.name for kind in SIGNALS if kind.family == family)
        rows.append(FamilyRow(family, signals, tally.spoken[family] / max(subjects, 1), supports, silence))
    return rows


def _stores(job: Job, run: Mapping[str, Any]) -> list[StoreRow]:
    purged = (run.get("purge") or {}).get("stores", {})
    checked = (run.get("verification") or {}).get("stores", {})
    rows = []
    for name in dict.fromkeys([*job.stores, *purged, *checked]):
        section, purge, check = job.stores.get(name), purged.get(name), checked.get(name)
        kind = section.kind if section else (purge or {}).get("kind", "")
        holds = section.holds if section else (purge or {}).get("holds", "")
        rows.append(StoreRow(name, kind, holds, purge, check, judge_check(check)))
    return rows
