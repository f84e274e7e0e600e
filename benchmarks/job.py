"""What a whole job costs: score, plan, purge and verify, each as a user runs it, at two sizes.

    .venv/bin/python benchmarks/job.py [--records 400000] [--folder DIR]

The records are those of `benchmarks/records.py`; every one has a vector of 512 float32 in a store of Parquet files, in
an order of its own. The difference between the two sizes is what one record costs, start-up left out; it goes to
`benchmarks/costs.json`, which `benchmarks/scale.py` plans with. The floors are `cp` with a sync for the purge and
reading every byte for the verification.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from memory import Watch
from records import write_job
from results import circumstances, update_results

from pipelines.inventory import take_inventory
from pipelines.score import ScoreWork, extract_unit
from schemas.files import write_json
from schemas.job import load_job

COSTS = Path(__file__).parent / "costs.json"
LETHE = Path(sys.executable).parent / "lethe"
STAGES = {
    "score": ["score"],
    "plan": ["plan"],
    "purge": ["purge", "--execute"],
    "verify": ["verify"],
}
DIMENSIONS = 512
FACES_PER_FILE, ROW_GROUP = 50_000, 10_000
SMALLER = 4
"""The smaller of the two sizes is the larger divided by this."""
PACKAGES = ("apache-beam", "pyarrow", "numpy", "numba")

_STORE = """
[[store]]
kind = "parquet"
path = "faces/"
holds = "vectors"
"""


@dataclass(frozen=True)
class Cost:
    """Seconds of one stage, by the clock and of the processor, and the most memory it held, in bytes."""

    wall: float
    cpu: float
    peak: int


@dataclass(frozen=True)
class JobCost:
    """One job of so many records, and how many bytes it read, shuffled and wrote."""

    records: int
    stages: dict[str, Cost]
    bytes: dict[str, int]
    copied: Cost
    scanned: Cost


def write_faces(folder: Path, records: Path) -> None:
    """One vector a record, scattered over files of `FACES_PER_FILE`."""
    random = np.random.default_rng(7)
    faces = pq.read_table(records, columns=["face_id"]).column("face_id").drop_null().combine_chunks().unique()
    faces = faces.take(pa.array(random.permutation(len(faces))))
    folder.mkdir()
    for number, first in enumerate(range(0, len(faces), FACES_PER_FILE)):
        ids = faces.slice(first, FACES_PER_FILE)
        vectors = random.standard_normal((len(ids), DIMENSIONS), dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        offsets = pa.array(np.arange(0, len(ids) * DIMENSIONS + 1, DIMENSIONS, dtype=np.int32))
        table = pa.table({"face_id": ids, "vector": pa.ListArray.from_arrays(offsets, pa.array(vectors.ravel()))})
        pq.write_table(
            table,
            folder / f"part-{number:05d}.parquet",
            row_group_size=ROW_GROUP,
            compression="none",
            use_dictionary=False,
            write_statistics=["face_id"],
        )


def run(command: list[str]) -> Cost:
    """Run one command to its end."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with Watch(process.pid) as memory:
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command[:3])} failed with exit code {process.returncode}")
    return Cost(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, memory.peak)


def weigh(*places: Path) -> int:
    """The bytes of all files below some folders."""
    return sum(file.stat().st_size for place in places for file in place.rglob("*") if file.is_file())


def weigh_shuffle(job: Path) -> int:
    """The bytes that scoring sends through the shuffle: those of the first unit, for all units."""
    loaded = load_job(job)
    inventory = take_inventory(loaded.path(loaded.records.path), loaded.records.columns)
    work = ScoreWork(loaded, {}, inventory.rows, job.parent / "shuffle")
    inventory.save(work.folder / "inventory.json")
    unit = next(inventory.units())
    extract_unit(unit, work)
    spilt = weigh(work.folder / "spill") * inventory.rows // unit.rows
    shutil.rmtree(work.folder)
    return spilt


