"""What `out/scores/` says about all subjects together: one pass in batches, whatever the number of subjects."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.errors import LetheError
from schemas.evidence import FAMILIES
from schemas.scores import TIERS

BATCH_ROWS = 65_536
_LEAVES = (".family", ".weight_mb", ".null_reason")

Counts = npt.NDArray[np.int64]


@dataclass
class Tally:
    """Counts over J jurisdictions, T tiers, B probability bins and F families of signals.

    `edges` are the B - 1 inner limits of the bins; a probability equal to one belongs above it. The families are those
    of the model, and after them any other that the scores name.
    """

    jurisdictions: tuple[str, ...]
    edges: tuple[float, ...]
    histogram: Counts = field(init=False)
    """`(J, T, B)` subjects."""
    spoken: Counter[str] = field(default_factory=Counter)
    """Subjects of the first jurisdiction about whom a family says something."""
    silent: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Bars of the first jurisdiction that say nothing, by family and reason."""
    supports: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Subjects to be erased for whom a family's weight is positive, by jurisdiction and family."""

    def __post_init__(self) -> None:
        self.histogram = np.zeros((len(self.jurisdictions), len(TIERS), len(self.edges) + 1), np.int64)

    @property
    def families(self) -> tuple[str, ...]:
        """All families, in the model's order."""
        seen = {*self.spoken, *(family for family, _ in self.silent)}
        return (*FAMILIES, *sorted(seen - set(FAMILIES)))

    @property
    def tiers(self) -> Counts:
        """`(J, T)` subjects."""
        return np.asarray(self.histogram.sum(axis=2), np.int64)

    def add(self, batch: pa.RecordBatch) -> None:
        """Count one batch of `SCORES`; raises a LetheError for a tier or jurisdiction that nobody knows."""
        jurisdiction = _positions(batch.column("jurisdiction"), self.jurisdictions)
        tier = _positions(batch.column("tier"), TIERS)
        bins = np.searchsorted(self.edges, batch.column("probability").to_numpy(), side="right")
        shape = self.histogram.shape
        cells = np.ravel_multi_index((jurisdiction, tier, bins), shape)
        self.histogram += np.bincount(cells, minlength=self.histogram.size).reshape(shape)
        self._add_bars(batch.column("bars"), jurisdiction, tier == TIERS.index("erase"))

    def _add_bars(self, bars: pa.Array, jurisdiction: npt.NDArray[np.intp], erase: npt.NDArray[np.bool_]) -> None:
        flat, row = pc.list_flatten(bars), pc.list_parent_indices(bars).to_numpy()
        family, weight, reason = (flat.field(name) for name in ("family", "weight_mb", "null_reason"))
        speaks, first = reason.is_null().to_numpy(zero_copy_only=False), jurisdiction[row] == 0
        self.spoken.update(_subjects(family, row, first & speaks))
        silent = pa.array(first & ~speaks)
        pairs = pa.table({"family": family.filter(silent), "reason": reason.filter(silent)})
        for pair in pairs.group_by(["family", "reason"]).aggregate([([], "count_all")]).to_pylist():
            self.silent[pair["family"], pair["reason"]] += pair["count_all"]
        for index, name in enumerate(self.jurisdictions):
            for_it = (jurisdiction[row] == index) & erase[row] & (weight.to_numpy() > 0)
            self.supports.update({(name, one): n for one, n in _subjects(family, row, for_it).items()})


def tally_scores(folder: Path, jurisdictions: Sequence[str], edges: Sequence[float]) -> Tally | None:
    """Count all score parts of a folder; None if there are none."""
    files = sorted(folder.glob("*.parquet"))
    tally = Tally(tuple(jurisdictions), tuple(edges))
    for file in files:
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(BATCH_ROWS, columns=_columns(parquet)):
                tally.add(batch)
    return tally if files else None


def _columns(parquet: pq.ParquetFile) -> list[str]:
    """The leaves to read: of the bars, only what is counted."""
    paths = [parquet.schema.column(i).path for i in range(len(parquet.schema))]
    return ["jurisdiction", "tier", "probability", *(p for p in paths if p.startswith("bars.") and p.endswith(_LEAVES))]


def _positions(values: pa.Array, known: tuple[str, ...]) -> npt.NDArray[np.intp]:
    positions = pc.index_in(values, pa.array(known, values.type))
    if positions.null_count:
        raise LetheError(f"the scores hold something other than {', '.join(known)}; run `lethe score` again")
    return np.asarray(positions.to_numpy(), np.intp)


def _subjects(family: pa.Array, row: npt.NDArray[np.int64], where: npt.NDArray[np.bool_]) -> dict[str, int]:
    """Distinct rows a family has among the chosen bars."""
    chosen = pa.array(where)
    pairs = pa.table({"family": family.filter(chosen), "row": row[where]})
    counts = pairs.group_by("family").aggregate([("row", "count_distinct")])
    return dict(zip(counts.column("family").to_pylist(), counts.column("row_count_distinct").to_pylist(), strict=True))
