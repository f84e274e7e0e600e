"""What an evaluation counts, and the figures that follow from it.

Subjects of known residence are counted by what was said of them; every figure is worked out from these counts. They
grow with the number of different answers, not with that of subjects, and do not depend on the order of subjects.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.filters import FILTERS, apply_filters
from classifiers.measures import (
    TENTHS,
    Counts,
    Decision,
    Floats,
    Mask,
    Share,
    area_under_curve,
    brier_score,
    decide_by_score,
    likely_count,
    reliability,
)
from schemas.countries import COUNTRIES
from schemas.errors import LetheError
from schemas.jurisdictions import Jurisdiction
from schemas.scores import EVIDENCE_CLASSES, TIERS

Figures = dict[str, Any]

RULES = ("erase", "flag", *FILTERS)
"""Ways to decide: lethe's `erase`, its `erase` or `review`, and the filters of one signal."""

SPREAD = 0.95
"""How often an interval holds the truth."""

_GROUP = [("jurisdiction", pa.string()), ("evidence_class", pa.string()), ("tier", pa.string())]

OUTCOMES = pa.schema(
    [*_GROUP, ("resident", pa.bool_()), ("score_mb", pa.int64()), ("probability", pa.float64()), ("n", pa.int64())]
)
"""Subjects by the score they have."""

DECISIONS = pa.schema(
    [
        *_GROUP,
        ("country", pa.int16()),
        *((name, pa.bool_()) for name in FILTERS),
        *((f"{name}_cut_short", pa.bool_()) for name in FILTERS),
        ("n", pa.int64()),
    ]
)
"""Subjects by the country they live in, and by what each rule does to them."""


@dataclass
class Evaluation:
    """Counts of subjects of known residence, over jurisdictions by their short names."""

    jurisdictions: Mapping[str, Jurisdiction]
    outcomes: pa.Table = field(default_factory=OUTCOMES.empty_table)
    decisions: pa.Table = field(default_factory=DECISIONS.empty_table)

    def add(self, scores: pa.RecordBatch, country: npt.NDArray[np.int16]) -> None:
        """Count n rows of SCORES, whose subjects live in `country`, shape `(n,)`, indices into COUNTRIES.

        Raises:
            LetheError: a jurisdiction or tier that nobody knows.

        """
        for name, known in (("jurisdiction", list(self.jurisdictions)), ("tier", list(TIERS))):
            if not pc.all(pc.is_in(scores.column(name), pa.array(known, pa.string())), min_count=0).as_py():
                raise LetheError(f"the scores hold another {name} than {', '.join(known)}; run `lethe score` again")
        outcomes, decisions = [self.outcomes], [self.decisions]
        for name, jurisdiction in self.jurisdictions.items():
            chosen = pc.equal(scores.column("jurisdiction"), name)
            mine, home = scores.filter(chosen), country[chosen.to_numpy(zero_copy_only=False)]
            resident = np.isin(home, [COUNTRIES.index(code) for code in jurisdiction.territory])
            columns = {each: mine.column(each) for each in mine.schema.names if each in OUTCOMES.names}
            columns |= {"resident": resident, "country": home, "n": np.ones(len(mine), np.int64)}
            for rule, filtered in apply_filters(mine.column("bars"), jurisdiction).items():
                columns |= {rule: filtered.flagged, f"{rule}_cut_short": filtered.cut_short}
            outcomes.append(_table(columns, OUTCOMES))
            decisions.append(_table(columns, DECISIONS))
        self.outcomes, self.decisions = _count(outcomes), _count(decisions)

    def figures(self) -> dict[str, Figures]:
        """Everything measured, by jurisdiction: figures by class of evidence, and the confusion of countries."""
        return {
            name: {
                "territory": list(jurisdiction.territory),
                "languages": list(jurisdiction.languages),
                "evidence": {kind: self._group(name, kind) for kind in ("all", *EVIDENCE_CLASSES)},
                "confusion": self._confusion(name),
            }
            for name, jurisdiction in self.jurisdictions.items()
        }

    def _group(self, name: str, kind: str) -> Figures:
        outcomes, decisions = (_choose(table, name, kind) for table in (self.outcomes, self.decisions))
        chance, resident, n = (_column(outcomes, each) for each in ("probability", "resident", "n"))
        bins = reliability(chance, resident, n)
        return {
            "subjects": int(n.sum()),
            "residents": int(n[resident].sum()),
            "auc": _round(area_under_curve(_column(outcomes, "score_mb").astype(np.float64), resident, n)),
            "brier": _round(brier_score(chance, resident, n)),
            "ece": _round(bins.error),
            "reliability": _curve(bins.subjects, bins.expected, bins.residents),
            "rules": self._rules(name, outcomes, decisions),
            "errors": _errors(outcomes, chance, resident, n),
        }

    def _rules(self, name: str, outcomes: pa.Table, decisions: pa.Table) -> Figures:
        score, positive, weight = (_column(outcomes, each) for each in ("score_mb", "resident", "n"))
        territory = [COUNTRIES.index(code) for code in self.jurisdictions[name].territory]
        resident, n = np.isin(_column(decisions, "country"), territory), _column(decisions, "n")
        found = {}
        for rule in RULES:
            decision = Decision.of(_flagged(decisions, rule), resident, n)
            found[rule] = {
                "flagged": decision.flagged,
                "correct": decision.correct,
                "precision": _share(decision.precision),
                "recall": _share(decision.recall),
            }
            if rule in FILTERS:
                equal = decide_by_score(score.astype(np.float64), positive, weight, decision.correct)
                found[rule] |= {
                    "cut_short": int(n[_column(decisions, f"{rule}_cut_short")].sum()),
                    "at_equal_recall": {"flagged": equal.flagged, "precision": _share(equal.precision)},
                }
        return found

    def _confusion(self, name: str) -> list[Figures]:
        """What becomes of the people of each country: residents first, then those who are surest to be flagged too."""
        decisions, own = _choose(self.decisions, name, "all"), self.jurisdictions[name].territory
        country, n = _column(decisions, "country"), _column(decisions, "n")
        flagged = {rule: _flagged(decisions, rule) for rule in RULES}
        rows = []
        for each in np.unique(country).tolist():
            here = country == each
            counts = {rule: int(n[here & mask].sum()) for rule, mask in flagged.items()}
            resident = COUNTRIES[each] in own
            rows.append({"country": COUNTRIES[each], "resident": resident, "subjects": int(n[here].sum()), **counts})

        def order(row: Figures) -> tuple[object, ...]:
            surely = Share(row["flag"], row["subjects"]).interval[0]
            return not row["resident"], -surely, -row["subjects"], row["country"]

        return sorted(rows, key=order)


