"""How long a purge takes next to a plain copy of the files, and next to the programs one would otherwise use.

    .venv/bin/python benchmarks/purge.py [--files 8] [--rows 50000] [--rounds 3] [--folder DIR]

A store of files with `record_id`, `subject_id` and `list<float>[512]`, 4 % of the rows to go, scattered so that every
page is hit. All methods run in one process, taking turns, each from the same files in a warm page cache, and each
ends with its output synced to disk; the peak memory is that of a process of its own. Ours locates, rewrites, checks,
replaces and writes receipts, once alone and once with all that the proof takes: digests and fingerprints before, and
a second reader's look at the new file. Polars and pyarrow read, filter and write the rows. The table goes to standard
output and, at the default size, into `benchmarks/RESULTS.md`.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from results import circumstances, update_results

from pipelines.baseline import BaselineWork
from pipelines.ledger import Ledger
from pipelines.purge import PurgeWork, purge_unit
from schemas.job import StoreSection
from stores.contract import Match, Receipt
from stores.keys import KeySet
from stores.parquet import ParquetStore

DIMENSIONS = 512
ROW_GROUP = 10_000
SHARE = 0.04
THREADS = 2
PACKAGES = ("pyarrow", "polars", "numpy")


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


def lethe_proven(store: Path, out: Path, keys: KeySet, ids: pa.Array) -> None:
    """What `lethe purge` does to each file: the verifier's baseline before, its look at the new file, and the purge."""
    section = StoreSection(kind="parquet", path=str(store), key="record_id", holds="vectors")
    baseline = BaselineWork(store.resolve(), "record_id", Ledger(out / "baseline" / "faces"), out / "secret")
    work = PurgeWork("faces", section, str(store), keys.path, out / "receipts", Ledger(out / "located"), baseline)
    with ThreadPoolExecutor(THREADS) as pool:
        receipts = list(pool.map(lambda unit: purge_unit(unit, keys, work), work.open_store().units()))
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
    f"lethe, {THREADS} threads, with baseline and inspection": lethe_proven,
    "Polars scan, anti-join, sink + fsync": polars,
    "Polars scan, is_in, sink + fsync": polars_is_in,
    "pyarrow read, filter, write + fsync": pyarrow_naive,
}


def measure(folder: Path, files: int, rows: int, rounds: int) -> tuple[int, dict[str, list[float]], dict[str, int]]:
    """The size of the store, the seconds of every method and round, the peak resident bytes of every method."""
    store = folder / "store"
    store.mkdir()
    ids = make_store(store, files, rows)
    with pa.ipc.new_file(str(folder / "ids.arrow"), pa.schema([("id", ids.type)])) as writer:
        writer.write_table(pa.table({"id": ids}))
    KeySet.write(folder / "keys.arrow", [ids])
    seconds: dict[str, list[float]] = {name: [] for name in METHODS}
    for turn in range(rounds + 1):  # the first one warms up
        for name in METHODS:
            elapsed = run(folder, name)
            if turn:
                seconds[name].append(elapsed)
    command = [sys.executable, __file__, "--folder", str(folder), "--memory-of"]
    memory = {name: int(subprocess.check_output([*command, name])) for name in METHODS}
    return sum(file.stat().st_size for file in store.iterdir()), seconds, memory


def run(folder: Path, name: str) -> float:
    """Run one method on a fresh copy of the store; returns seconds."""
    work, out = folder / "work", folder / "out"
    ids = pa.ipc.open_file(str(folder / "ids.arrow")).read_all()["id"].combine_chunks()
    keys = KeySet.open(folder / "keys.arrow")
    shutil.copytree(folder / "store", work)
    out.mkdir()
    os.sync()
    start = time.perf_counter()
    METHODS[name](work, out, keys, ids)
    elapsed = time.perf_counter() - start
    shutil.rmtree(work)
    shutil.rmtree(out)
    return elapsed


def peak_memory() -> int:
    """The highest resident size this process has had, in bytes; unlike `getrusage`, not that of its parent."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(found.group(1)) * 1024 if found else 0


def report(size: int, figures: dict[str, list[float]], memory: dict[str, int], args: argparse.Namespace) -> str:
    """The section for `RESULTS.md`."""
    floor = figures["cp + fsync"]
    lines = [
        f"{args.files} files of {args.rows:,} rows, row groups of {ROW_GROUP:,}, list<float>[{DIMENSIONS}] "
        f"uncompressed, {size / 1e6:,.0f} MB; {SHARE:.0%} of the rows go, scattered. Median of {args.rounds} rounds in "
        "one process; x cp is the median of the ratios to the `cp` of the same round; peak RSS is of a process of its "
        f"own. {circumstances(PACKAGES)}.",
        "",
        "| method | s, median | s, best | x cp | MB/s | peak RSS MB |",
        "|---|---|---|---|---|---|",
    ]
    for name, runs in figures.items():
        seconds = statistics.median(runs)
        ratio = statistics.median(run / base for run, base in zip(runs, floor, strict=True))
        speed, peak = size / seconds / 1e6, memory[name] / 1e6
        lines.append(f"| {name} | {seconds:.2f} | {min(runs):.2f} | {ratio:.2f} | {speed:,.0f} | {peak:,.0f} |")
    lines += ["", "    .venv/bin/python benchmarks/purge.py", ""]
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--rows", type=int, default=50_000, help="rows of each file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help="where to work; default: the temporary folder of the system")
    args = parser.parse_args()
    if args.memory_of:
        run(args.folder, args.memory_of)
        print(peak_memory())
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        section = report(*measure(Path(folder), args.files, args.rows, args.rounds), args)
    print(section)
    if (args.files, args.rows) == (parser.get_default("files"), parser.get_default("rows")):
        update_results("Purge", section)


if __name__ == "__main__":
    main()
