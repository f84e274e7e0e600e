"""How long a purge takes next to a plain copy of the files, and next to the programs one would otherwise use.

    .venv/bin/python benchmarks/purge.py [--files 4] [--rows 50000] [--rounds 2] [--folder DIR] [--memory-disk DIR]

A store of files with `record_id`, `subject_id` and `list<float>[512]`, uncompressed and with zstd, on a disk and on a
memory disk. 4 % of the rows go, scattered so that every page is hit; in the sparse case a fifth of the rows of 5 % of
the row groups, in two files. All methods run in one process, taking turns, each from the same files in a warm page
cache, and each ends with its output synced to disk; the peak memory is that of a process of its own. The table goes
to standard output and, at the default size, into `benchmarks/RESULTS.md`.
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
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from purge_methods import METHODS, ROW_GROUP, delta, lethe_uncompressed, make_delta
from results import circumstances, update_results

from stores.keys import KeySet

DIMENSIONS = 512
SHARE = 0.04
SPARSE_GROUPS, SPARSE_FILES, SPARSE_SHARE = 0.05, 2, 0.2
PACKAGES = ("pyarrow", "polars", "duckdb", "deltalake", "numpy")
FLOOR = "cp + fsync"


@dataclass(frozen=True)
class Case:
    """A store, and which of its rows go."""

    codec: str
    sparse: bool

    @property
    def title(self) -> str:
        """As the table heads it."""
        return f"{'uncompressed' if self.codec == 'none' else self.codec}, {'sparse' if self.sparse else 'scattered'}"

    def methods(self) -> list[str]:
        """The methods that make sense here."""
        left_out = {delta} if self.sparse else set()
        if self.codec == "none":
            left_out.add(lethe_uncompressed)
        return [name for name, method in METHODS.items() if method not in left_out]


CASES = (Case("none", False), Case("zstd", False), Case("none", True))


def make_store(folder: Path, files: int, rows: int, codec: str) -> list[pa.Array]:
    """Write the store; returns the ids of every file."""
    random = np.random.default_rng(20261122)
    everybody = []
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
            compression=codec,
            use_dictionary=["subject_id"],
            write_statistics=["record_id", "subject_id"],
        )
        everybody.append(ids)
    return everybody


def choose(everybody: list[pa.Array], sparse: bool) -> pa.Array:
    """The ids to remove."""
    random = np.random.default_rng(4)
    if not sparse:
        some = [ids.take(pa.array(random.choice(len(ids), int(len(ids) * SHARE), replace=False))) for ids in everybody]
        return pa.concat_arrays(some)
    groups = sum(-(-len(ids) // ROW_GROUP) for ids in everybody)
    hit = max(int(groups * SPARSE_GROUPS), 1)
    some = []
    for number in range(hit):
        group = everybody[number % min(SPARSE_FILES, len(everybody))].slice(number // SPARSE_FILES * ROW_GROUP)
        rows = min(len(group), ROW_GROUP)
        some.append(group.take(pa.array(random.choice(rows, int(rows * SPARSE_SHARE), replace=False))))
    return pa.concat_arrays(some)


def measure(folder: Path, case: Case, args: argparse.Namespace) -> tuple[int, dict[str, list[float]], dict[str, int]]:
    """The size of the store, the seconds of every method and round, the peak resident bytes of every method."""
    store = folder / "store"
    store.mkdir()
    ids = choose(make_store(store, args.files, args.rows, case.codec), case.sparse)
    with pa.ipc.new_file(str(folder / "ids.arrow"), pa.schema([("id", ids.type)])) as writer:
        writer.write_table(pa.table({"id": ids}))
    KeySet.write(folder / "keys.arrow", [ids])
    names = case.methods()
    if any(METHODS[name] is delta for name in names):
        make_delta(store, folder / "delta")
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(args.rounds + 1):  # the first one warms up
        for name in names:
            elapsed = run(folder, name)
            if turn:
                seconds[name].append(elapsed)
    command = [sys.executable, __file__, "--folder", str(folder), "--memory-of"]
    memory = {name: int(subprocess.check_output([*command, name])) for name in names}
    return sum(file.stat().st_size for file in store.iterdir()), seconds, memory


def run(folder: Path, name: str) -> float:
    """Run one method on a fresh copy of the store; returns seconds."""
    work, out, method = folder / "work", folder / "out", METHODS[name]
    ids = pa.ipc.open_file(str(folder / "ids.arrow")).read_all()["id"].combine_chunks()
    keys = KeySet.open(folder / "keys.arrow")
    shutil.copytree(folder / ("delta" if method is delta else "store"), work)
    out.mkdir()
    os.sync()
    start = time.perf_counter()
    method(work, out, keys, ids)
    elapsed = time.perf_counter() - start
    shutil.rmtree(work)
    shutil.rmtree(out)
    return elapsed


def peak_memory() -> int:
    """The highest resident size this process has had, in bytes; unlike `getrusage`, not that of its parent."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(found.group(1)) * 1024 if found else 0


