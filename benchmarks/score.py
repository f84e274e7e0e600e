"""How many records a second `lethe score` scores, next to the pipeline one writes first, and to reading alone.

    .venv/bin/python benchmarks/score.py [--records 1000000] [--rounds 3] [--memory] [--folder DIR]

The job is that of `benchmarks/records.py`: a text of 65 characters on every record, no two alike, all five signals on.
`lethe score` runs as a user runs it, in a process of its own, start-up and durable writes included; the baseline
(`benchmarks/score_baseline.py`) is timed on a few thousand of the same records, without its start-up. `--memory` scores
four times as many records too, which also tells the rate without start-up. At the default size the table goes into
`benchmarks/RESULTS.md`.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from records import write_job
from results import circumstances, update_results

from schemas.records import RECORD

HERE = Path(__file__).parent
LETHE = Path(sys.executable).parent / "lethe"
GROWTH = 4
PACKAGES = ("apache-beam", "pyarrow", "numpy", "numba", "langdetect", "py3langid", "phonenumbers", "geoip2", "tzfpy")


class Run(NamedTuple):
    """One run: seconds, and the peak resident size of its process in bytes (0 if not measured)."""

    records: int
    wall: float
    cpu: float
    peak: int = 0

    @property
    def rate(self) -> float:
        """Records a second."""
        return self.records / self.wall

    @property
    def cpu_rate(self) -> float:
        """Records per second of CPU time."""
        return self.records / self.cpu


def score(job: Path, records: int, workers: int) -> Run:
    """`lethe score`, from nothing, in a process of its own."""
    shutil.rmtree(job.parent / "out", ignore_errors=True)
    command = [str(LETHE), "score", str(job), "--json", "--", f"--direct_num_workers={workers}"]
    with tempfile.TemporaryFile() as said:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        said.seek(0)
        content = said.read()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"lethe score failed with exit code {process.returncode}")
    read = json.loads(content)["score"]["read"]
    if read != records:
        raise SystemExit(f"lethe score read {read} records of {records}")
    return Run(records, wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def baseline(job: Path, records: int, workers: int) -> Run:
    """The pipeline one writes first, on some of the records."""
    command = [sys.executable, str(HERE / "score_baseline.py"), str(job.parent), str(records), str(workers)]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    said = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, env=environment)
    return Run(**json.loads(said.stdout))


def read(job: Path) -> Run:
    """Read with pyarrow the columns that scoring reads, and nothing else, with one thread."""
    pa.set_cpu_count(1)
    records, wall, cpu = 0, time.perf_counter(), time.process_time()
    for path in sorted((job.parent / "records").iterdir()):
        with pq.ParquetFile(path, memory_map=True) as file:
            for batch in file.iter_batches(columns=RECORD.names, use_threads=False):
                records += len(batch)
    return Run(records, time.perf_counter() - wall, time.process_time() - cpu)


def typical(runs: list[Run]) -> Run:
    """The run of median wall time."""
    return sorted(runs, key=lambda run: run.wall)[(len(runs) - 1) // 2]


def measure(folder: Path, options: argparse.Namespace) -> str:
    """Run everything, taking turns; returns the section for `RESULTS.md`."""
    job = write_job(folder / "job", options.records)
    ours, theirs, alone, load = [], [], [], []
    for _ in range(options.rounds):
        load.append(os.getloadavg()[0])
        ours.append(score(job, options.records, options.workers))
        theirs.append(baseline(job, options.baseline_records, options.workers))
        alone.append(read(job))
    ratios = [mine.rate / other.rate for mine, other in zip(ours, theirs, strict=True)]
    work = [mine.cpu_rate / other.cpu_rate for mine, other in zip(ours, theirs, strict=True)]
    lines = [
        f"{options.records:,} records, each with a text of its own of 65 characters on average, all signals on; "
        f"{options.workers} workers of the local runner; the median of {options.rounds} rounds that take turns. "
        f"{circumstances(PACKAGES)}; load average of the machine before each round "
        f"{', '.join(f'{before:.1f}' for before in load)}, of which at most {options.workers} is ours.",
        "",
        "| | records | wall s | CPU s | records/s | records per CPU s | peak RSS MB |",
        "|---|---|---|---|---|---|---|",
        row("`lethe score`, start-up included", typical(ours)),
        row("Beam row by row, start-up left out", typical(theirs)),
        row("pyarrow, reading alone, one thread", typical(alone)),
        "",
        f"`lethe score` scores {statistics.median(ratios):,.0f} times as many records a second as the row by row "
        f"pipeline, and {statistics.median(work):,.0f} times as many per second of CPU time; in the best round it "
        f"scored {max(run.rate for run in ours):,.0f} a second. The row by row rate is that of "
        f"{options.baseline_records:,} records; for {options.records:,} it is extrapolated.",
    ]
    if options.memory:
        shutil.rmtree(folder / "job")
        lines += ["", *memory(folder, typical(ours), options)]
    return "\n".join([*lines, "", f"    .venv/bin/python benchmarks/score.py{' --memory' * options.memory}"])


def memory(folder: Path, small: Run, options: argparse.Namespace) -> list[str]:
    """Score several times as many records: what that adds to the peak, and the rate of the records added."""
    records = GROWTH * options.records
    large = score(write_job(folder / "large", records), records, options.workers)
    added = Run(records - small.records, large.wall - small.wall, large.cpu - small.cpu)
    return [
        f"{records:,} records: {large.wall:.1f} s, {large.rate:,.0f} a second, peak RSS {large.peak / 1e6:,.0f} MB, "
        f"{large.peak / small.peak:.2f} times that of {small.records:,}. The records added, which know no start-up: "
        f"{added.rate:,.0f} a second, {added.cpu_rate:,.0f} per second of CPU time.",
    ]


def row(name: str, run: Run) -> str:
    """A row of the table."""
    peak = f"{run.peak / 1e6:,.0f}" if run.peak else ""
    figures = f"{run.records:,} | {run.wall:.2f} | {run.cpu:.2f} | {run.rate:,.0f} | {run.cpu_rate:,.0f}"
    return f"| {name} | {figures} | {peak} |"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--baseline-records", type=int, default=3_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help=f"score {GROWTH} times as many records too")
    parser.add_argument("--folder", type=Path, help="where to work; default: the temporary folder of the system")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        section = measure(Path(folder), options)
    print(section)
    if options.records == parser.get_default("records"):
        update_results("Score", section)


if __name__ == "__main__":
    main()
