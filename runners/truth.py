"""Precision and recall against known countries of residence, where a job names them."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.errors import InputError
from schemas.jurisdictions import find_jurisdiction


def compare_with_truth(scores: Path, truth: Path, jurisdictions: tuple[str, ...]) -> dict[str, dict[str, float | int]]:
    """Per jurisdiction: residents, precision and recall of `erase` alone and of `erase` with `review`, AUC is not here.

    Args:
        scores: folder of score parts.
        truth: Parquet with `subject_id` and `country` (ISO alpha-2), one row a subject.
        jurisdictions: short names.

    Raises:
        InputError: the truth has other columns.

    """
    known = pq.read_table(truth)
    if not {"subject_id", "country"} <= set(known.column_names):
        raise InputError(
            f"{truth.name} needs the columns subject_id and country, and has {', '.join(known.column_names)}"
        )
    known = known.select(["subject_id", "country"]).cast(
        pa.schema([("subject_id", pa.large_string()), ("country", pa.string())])
    )
    results = {}
    for name in jurisdictions:
        mine = pq.read_table(
            scores, columns=["subject_id", "tier", "evidence_class"], filters=pc.field("jurisdiction") == name
        )
        joined = mine.join(known, "subject_id", join_type="inner")
        resident = pc.is_in(joined.column("country"), pa.array(find_jurisdiction(name).territory))
        erased = pc.equal(joined.column("tier"), "erase")
        flagged = pc.or_(erased, pc.equal(joined.column("tier"), "review"))
        rich = pc.equal(joined.column("evidence_class"), "rich")
        results[name] = {
            "subjects": len(joined),
            "residents": _count(resident),
            "erased": _count(erased),
            "erase_precision": _share(pc.and_(erased, resident), erased),
            "erase_recall": _share(pc.and_(erased, resident), resident),
            "review_recall": _share(pc.and_(flagged, resident), resident),
            "review_recall_rich": _share(pc.and_(pc.and_(flagged, resident), rich), pc.and_(resident, rich)),
        }
    return results


def _count(mask: pa.ChunkedArray) -> int:
    return int(pc.sum(mask).as_py() or 0)


def _share(part: pa.ChunkedArray, whole: pa.ChunkedArray) -> float:
    return round(_count(part) / max(_count(whole), 1), 4)
