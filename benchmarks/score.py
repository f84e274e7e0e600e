"""How many records a second `lethe score` scores, how that grows, and what other ways of reading them take.

    .venv/bin/python benchmarks/score.py [--records 1000000] [--rounds 3] [--growth 2 4 8] [--folder DIR]

The job is that of `benchmarks/records.py`: a text of 65 characters on every record, no two alike, all five signals on.
`lethe score` runs as a user runs it, in a process of its own, start-up and durable writes included. Beside it: the
same functions in a plain process pool (`score_pool.py`), which tells what Beam costs; the pipeline one writes first
(`score_baseline.py`), on a few thousand of the same records; reading alone, and counting by subject in Polars and
DuckDB (`score_relational.py`). Then several times as many records: the rate without start-up, and the memory.
Everything uses the same number of workers. At the default size the tables go into `benchmarks/RESULTS.md`.
"""

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from memory import Watch
from records import write_job
from results import circumstances, update_results

HERE = Path(__file__).parent
LETHE = Path(sys.executable).parent / "lethe"
PACKAGES = (
    "apache-beam",
    "pyarrow",
    "numpy",
    "numba",
    "langdetect",
    "py3langid",
    "phonenumbers",
    "geoip2",
    "tzfpy",
    "polars",
)
_FLOORS = {
    "bytes": "the bytes of the columns, read and not decoded, one thread",
    "pyarrow": "pyarrow, the columns decoded, one thread",
    "polars": "Polars, counts by subject",
    "duckdb": "DuckDB, counts by subject",
}


class Run(NamedTuple):
    """One run: seconds, and the most memory its processes held together, in bytes (0 if not measured)."""

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
        with Watch(process.pid) as memory:
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
    return Run(records, wall, usage.ru_utime + usage.ru_stime, memory.peak)


def beside(script: str, job: Path, *arguments: int) -> dict[str, Any]:
    """What another way of doing it says of itself, in a process of its own."""
    command = [sys.executable, str(HERE / script), str(job.parent), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    said = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, env=environment)
    return dict(json.loads(said.stdout))


def typical(runs: list[Run]) -> Run:
    """The run of median wall time."""
    return sorted(runs, key=lambda run: run.wall)[(len(runs) - 1) // 2]


def fastest(runs: list[Run]) -> Run:
    """The run that the rest of the machine disturbed least."""
    return min(runs, key=lambda run: run.wall)


def measure(folder: Path, options: argparse.Namespace) -> str:
    """Run everything, taking turns; returns the section for `RESULTS.md`."""
    job, workers = write_job(folder / "job", options.records), options.workers
    larger = {times: write_job(folder / f"job-{times}", times * options.records) for times in options.growth}
    grown: dict[int, list[Run]] = {times: [] for times in larger}
    ours, pool, naive, load = [], [], [], []
    floors: dict[str, list[Run]] = {name: [] for name in _FLOORS}
    for _ in range(options.rounds):
        load.append(os.getloadavg()[0])
        ours.append(score(job, options.records, workers))
        pool.append(Run(**beside("score_pool.py", job, workers)))
        naive.append(Run(**beside("score_baseline.py", job, options.baseline_records, workers)))
        for name, run in beside("score_relational.py", job, workers).items():
            floors[name].append(Run(**run))
        for times, more in larger.items():
            grown[times].append(score(more, times * options.records, workers))
            shutil.rmtree(more.parent / "out")
    ratios = [mine.rate / other.rate for mine, other in zip(ours, naive, strict=True)]
    work = [mine.cpu_rate / other.cpu_rate for mine, other in zip(ours, naive, strict=True)]
    one = typical(ours)
    return "\n".join(
        [
            f"{options.records:,} records, each with a text of its own of 65 characters on average, all signals on; "
            f"{workers} workers; the median of {options.rounds} rounds that take turns. {circumstances(PACKAGES)}; "
            f"load average of the machine before each round {', '.join(f'{before:.1f}' for before in load)}, of which "
            f"at most {workers} is ours.",
            "",
            *table(
                ("`lethe score`, start-up included", one),
                ("the same functions in a process pool, start-up left out", typical(pool)),
                ("Beam row by row, start-up left out", typical(naive)),
                *((_FLOORS[name], typical(runs)) for name, runs in floors.items()),
            ),
            "",
            f"`lethe score` scores {statistics.median(ratios):,.0f} times as many records a second as the row by row "
            f"pipeline, and {statistics.median(work):,.0f} times as many per second of CPU time; in the best round it "
            f"scored {max(run.rate for run in ours):,.0f} a second. The row by row rate is that of "
            f"{options.baseline_records:,} records; for {options.records:,} it is extrapolated.",
            "",
            "The fastest of the rounds, for the machine is shared:",
            "",
            *growth([fastest(ours), *map(fastest, grown.values())], fastest(pool)),
            "",
            "    .venv/bin/python benchmarks/score.py",
        ]
    )


def growth(runs: list[Run], pool: Run) -> list[str]:
    """What more records take: a table, and the rate of those added, which know no start-up."""
    small, large = runs[0], runs[-1]
    lines = table(*((f"`lethe score`, {run.records / small.records:.0f} times", run) for run in runs))
    if large.records == small.records:
        return lines
    added = Run(large.records - small.records, large.wall - small.wall, large.cpu - small.cpu)
    doubled = [
        f"{after.wall / before.wall:.2f}"
        for before, after in itertools.pairwise(runs)
        if after.records == 2 * before.records
    ]
    return [
        *lines,
        "",
        f"The records added know no start-up: {added.rate:,.0f} a second, {added.cpu_rate:,.0f} per second of CPU "
        f"time. Twice the records take {', '.join(doubled)} times as long. The highest peak is "
        f"{max(run.peak for run in runs) / min(run.peak for run in runs):.2f} times the lowest. Per record, Beam takes "
        f"{pool.rate / added.rate:.2f} times as long as the process pool, in CPU time "
        f"{pool.cpu_rate / added.cpu_rate:.2f} times.",
    ]


def table(*rows: tuple[str, Run]) -> list[str]:
    """Runs with their names."""
    head = [
        "| | records | wall s | CPU s | records/s | records per CPU s | peak MB |",
        "|---|---|---|---|---|---|---|",
    ]
    return [*head, *(row(*each) for each in rows)]


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
    parser.add_argument("--growth", type=int, nargs="*", default=[2, 4, 8], help="so many times the records, too")
    parser.add_argument("--folder", type=Path, help="where to work; default: the temporary folder of the system")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        section = measure(Path(folder), options)
    print(section)
    if options.records == parser.get_default("records"):
        update_results("Score", section)


if __name__ == "__main__":
    main()
