"""What lies under any scoring: the bytes of the columns, and the relational part of the work without the scoring.

bytes     read the column chunks that scoring needs, and decode nothing
pyarrow   decode them, with one thread
polars    decode them, and count records, texts, places and addresses of every subject
duckdb    the same

.venv/bin/python benchmarks/score_relational.py JOB_FOLDER WORKERS
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

WORKERS = int(sys.argv[2])
os.environ["POLARS_MAX_THREADS"] = str(WORKERS)

import duckdb  # noqa: E402
import polars as pl  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402

from schemas.records import RECORD  # noqa: E402

COUNTED = ("caption", "latitude", "uploader_ip", "source_url", "uploader_id", "image_id", "face_id")


def read_bytes(folder: Path) -> int:
    """Read the chunks of the columns of `RECORD`, as they lie in the files; returns the records."""
    records = 0
    for path in sorted(folder.iterdir()):
        metadata = pq.read_metadata(path)
        records += metadata.num_rows
        with path.open("rb") as file:
            for group in map(metadata.row_group, range(metadata.num_row_groups)):
                for chunk in map(group.column, range(group.num_columns)):
                    if chunk.path_in_schema in RECORD.names:
                        start = chunk.dictionary_page_offset or chunk.data_page_offset
                        file.seek(start)
                        file.read(chunk.total_compressed_size)
    return records


def decode(folder: Path) -> int:
    """Decode these columns with pyarrow, one thread."""
    pa.set_cpu_count(1)
    records = 0
    for path in sorted(folder.iterdir()):
        with pq.ParquetFile(path, memory_map=True) as file:
            for batch in file.iter_batches(columns=RECORD.names, use_threads=False):
                records += len(batch)
    return records


def group_polars(folder: Path) -> int:
    """Count by subject with Polars."""
    counts = pl.scan_parquet(folder / "*.parquet").group_by("subject_id").agg(pl.len(), pl.col(COUNTED).count())
    return int(counts.collect()["len"].sum())


def group_duckdb(folder: Path) -> int:
    """Count by subject with DuckDB."""
    duckdb.execute(f"SET threads = {WORKERS}")
    counts = ", ".join(f"count({name})" for name in COUNTED)
    files = str(folder / "*.parquet").replace("'", "''")
    grouped = duckdb.execute(f"SELECT subject_id, count(*) AS n, {counts} FROM '{files}' GROUP BY ALL").to_arrow_table()
    return int(sum(grouped["n"].to_pylist()))


METHODS: dict[str, Callable[[Path], int]] = {
    "bytes": read_bytes,
    "pyarrow": decode,
    "polars": group_polars,
    "duckdb": group_duckdb,
}


def main() -> None:
    """Print the seconds of each, as JSON."""
    folder, runs = Path(sys.argv[1]) / "records", {}
    for name, method in METHODS.items():
        wall, cpu = time.perf_counter(), time.process_time()
        records = method(folder)
        runs[name] = {"records": records, "wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    print(json.dumps(runs))


if __name__ == "__main__":
    main()
