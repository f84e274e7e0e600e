"""The ways to remove rows from a store that `purge.py` compares; each leaves its output synced to disk.

Every method takes a folder of Parquet files that it may change, a folder to write to, and the ids to remove. The
libraries of the peers are imported when they are called, so that the memory of one is not counted for another.
"""

import contextlib
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stores.contract import Receipt
from stores.keys import KeySet
from stores.parquet import ParquetStore

THREADS = 2
ROW_GROUP = 10_000
Method = Callable[[Path, Path, KeySet, pa.Array], None]


def fsync(path: Path) -> None:
    """Wait until the content of a file is on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def codec_of(file: Path) -> str:
    """The codec of the vectors of a file, as writers name it."""
    codec: str = pq.read_metadata(file).row_group(0).column(2).compression.lower()
    return codec


def copy(store: Path, out: Path, keys: KeySet, ids: pa.Array) -> None:
    """The floor: `cp`, and the sync."""
    for file in sorted(store.iterdir()):
        subprocess.run(["cp", file, out / file.name], check=True)
        fsync(out / file.name)


def purge_store(faces: ParquetStore, out: Path, keys: KeySet, ids: pa.Array, threads: int) -> None:
    """Locate, rewrite, check, replace and write receipts, in place."""

    def work(unit: str) -> Receipt:
        return faces.purge(faces.locate(unit, keys), keys, out / "ledger")

    with ThreadPoolExecutor(threads) as pool:
        check(list(pool.map(work, faces.units())), ids)


def check(receipts: list[Receipt], ids: pa.Array) -> None:
    """Stop when not all rows are gone."""
    if sum(receipt.rows_removed for receipt in receipts) != len(ids):
        raise SystemExit(f"not removed: {[receipt.detail for receipt in receipts]}")


def lethe(store: Path, out: Path, keys: KeySet, ids: pa.Array) -> None:
    """A thread a file."""
    purge_store(ParquetStore(str(store), "record_id"), out, keys, ids, THREADS)


def lethe_alone(store: Path, out: Path, keys: KeySet, ids: pa.Array) -> None:
    """One file after another."""
    purge_store(ParquetStore(str(store), "record_id"), out, keys, ids, 1)


def lethe_uncompressed(store: Path, out: Path, keys: KeySet, ids: pa.Array) -> None:
    """A thread a file, vectors written uncompressed."""
    purge_store(ParquetStore(str(store), "record_id", "none"), out, keys, ids, THREADS)


def lethe_proven(store: Path, out: Path, keys: KeySet, ids: pa.Array) -> None:
    """What `lethe purge` does to each file: the verifier's baseline before, its look at the new file, and the purge."""
    from pipelines.baseline import BaselineWork
    from pipelines.ledger import Ledger
    from pipelines.purge import PurgeWork, purge_unit
    from schemas.job import StoreSection

    section = StoreSection(kind="parquet", path=str(store.resolve()), key="record_id", holds="vectors")
    baseline = BaselineWork(section, Ledger(out / "baseline" / "faces"), out / "secret")
    work = PurgeWork("faces", section, keys.path, out / "receipts", Ledger(out / "located"), baseline)
    with ThreadPoolExecutor(THREADS) as pool:
        check(list(pool.map(lambda unit: purge_unit(unit, keys, work), work.open_store().units())), ids)


def polars(store: Path, out: Path, keys: KeySet, ids: pa.Array) -> None:
    """Scan, anti-join, sink; Polars uses all cores by itself."""
    import polars as pl

    doomed = pl.LazyFrame({"record_id": pl.from_arrow(ids)})
    for file in sorted(store.iterdir()):
        rest = pl.scan_parquet(file).join(doomed, on="record_id", how="anti", maintain_order="left")
        rest.sink_parquet(out / file.name, compression=codec_of(file), row_group_size=ROW_GROUP, statistics=False)
        fsync(out / file.name)


def duckdb(store: Path, out: Path, keys: KeySet, ids: pa.Array) -> None:
    """COPY of an anti-join; DuckDB uses all cores by itself."""
    import duckdb as duck

    with contextlib.closing(duck.connect()) as connection:
        connection.register("doomed", pa.table({"record_id": ids}))
        for file in sorted(store.iterdir()):
            connection.execute(
                f"copy (from '{file}' faces anti join doomed using (record_id)) to '{out / file.name}' "
                f"(format parquet, row_group_size {ROW_GROUP}, compression {codec_of(file)})"
            )
            fsync(out / file.name)


def pyarrow_stream(store: Path, out: Path, keys: KeySet, ids: pa.Array) -> None:
    """Read, filter and write a row group at a time."""
    for file in sorted(store.iterdir()):
        source = pq.ParquetFile(file, memory_map=True)
        codec = codec_of(file).replace("uncompressed", "none")
        options = {"compression": codec, "use_dictionary": ["subject_id"], "write_statistics": ["record_id"]}
        with pq.ParquetWriter(out / file.name, source.schema_arrow, **options) as writer:
            for group in range(source.num_row_groups):
                table = source.read_row_group(group)
                writer.write_table(table.filter(pc.invert(pc.is_in(table["record_id"], value_set=ids))))
        fsync(out / file.name)


def delta(store: Path, out: Path, keys: KeySet, ids: pa.Array) -> None:
    """Delete with a list of ids, then vacuum at once; the log keeps the list."""
    try:
        from deltalake import DeltaTable
    except ImportError as error:
        raise SystemExit("Delta is compared by `deltalake`, which is not installed: run make setup") from error

    table = DeltaTable(store)
    table.delete(f"record_id in ({', '.join(repr(face) for face in ids.to_pylist())})")
    table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    for file in store.rglob("*.parquet"):
        fsync(file)


def make_delta(store: Path, folder: Path) -> None:
    """The same files as a Delta table."""
    from deltalake import WriterProperties, write_deltalake

    for file in sorted(store.iterdir()):
        options = WriterProperties(compression=codec_of(file).upper(), max_row_group_size=ROW_GROUP)
        write_deltalake(folder, pq.read_table(file), mode="append", writer_properties=options)


METHODS: dict[str, Method] = {
    "cp + fsync": copy,
    f"lethe, {THREADS} threads": lethe,
    f"lethe, {THREADS} threads, vectors uncompressed": lethe_uncompressed,
    "lethe, 1 thread": lethe_alone,
    f"lethe, {THREADS} threads, with baseline and inspection": lethe_proven,
    "Polars scan, anti-join, sink + fsync": polars,
    "DuckDB copy of an anti-join + fsync": duckdb,
    "pyarrow, a row group at a time + fsync": pyarrow_stream,
    "Delta delete, vacuum + fsync": delta,
}
