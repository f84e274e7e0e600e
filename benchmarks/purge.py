"""How long a purge takes next to a plain copy of the files, and next to the programs one would otherwise use.

    .venv/bin/python benchmarks/purge.py [--files 8] [--rows 50000] [--rounds 3] [--folder DIR]

A store of files with `record_id`, `subject_id` and `list<float>[512]`, 4 % of the rows to go, scattered so that every
page is hit. All methods run in one process, taking turns, each from the same files in a warm page cache, and each
ends with its output synced to disk. Ours locates, rewrites, checks, replaces and writes receipts; Polars and pyarrow
read, filter and write the rows. The table goes to standard output and into `benchmarks/RESULTS.md`.
"""

import argparse
import datetime
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stores.contract import Match, Receipt
from stores.keys import KeySet
from stores.parquet import ParquetStore

DIMENSIONS = 512
ROW_GROUP = 10_000
SHARE = 0.04
THREADS = 2
RESULTS = Path(__file__).parent / "RESULTS.md"


def make_store(folder: Path, files: int, rows: int) -> pa.Array:
    """Write the store; returns the ids to delete."""
    random = np.random.default_rng(20261122)
    doomed = []
    for number in range(files):
        ids = pa.array([f"r{number:03d}{row:016d}" for row in range(rows)])
        vectors = random.standard_normal((rows, DIMENSIONS), dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        offsets = pa.array(np.arange(0, rows * DIMENSIONS + 1, DIMENSIONS, dtype=np.int32))
        table = pa.table(
            {
                "record_id": ids,
                "subject_id": pa.array([f"s{subject:07d}" for subject in random.integers(0, rows, rows)]),
                "embedding": pa.ListArray.from_arrays(offsets, pa.array(vectors.ravel())),
            }
        )
        pq.write_table(
            table,
            folder / f"faces-{number:03d}.parquet",
            row_group_size=ROW_GROUP,
            compression="none",
            use_dictionary=["subject_id"],
            write_statistics=["record_id", "subject_id"],
        )
        doomed.append(ids.take(pa.array(random.choice(rows, int(rows * SHARE), replace=False))))
    return pa.concat_arrays(doomed)


def fsync(path: Path) -> None:
    """Wait until the content of a file is on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def copy(store: Path, out: Path, keys: KeySet, ids: pa.Array) -> None:
    """The floor: `cp`, and the sync."""
    for file in sorted(store.iterdir()):
        subprocess.run(["cp", file, out / file.name], check=True)
        fsync(out / file.name)


def lethe(store: Path, out: Path, keys: KeySet, ids: pa.Array) -> None:
    """Locate and purge in place, a thread a file."""
    faces = ParquetStore(str(store), "record_id")

    def work(unit: str) -> tuple[Match, Receipt]:
        match = faces.locate(unit, keys)
        return match, faces.purge(match, keys, out / "ledger")

    with ThreadPoolExecutor(THREADS) as pool:
        receipts = [receipt for _, receipt in pool.map(work, faces.units())]
    if sum(receipt.rows_removed for receipt in receipts) != len(ids):
        raise SystemExit(f"not removed: {[receipt.detail for receipt in receipts]}")


def polars(store: Path, out: Path, keys: KeySet, ids: pa.Array) -> None:
    """Scan, anti-join, sink; Polars uses all cores by itself."""
    doomed = pl.LazyFrame({"record_id": pl.from_arrow(ids)})
    for file in sorted(store.iterdir()):
        rest = pl.scan_parquet(file).join(doomed, on="record_id", how="anti", maintain_order="left")
        rest.sink_parquet(out / file.name, compression="uncompressed", row_group_size=ROW_GROUP, statistics=False)
        fsync(out / file.name)


def polars_is_in(store: Path, out: Path, keys: KeySet, ids: pa.Array) -> None:
    """Scan, filter by membership, sink."""
    doomed = pl.from_arrow(ids)
    for file in sorted(store.iterdir()):
        rest = pl.scan_parquet(file).filter(~pl.col("record_id").is_in(doomed.implode()))
        rest.sink_parquet(out / file.name, compression="uncompressed", row_group_size=ROW_GROUP, statistics=False)
        fsync(out / file.name)


def pyarrow_naive(store: Path, out: Path, keys: KeySet, ids: pa.Array) -> None:
    """Read the file, filter, write the file."""
    for file in sorted(store.iterdir()):
        table = pq.read_table(file)
        rest = table.filter(pc.invert(pc.is_in(table["record_id"], value_set=ids)))
        pq.write_table(rest, out / file.name, compression="none")
        fsync(out / file.name)


METHODS: dict[str, Callable[[Path, Path, KeySet, pa.Array], None]] = {
    "cp + fsync": copy,
    f"lethe, {THREADS} threads": lethe,
    "Polars scan, anti-join, sink + fsync": polars,
    "Polars scan, is_in, sink + fsync": polars_is_in,
    "pyarrow read, filter, write + fsync": pyarrow_naive,
}


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """Yield a list that ends with the highest resident size of the process, in bytes, sampled every 5 ms."""
    process, done, peak = psutil.Process(), threading.Event(), [0]

    def watch() -> None:
        while not done.wait(0.005):
            peak[0] = max(peak[0], process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def measure(folder: Path, files: int, rows: int, rounds: int) -> tuple[int, dict[str, list[tuple[float, int]]]]:
    """Seconds and peak bytes of every method, every round; and the size of the store."""
    store, work, out = folder / "store", folder / "work", folder / "out"
    store.mkdir()
    ids = make_store(store, files, rows)
    keys = KeySet.write(folder / "keys.arrow", [ids])
    figures: dict[str, list[tuple[float, int]]] = {name: [] for name in METHODS}
    for turn in range(rounds + 1):  # the first one warms up
        for name, method in METHODS.items():
            shutil.copytree(store, work)
            out.mkdir()
            os.sync()
            with peak_memory() as peak:
                start = time.perf_counter()
                method(work, out, keys, ids)
                seconds = time.perf_counter() - start
            if turn:
                figures[name].append((seconds, peak[0]))
            shutil.rmtree(work)
            shutil.rmtree(out)
    return sum(file.stat().st_size for file in store.iterdir()), figures


def report(size: int, figures: dict[str, list[tuple[float, int]]], args: argparse.Namespace) -> str:
    """The section for `RESULTS.md`."""
    floor = [seconds for seconds, _ in figures["cp + fsync"]]
    lines = [
        "## Purge",
        "",
        f"{args.files} files of {args.rows:,} rows, row groups of {ROW_GROUP:,}, list<float>[{DIMENSIONS}] "
        f"uncompressed, {size / 1e6:,.0f} MB; {SHARE:.0%} of the rows go, scattered. Median of {args.rounds} rounds in one process; "
        f"x cp is the median of the ratios to the `cp` of the same round. {machine()}, {datetime.date.today()}.",
        "",
        "| method | s | x cp | MB/s | peak RSS MB |",
        "|---|---|---|---|---|",
    ]
    for name, runs in figures.items():
        seconds = statistics.median(run[0] for run in runs)
        ratio = statistics.median(run[0] / base for run, base in zip(runs, floor, strict=True))
        peak = max(run[1] for run in runs) / 1e6
        lines.append(f"| {name} | {seconds:.2f} | {ratio:.2f} | {size / seconds / 1e6:,.0f} | {peak:,.0f} |")
    lines += ["", "    .venv/bin/python benchmarks/purge.py", ""]
    return "\n".join(lines)


def machine() -> str:
    """Processor and cores."""
    models = re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return f"{models[0] if models else 'unknown processor'}, {os.cpu_count()} cores"


def update_results(section: str) -> None:
    """Put the section in the place of the old one, or at the end."""
    old = RESULTS.read_text() if RESULTS.exists() else "# Results\n\nEach section names the command that makes it.\n"
    kept = re.sub(r"^## Purge\n.*?(?=^## |\Z)", "", old, flags=re.MULTILINE | re.DOTALL).rstrip()
    RESULTS.write_text(f"{kept}\n\n{section}")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--rows", type=int, default=50_000, help="rows of each file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to work; default: the temporary folder of the system")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        section = report(*measure(Path(folder), args.files, args.rows, args.rounds), args)
    print(section)
    if (args.files, args.rows) == (parser.get_default("files"), parser.get_default("rows")):
        update_results(section)


if __name__ == "__main__":
    main()
