"""The shuffle through files loses nothing and does not depend on the order in which pointers arrive."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipelines.spill import SpillWriter, read_spill, shard_of

SCHEMA = pa.schema([("value", pa.int64())])


def test_every_row_comes_back_in_its_shard(tmp_path: Path) -> None:
    pointers = []
    for file in range(3):
        with SpillWriter(tmp_path / f"{file}.arrow", SCHEMA) as spill:
            for chunk in range(2):
                values = np.arange(10) + 100 * file + 10 * chunk
                spill.write(pa.table({"value": values}), values % 4)
        pointers.append(spill.pointers())
    for shard in range(4):
        of_shard = [file[shard] for file in pointers]
        rows = read_spill(of_shard, SCHEMA).column("value").to_pylist()
        assert sorted(rows) == [
            value for file in range(3) for value in range(100 * file, 100 * file + 20) if value % 4 == shard
        ]
        assert read_spill(reversed(of_shard), SCHEMA).column("value").to_pylist() == rows


def test_an_interrupted_spill_leaves_no_file(tmp_path: Path) -> None:
    try:
        with SpillWriter(tmp_path / "spill.arrow", SCHEMA) as spill:
            spill.write(pa.table({"value": [1]}), np.zeros(1, np.int64))
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1), st.integers(1, 20_000))
def test_shards_are_in_range(hashes: list[int], shards: int) -> None:
    assert ((of := shard_of(np.array(hashes, np.uint64), shards)) >= 0).all() and (of < shards).all()


def test_shards_are_even() -> None:
    counts = np.bincount(shard_of(np.random.default_rng(1).integers(0, 2**64, 100_000, np.uint64), 7))
    assert counts.min() > 0.95 * counts.max()
