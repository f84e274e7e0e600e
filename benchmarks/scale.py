"""The plan for 20 billion records: `docs/scale.md`, from what `benchmarks/job.py` measured on two cores.

    .venv/bin/python benchmarks/scale.py [--core-hour 0.04] [--storage 0.023] [--get 0.0004] [--put 0.005]

Cores, hours, bytes and money are arithmetic on measured costs; how far skew, slow machines and lost machines stretch
them is simulated. Prices are list prices that somebody looked up once: give your own.
"""

import argparse
import heapq
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import numpy.typing as npt
from job import COSTS

from stores.audit.needle_files import NEEDLES_AT_ONCE

HERE = Path(__file__).parent
DOCUMENT = HERE.parent / "docs" / "scale.md"
RECORDS = 20_000_000_000
DAY = 24 * 3600.0
DEADLINE = 182 * DAY
VECTOR_FILE = 512 << 20
"""Bytes of one file of vectors: about 250,000 faces."""
PART = 8 << 20
"""Bytes that one request to object storage moves."""
NEEDLES_A_VECTOR = 26
"""Windows of a vector of 512 float32 in three widths, its id and the end of its id."""
SCAN_NANOSECONDS = 13
"""What a verification takes for a byte it searches for a whole range of needles (decision 235)."""
READS = {"records": 1, "shuffle": 1, "output": 2, "vectors": 3}
"""How often a job reads each kind of byte: vectors for the baseline, the rewrite and the verification."""
WRITES = {"shuffle": 1, "output": 1, "rewritten": 1}

LISTED = (5_000_000, 20_000_000, 200_000_000, 1_000_000_000)

Times = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Prices:
    """List prices in US dollars: a core for an hour, a GB stored for a month, a thousand requests."""

    core_hour: float
    storage: float
    get: float
    put: float


@dataclass(frozen=True)
class Plan:
    """What a job over `RECORDS` takes, at the cost a record has on the machine it was measured on."""

    core_seconds: dict[str, float]
    read: float
    written: float
    shuffled: float
    vectors: float

    @classmethod
    def of(cls, costs: dict[str, Any]) -> "Plan":
        """The plan from `benchmarks/costs.json`."""
        small, large = costs["small"], costs["large"]
        more = large["records"] - small["records"]
        cores = {
            name: (cost["cpu"] - small["stages"][name]["cpu"]) / more * RECORDS
            for name, cost in large["stages"].items()
        }
        each = {name: size / large["records"] * RECORDS for name, size in large["bytes"].items()}
        return cls(
            core_seconds=cores,
            read=sum(each[name] * times for name, times in READS.items()),
            written=sum(each[name] * times for name, times in WRITES.items()),
            shuffled=each["shuffle"],
            vectors=each["vectors"],
        )

    @property
    def total(self) -> float:
        """Core seconds of all stages."""
        return sum(self.core_seconds.values())

    def cores(self, seconds: float) -> float:
        """How many cores it takes to be done in so many seconds, all of them busy all the time."""
        return self.total / seconds

    def ranges(self, listed: float) -> int:
        """How often the vectors are searched when so many are listed (decision 234)."""
        return math.ceil(listed * NEEDLES_A_VECTOR / NEEDLES_AT_ONCE)

    def search_seconds(self, listed: float) -> float:
        """Core seconds of a verification when so many vectors are listed, all its ranges."""
        return self.ranges(listed) * (self.core_seconds["verify"] + self.vectors * SCAN_NANOSECONDS / 1e9)

    def money(self, prices: Prices, seconds: float) -> dict[str, float]:
        """Dollars by what they are paid for; while it runs, the vectors are stored once more at most."""
        months = seconds / (30 * DAY)
        return {
            "cores": self.total / 3600 * prices.core_hour,
            "requests": (self.read * prices.get + self.written * prices.put) / PART / 1000,
            "storage while it runs": self.vectors / 1e9 * prices.storage * months,
        }


@dataclass(frozen=True)
class Trouble:
    """What goes wrong: spread of task times (sigma of their logarithm), slow and lost machines, one hot subject."""

    spread: float = 0.25
    slow_share: float = 0.02
    slow_factor: float = 4.0
    lost_an_hour: float = 0.01
    hot_records: int = 20_000_000


def simulate(tasks: Times, workers: int, trouble: Trouble, *, pull: bool, twice: bool, seed: int) -> float:
    """Seconds until all tasks are done.

    Args:
        tasks: seconds each takes on a machine as it should be, shape `(n,)`.
        workers: how many tasks run at once.
        trouble: what goes wrong.
        pull: a free worker takes the next task; otherwise each has its share from the start, as a partition has.
        twice: a task that still runs when no other is waiting is started a second time on a free worker, and the first
            to finish counts, as lethe's stages allow.
        seed: of the draw.

    """
    random = np.random.default_rng(seed)
    times = tasks * random.lognormal(-(trouble.spread**2) / 2, trouble.spread, len(tasks))
    speed = np.where(random.random(workers) < trouble.slow_share, trouble.slow_factor, 1.0)
    # A machine that is lost takes its task with it: the work so far is repeated, on average half of it.
    lost = random.random(len(times)) < np.minimum(times / 3600 * trouble.lost_an_hour, 1)
    times = times * np.where(lost, 1.5, 1.0)
    if not pull:
        return float(max((part.sum() * speed[worker] for worker, part in _deal(times, workers)), default=0.0))
    free = [(0.0, worker) for worker in range(workers)]
    heapq.heapify(free)
    ends = np.zeros(len(times))
    for number, seconds in enumerate(times):
        at, worker = heapq.heappop(free)
        ends[number] = at + seconds * speed[worker]
        heapq.heappush(free, (ends[number], worker))
    if not twice:
        return float(ends.max())
    idle = min(at for at, _ in free)
    late = ends > idle
    again = idle + times[late] * np.median(speed)
    return float(max(np.minimum(ends[late], again).max(initial=0.0), ends[~late].max(initial=0.0)))