def table(title: str, size: int, figures: dict[str, list[float]], memory: dict[str, int]) -> list[str]:
    """The lines of one table of `RESULTS.md`."""
    lines = [
        f"### {title}, {size / 1e6:,.0f} MB",
        "",
        "| method | s, median | s, best | x cp | MB/s | peak RSS MB |",
        "|---|---|---|---|---|---|",
    ]
    for name, runs in figures.items():
        seconds = statistics.median(runs)
        ratio = statistics.median(run / base for run, base in zip(runs, figures[FLOOR], strict=True))
        speed, peak = size / seconds / 1e6, memory[name] / 1e6
        lines.append(f"| {name} | {seconds:.2f} | {min(runs):.2f} | {ratio:.2f} | {speed:,.0f} | {peak:,.0f} |")
    return [*lines, ""]


def report(args: argparse.Namespace) -> str:
    """Measure everything; returns the section for `RESULTS.md`."""
    lines = [
        f"{args.files} files of {args.rows:,} rows, row groups of {ROW_GROUP:,}, list<float>[{DIMENSIONS}]. Scattered: "
        f"{SHARE:.0%} of the rows go, from every page. Sparse: {SPARSE_SHARE:.0%} of the rows of {SPARSE_GROUPS:.0%} "
        f"of the row groups, in {SPARSE_FILES} files; the peers rewrite all files. Median of {args.rounds} rounds in "
        "one process; x cp is the median of the ratios to the `cp` of the same round; peak RSS is of a process of its "
        "own, which has imported lethe. lethe locates, rewrites, reads again and compares, replaces and writes "
        "receipts. Delta starts from a table of the same rows; its log keeps the ids that were deleted. "
        f"{circumstances(PACKAGES)}.",
        "",
    ]
    places = {"disk": args.folder, "memory disk": args.memory_disk}
    for place, parent in places.items():
        if place != "disk" and not parent.is_dir():
            continue
        for case in CASES:
            with tempfile.TemporaryDirectory(dir=parent) as folder:
                lines += table(f"{case.title}, {place}", *measure(Path(folder), case, args))
    return "\n".join([*lines, "    .venv/bin/python benchmarks/purge.py", ""])


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=4)
    parser.add_argument("--rows", type=int, default=50_000, help="rows of each file")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help="where to work; default: the temporary folder of the system")
    parser.add_argument("--memory-disk", type=Path, default=Path("/dev/shm"), help="left out if it is not there")
    args = parser.parse_args()
    if args.memory_of:
        run(args.folder, args.memory_of)
        print(peak_memory())
        return
    section = report(args)
    print(section)
    if (args.files, args.rows) == (parser.get_default("files"), parser.get_default("rows")):
        update_results("Purge", section)


if __name__ == "__main__":
    main()
