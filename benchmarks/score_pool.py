"""The functions of `lethe score` without Beam: two calls of a plain process pool, one for each step.

    units ─ extract_unit ─ pointers by shard ─ find_in_shard, score_shard ─ reports

What `lethe score` takes more than this is what Beam costs. Prints seconds as JSON, those of CPU time in
the workers; without start-up: every process has its models before the clock starts.

    .venv/bin/python benchmarks/score_pool.py JOB_FOLDER WORKERS
"""

import json
import multiprocessing
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from multiprocessing.pool import Pool
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pyarrow as pa

from classifiers.gather import SignalSources
from pipelines.inventory import Unit
from pipelines.score import ScoreWork, extract_unit, find_in_shard, score_shard
from pipelines.spill import Pointer
from runners.stages import Session
from schemas.job import load_job

Grouped = tuple[int, list[Pointer]]


class _Worker:
    """What one process of the pool holds."""

    work: ScoreWork
    sources: SignalSources


def start(work: ScoreWork, ready: Barrier) -> None:
    """Load models and databases; wait until the others have."""
    pa.set_cpu_count(1)
    _Worker.work, _Worker.sources = work, work.sources()
    work.model  # noqa: B018
    ready.wait()


def extract(unit: Unit) -> dict[str, Any]:
    """Read one unit."""
    return extract_unit(unit, _Worker.work)


def find(group: Grouped) -> list[tuple[int, bytes]]:
    """Compare the ids of one shard."""
    return list(find_in_shard(group, _Worker.work))


def score(group: tuple[int, list[Pointer], list[bytes]]) -> int:
    """Score one shard; how many records it had."""
    report = score_shard(*group, _Worker.work)
    return int(report["scored"] + report["quarantined"])


def timed(task: tuple[Callable[[Any], Any], Any]) -> tuple[Any, float]:
    """What a function makes of its argument, and the seconds of CPU time that took."""
    before = time.process_time()
    function, argument = task
    return function(argument), time.process_time() - before


def run(pool: Pool, function: Callable[[Any], Any], arguments: Iterable[Any], seconds: list[float]) -> list[Any]:
    """All results, in any order; what each took is added to `seconds`."""
    results = list(pool.imap_unordered(timed, ((function, argument) for argument in arguments)))
    seconds += [took for _, took in results]
    return [result for result, _ in results]


def by_shard(reports: list[dict[str, Any]], kind: str) -> dict[int, list[Pointer]]:
    """What Beam's GroupByKey does."""
    grouped = defaultdict(list)
    for report in reports:
        for shard, path, batches in report[kind]:
            grouped[shard].append(Pointer(path, tuple(batches)))
    return grouped


def main() -> None:
    """Score the job, and print the seconds."""
    session = Session.start(load_job(Path(sys.argv[1]) / "job.toml"), [])
    workers, work = int(sys.argv[2]), session.work
    shutil.rmtree(session.job.out, ignore_errors=True)
    session.inventory.save(work.folder / "inventory.json")
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(workers + 1)
    seconds: list[float] = []
    with context.Pool(workers, start, (work, ready)) as pool:
        ready.wait()
        begin = time.perf_counter()
        reports = run(pool, extract, session.inventory.units(), seconds)
        findings = defaultdict(list)
        for found in run(pool, find, by_shard(reports, "ids").items(), seconds):
            for shard, packed in found:
                findings[shard].append(packed)
        shards = ((shard, pointers, findings[shard]) for shard, pointers in by_shard(reports, "evidence").items())
        records = sum(run(pool, score, shards, seconds))
        wall = time.perf_counter() - begin
    print(json.dumps({"records": records, "wall": wall, "cpu": sum(seconds)}))


if __name__ == "__main__":
    main()