def _deal(times: Times, workers: int) -> Iterator[tuple[int, Times]]:
    return ((worker, times[worker::workers]) for worker in range(workers))


def stage_tasks(plan: Plan, trouble: Trouble) -> dict[str, Times]:
    """The tasks of each stage: units and shards of a million records, files of vectors; the hot id in one shard."""
    shards = RECORDS // 1_000_000
    files = int(plan.vectors // VECTOR_FILE)
    tasks = {
        name: np.full(shards if name in ("score", "plan") else files, seconds)
        / (shards if name in ("score", "plan") else files)
        for name, seconds in plan.core_seconds.items()
    }
    tasks["score"][0] *= 1 + trouble.hot_records / 1_000_000
    return tasks


def stretch(plan: Plan, workers: int, *, pull: bool, twice: bool) -> float:
    """How many times longer the whole job takes than with every core busy all the time; the mean of five draws."""
    trouble = Trouble()
    tasks = stage_tasks(plan, trouble)
    runs = [
        sum(simulate(part, workers, trouble, pull=pull, twice=twice, seed=seed) for part in tasks.values())
        for seed in range(5)
    ]
    return float(np.mean(runs)) / plan.cores(1.0) * workers


def table(head: str, rows: list[str]) -> str:
    """A Markdown table."""
    return "\n".join([head, "|" + "---|" * (head.count("|") - 1), *rows])


def main() -> None:
    """Write the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--core-hour", type=float, default=0.04)
    parser.add_argument("--storage", type=float, default=0.023)
    parser.add_argument("--get", type=float, default=0.0004)
    parser.add_argument("--put", type=float, default=0.005)
    options = parser.parse_args()
    costs = json.loads(COSTS.read_text(encoding="utf-8"))
    plan, prices = Plan.of(costs), Prices(options.core_hour, options.storage, options.get, options.put)
    slowest = max(plan.core_seconds, key=lambda name: plan.core_seconds[name])
    day_workers = max(1, round(plan.cores(DAY) * 2))
    terms = [("24 hours", DAY), ("six months", DEADLINE)]
    text = Template((HERE / "scale_template.md").read_text(encoding="utf-8")).substitute(
        measured=costs["measured_on"],
        records=f"{costs['large']['records']:,}",
        stages=table(
            "| stage | core microseconds a record | core hours | share |",
            [
                f"| {name} | {seconds / RECORDS * 1e6:.1f} | {seconds / 3600:,.0f} | {seconds / plan.total:.0%} |"
                for name, seconds in plan.core_seconds.items()
            ]
            + [f"| all | {plan.total / RECORDS * 1e6:.1f} | {plan.total / 3600:,.0f} | 100% |"],
        ),
        terms=table(
            "| done in | cores, all busy | cores, with trouble | read, MB/s | written, MB/s | MB/s a core |",
            [
                f"| {label} | {plan.cores(seconds):,.2f} | "
                f"{plan.cores(seconds) * stretch(plan, day_workers, pull=True, twice=True):,.2f} | "
                f"{plan.read / seconds / 1e6:,.0f} | {plan.written / seconds / 1e6:,.0f} | "
                f"{(plan.read + plan.written) / plan.total / 1e6:,.0f} |"
                for label, seconds in terms
            ],
        ),
        money=table(
            "| paid for | 24 hours | six months |",
            [
                f"| {name} | ${dollars:,.0f} | ${plan.money(prices, DEADLINE)[name]:,.0f} |".replace("$$", "$")
                for name, dollars in plan.money(prices, DAY).items()
            ],
        ),
        trouble=table(
            "| cores | dealt out at the start | pulled when free | and started twice at the end |",
            [
                f"| {workers:,} | {stretch(plan, workers, pull=False, twice=False):.2f} | "
                f"{stretch(plan, workers, pull=True, twice=False):.2f} | "
                f"{stretch(plan, workers, pull=True, twice=True):.2f} |"
                for workers in (day_workers, day_workers * 8, day_workers * 64)
            ],
        ),
        slowest=slowest,
        slowest_share=f"{plan.core_seconds[slowest] / plan.total:.0%}",
        read=f"{plan.read / 1e12:,.0f}",
        written=f"{plan.written / 1e12:,.0f}",
        shuffled=f"{plan.shuffled / 1e12:,.1f}",
        vectors=f"{plan.vectors / 1e12:,.0f}",
        files=f"{plan.vectors / VECTOR_FILE:,.0f}",
        core_hour=f"{prices.core_hour:g}",
        storage=f"{prices.storage:g}",
        get=f"{prices.get:g}",
        put=f"{prices.put:g}",
        rate=f"{RECORDS / DEADLINE:,.0f}",
        searches=table(
            "| listed | ranges | core hours of verify | cores for the deadline | read, PB |",
            [
                f"| {listed:,} | {plan.ranges(listed)} | {plan.search_seconds(listed) / 3600:,.0f} | "
                f"{plan.search_seconds(listed) / DEADLINE:,.1f} | {plan.ranges(listed) * plan.vectors / 1e15:,.2f} |"
                for listed in LISTED
            ],
        ),
        one_machine=f"{plan.total / 2 / DAY:,.1f}",
    )
    DOCUMENT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