def _errors(outcomes: pa.Table, chance: Floats, resident: Mask, n: Counts) -> Figures:
    tier = outcomes.column("tier").combine_chunks()

    def compare(tiers: tuple[str, ...], chance: Floats, wrong: Mask) -> Figures:
        here = pc.is_in(tier, pa.array(tiers)).to_numpy(zero_copy_only=False)
        expected = float((chance[here] * n[here]).sum())
        return {
            "subjects": int(n[here].sum()),
            "expected": _round(expected),
            "likely": likely_count(expected),
            "actual": int(n[here & wrong].sum()),
        }

    return {
        "wrongly_erased": compare(("erase",), 1 - chance, ~resident),
        "missed": compare(("keep",), chance, resident),
        "undecided": compare(("review", "insufficient"), chance, resident),
    }


def _curve(subjects: Counts, expected: Floats, residents: Counts) -> list[Figures]:
    """The bins that hold anybody."""
    limits = [0.0, *TENTHS.tolist(), 1.0]
    curve = []
    for at in np.flatnonzero(subjects).tolist():
        share = Share(int(residents[at]), int(subjects[at]))
        curve.append(
            {
                "from": _round(limits[at]),
                "to": _round(limits[at + 1]),
                "subjects": share.whole,
                "probability": _round(expected[at] / share.whole),
                "residents": share.part,
                "share": _share(share),
            }
        )
    return curve


def _flagged(decisions: pa.Table, rule: str) -> Mask:
    if rule in FILTERS:
        return np.asarray(_column(decisions, rule), np.bool_)
    tiers = ["erase"] if rule == "erase" else ["erase", "review"]
    return np.asarray(pc.is_in(decisions.column("tier"), pa.array(tiers)), np.bool_)


def _share(share: Share) -> Figures:
    low, high = share.interval
    return {"value": None if share.value is None else _round(share.value), "low": _round(low), "high": _round(high)}


def _round(value: float) -> float | None:
    """Six digits, as many as anybody reads; None for what is undefined."""
    return None if np.isnan(value) else round(float(value), 6)


def _choose(table: pa.Table, jurisdiction: str, kind: str) -> pa.Table:
    chosen = pc.field("jurisdiction") == jurisdiction
    return table.filter(chosen if kind == "all" else chosen & (pc.field("evidence_class") == kind))


def _column(table: pa.Table, name: str) -> npt.NDArray[Any]:
    return np.asarray(table.column(name).to_numpy())


def _table(columns: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    return pa.table([pa.array(columns[name], schema.field(name).type) for name in schema.names], schema=schema)


def _count(tables: list[pa.Table]) -> pa.Table:
    """Add up equal rows, in an order of their own."""
    schema, keys = tables[0].schema, [name for name in tables[0].schema.names if name != "n"]
    counted = pa.concat_tables(tables).group_by(keys, use_threads=False).aggregate([("n", "sum")])
    named = counted.rename_columns([*keys, "n"]).select(schema.names).cast(schema)
    return named.sort_by([(key, "ascending") for key in keys])