def prepare(folder: Path, records: int) -> dict[str, int]:
    """Write the job; returns the bytes of records, vectors and shuffle."""
    job = write_job(folder, records)
    write_faces(folder / "faces", folder / "records")
    job.write_text(job.read_text(encoding="utf-8") + _STORE, encoding="utf-8")
    return {"records": weigh(folder / "records"), "vectors": weigh(folder / "faces"), "shuffle": weigh_shuffle(job)}


def measure(folder: Path, records: int) -> JobCost:
    """Run a whole job of so many records."""
    job = folder / "job.toml"
    # In a process of its own: what this one has in memory would count as that of every command it starts.
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        sizes = pool.submit(prepare, folder, records).result()
    copied = run(["sh", "-c", f"cp -r '{folder / 'faces'}' '{folder / 'copy'}' && sync -f '{folder / 'copy'}'"])
    scanned = run(["sh", "-c", f"cat '{folder}'/copy/* > /dev/null"])
    shutil.rmtree(folder / "copy")
    stages = {name: run([str(LETHE), *words, str(job)]) for name, words in STAGES.items()}
    out = folder / "out"
    told = json.loads((out / "run.json").read_text(encoding="utf-8"))
    (store,) = told["purge"]["stores"].values()
    sizes |= {
        "output": weigh(out / "scores", out / "manifests", out / "quarantine"),
        "rewritten": store["bytes_to_rewrite"],
        "removed rows": store["rows_removed"],
    }
    return JobCost(records, stages, sizes, copied, scanned)


def slope(small: JobCost, large: JobCost, name: str) -> float:
    """CPU seconds that one record more costs in a stage."""
    return (large.stages[name].cpu - small.stages[name].cpu) / (large.records - small.records)


def describe(small: JobCost, large: JobCost) -> str:
    """The section for `RESULTS.md`."""
    removed = large.bytes["removed rows"] / large.records
    lines = [
        f"A job of {large.records:,} records and as many vectors of list<float>[{DIMENSIONS}] "
        f"({large.bytes['vectors'] / 1e6:,.0f} MB), {removed:.1%} of them erased, every file rewritten; the last "
        f"column is from the difference to a job of {small.records:,}. {circumstances(PACKAGES)}.",
        "",
        "| stage | wall s | CPU s | records/s | records per CPU s | peak MB | ... without start-up |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, cost in large.stages.items():
        command = f"`lethe {' '.join(STAGES[name])}`"
        lines.append(
            f"| {command} | {cost.wall:.1f} | {cost.cpu:.1f} | {large.records / cost.wall:,.0f} | "
            f"{large.records / cost.cpu:,.0f} | {cost.peak / 1e6:,.0f} | {1 / slope(small, large, name):,.0f} |"
        )
    for label, floor in (("floor of the purge: cp and sync", large.copied), ("floor of verify: cat", large.scanned)):
        lines.append(
            f"| {label} | {floor.wall:.1f} | {floor.cpu:.1f} | {large.records / floor.wall:,.0f} | "
            f"{large.records / max(floor.cpu, 1e-9):,.0f} | | |"
        )
    per_record = {name: size / large.records for name, size in large.bytes.items() if name != "removed rows"}
    told = ", ".join(f"{name} {size:,.0f}" for name, size in per_record.items())
    return "\n".join([*lines, "", f"Bytes a record: {told}.", "", "    .venv/bin/python benchmarks/job.py"])


def main() -> None:
    """Measure, print, and at the default size write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=400_000)
    parser.add_argument("--folder", type=Path, help="where the jobs are written; a temporary folder by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        small = measure(Path(folder) / "small", options.records // SMALLER)
        shutil.rmtree(Path(folder) / "small")
        large = measure(Path(folder) / "large", options.records)
    print(describe(small, large))
    if options.records == parser.get_default("records"):
        update_results("Whole job", describe(small, large))
        write_json(COSTS, {"measured_on": circumstances(PACKAGES), "small": asdict(small), "large": asdict(large)})


if __name__ == "__main__":
    main()
