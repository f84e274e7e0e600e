"""A small store of faces for the tests of the verifier: ten people, of whom some are listed."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stores.audit.baseline import UnitBaseline, take_baseline
from stores.audit.check import FileCheck, check_file
from stores.audit.control import Control, run_control
from stores.audit.inventory import Kind, take_inventory
from stores.audit.needles import Needles, make_needles
from stores.audit.rows import read_rows
from stores.audit.verdict import StoreVerdict, judge_store

KEY = b"0123456789abcdef"
ROWS, DIMENSIONS = 400, 128
LISTED = pa.array([f"face_{i:06d}" for i in range(0, ROWS, 8)])


def faces(held: pa.DataType | None = None, seed: int = 0) -> pa.Table:
    """ROWS people with random vectors, held as lists of float32 or as `held`."""
    values = np.random.default_rng(seed).standard_normal((ROWS, DIMENSIONS)).astype("<f4")
    if held is not None and pa.types.is_fixed_size_binary(held):
        vectors = pa.array([one.tobytes() for one in values], held)
    else:
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), DIMENSIONS)
        vectors = vectors.cast(held or pa.list_(pa.float32()))
    return pa.table(
        {
            "face_id": [f"face_{i:06d}" for i in range(ROWS)],
            "subject": [f"subject-{i % 50:04d}" for i in range(ROWS)],
            "vector": vectors,
            "score": np.arange(ROWS) / 7,
        }
    )


def is_listed(keys: pa.Array) -> np.ndarray:
    """Whether each key is one of LISTED."""
    return pc.is_in(keys.cast(pa.string()), value_set=LISTED).to_numpy(zero_copy_only=False)


def survivors(table: pa.Table) -> pa.Table:
    """What a right purge leaves."""
    return table.filter(pa.array(~is_listed(table["face_id"].combine_chunks())))


def listed_vector(table: pa.Table, which: int = 3) -> bytes:
    """The float32 bytes of one listed person's vector."""
    value = table["vector"][which * 8].as_py()
    return value if isinstance(value, bytes) else np.array(value, "<f4").tobytes()


class Store(NamedTuple):
    """A folder with `a.parquet` purged by hand, and what was known about it before."""

    root: Path
    scratch: Path
    before: pa.Table
    settings: dict[str, Any]
    baselines: list[UnitBaseline]
    needles: Needles

    def write(self, table: pa.Table, name: str = "a.parquet", **settings: object) -> Path:
        """Write a file of the store the way the store writes."""
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, self.root / name, **(self.settings | settings))
        return self.root / name

    def check(self, name: str = "a.parquet") -> FileCheck:
        """Examine one file."""
        return check_file(self.root, name, self.needles, KEY, "face_id")

    def control(self) -> Control:
        """Plant and find."""
        return run_control(self.root / "a.parquet", "face_id", self.scratch, KEY)

    def judge(self, control: Control | None = None) -> StoreVerdict:
        """Examine everything there is, and judge."""
        names = [entry.path for entry in take_inventory(self.root) if entry.kind is Kind.FILE]
        checks = [self.check(name) for name in names]
        inventory = take_inventory(self.root)
        return judge_store("faces", self.baselines, checks, inventory, control or self.control())


def make_store(folder: Path, before: pa.Table | None = None, **settings: object) -> Store:
    """A store whose one file had `before`, and from which LISTED is properly gone."""
    root, scratch = folder / "store", folder / "scratch"
    root.mkdir()
    scratch.mkdir()
    before = faces() if before is None else before
    settings = {"row_group_size": 150, "compression": "zstd", "use_dictionary": ["subject"]} | settings
    pq.write_table(before, root / "a.parquet", **settings)
    baseline, fingerprints = take_baseline("a.parquet", read_rows(root / "a.parquet"), "face_id", is_listed, KEY)
    store = Store(root, scratch, before, settings, [baseline], make_needles(LISTED, fingerprints, KEY))
    store.write(survivors(before))
    return store
