"""A purge killed with `kill -9` at any moment, run again: every key gone, every other row there, nothing left over.

The first test kills at random moments of the measured run time; the second before and after every single step that
changes something on disk, so that no boundary depends on luck.
"""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.files import TEMPORARY_PREFIX
from stores.contract import Match, Receipt, Status
from stores.keys import KeySet
from stores.parquet import ParquetStore

FILES, ROWS, GROUP = 12, 60, 20
KILLS = 50

DRIVER = """
import json, os, signal, sys, time
from pathlib import Path
import pyarrow as pa
from stores.keys import KeySet
from stores.parquet import ParquetStore

steps = 0

def step(die_at):
    global steps
    steps += 1
    if steps == die_at:
        os.kill(os.getpid(), signal.SIGKILL)

def guarded(function, die_at):
    def call(*args, **kwargs):
        step(die_at)
        result = function(*args, **kwargs)
        step(die_at)
        return result
    return call

def purge(folder, die_at):
    if die_at is not None:
        for name in ("fsync", "replace", "chown", "utime", "unlink"):
            setattr(os, name, guarded(getattr(os, name), die_at))
    store = ParquetStore(str(folder / "store"), "face_id")
    keys = KeySet.open(folder / "keys.arrow")
    for unit in store.units():
        store.purge(store.locate(unit, keys), keys, folder / "ledger")
    (folder / "steps").write_text(str(steps))

for line in sys.stdin:
    folder, die_at, delay = json.loads(line)
    began = time.perf_counter()
    child = os.fork()
    if not child:
        purge(Path(folder), die_at)
        os._exit(0)
    if delay is not None:
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(json.dumps([status, time.perf_counter() - began]), flush=True)
"""


class Victims:
    """A process that has everything imported, no thread started, and forks one purge after the other to be killed."""

    def __init__(self) -> None:
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
        self.driver = subprocess.Popen(
            [sys.executable, "-c", DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def purge(self, folder: Path, die_at: int | None = None, delay: float | None = None) -> tuple[int, float]:
        """Purge the store in `folder`; returns the exit code, negative if killed, and the seconds it lived."""
        assert self.driver.stdin is not None
        assert self.driver.stdout is not None
        self.driver.stdin.write(json.dumps([str(folder), die_at, delay]) + "\n")
        self.driver.stdin.flush()
        code, seconds = json.loads(self.driver.stdout.readline())
        return code, seconds


@pytest.fixture(scope="module")
def victims() -> Iterator[Victims]:
    running = Victims()
    yield running
    running.driver.communicate()
    assert running.driver.returncode == 0


def make_store(folder: Path, files: int) -> dict[Path, pa.Table]:
    """Files of faces, every second one with rows to go, in folders of two levels; returns what each should become."""
    expected, doomed = {}, []
    for number in range(files):
        ids = [f"face-{number}-{row}" for row in range(ROWS)]
        gone = [row % 7 == 1 and number % 3 != 2 for row in range(ROWS)]
        table = pa.table({"face_id": ids, "v": [[float(row), float(number)] for row in range(ROWS)]})
        path = folder / "store" / f"part={number % 2}" / f"{number}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, row_group_size=GROUP)
        expected[path] = pq.read_table(path, partitioning=None).filter(pa.array([not row for row in gone]))
        doomed += [face for face, row in zip(ids, gone, strict=True) if row]
    KeySet.write(folder / "keys.arrow", [pa.array(doomed)])
    return expected


def recover_and_check(
    folder: Path, expected: dict[Path, pa.Table], plan: list[Match] | None = None
) -> dict[str, Receipt]:
    """What an operator does after a crash: the janitor, then the same purge, by the old plan or located again."""
    store = ParquetStore(str(folder / "store"), "face_id")
    keys = KeySet.open(folder / "keys.arrow")
    ledger = folder / "ledger"
    store.janitor(ledger)
    plan = plan or [store.locate(unit, keys) for unit in store.units()]
    receipts = {match.file.path: store.purge(match, keys, ledger) for match in plan}
    for path, table in expected.items():
        after = pq.read_table(path, partitioning=None)
        assert after.equals(table)
        receipt = receipts[str(path)]
        assert receipt.rows_removed == ROWS - len(table)
        assert receipt.status is (Status.REMOVED if receipt.rows_removed else Status.UNCHANGED)
        assert receipt.before.rows == ROWS
    left = [file for file in folder.rglob("*") if file.is_file()]
    assert not [file for file in left if TEMPORARY_PREFIX in file.name or "prepared" in file.name]
    assert len(left) == 2 * len(expected) + 1  # the files, their receipts, the keys
    return receipts


def test_killed_at_random_moments(tmp_path: Path, victims: Victims) -> None:
    make_store(tmp_path / "timing", FILES)
    code, duration = victims.purge(tmp_path / "timing")
    assert code == 0
    moments = random.Random(20261122)
    killed = 0
    for number in range(KILLS):
        folder = tmp_path / str(number)
        expected = make_store(folder, FILES)
        code, _ = victims.purge(folder, delay=moments.uniform(0, duration))
        killed += code == -signal.SIGKILL
        (folder / "steps").unlink(missing_ok=True)
        recover_and_check(folder, expected)
    assert killed > KILLS / 2


def test_killed_at_every_step(tmp_path: Path, victims: Victims) -> None:
    make_store(tmp_path / "count", 2)
    victims.purge(tmp_path / "count", die_at=0)
    steps = int((tmp_path / "count" / "steps").read_text())
    assert steps > 40
    for die_at in range(1, steps + 1):
        folder = tmp_path / str(die_at)
        expected = make_store(folder, 2)
        store, keys = ParquetStore(str(folder / "store"), "face_id"), KeySet.open(folder / "keys.arrow")
        plan = [store.locate(unit, keys) for unit in store.units()]
        code, _ = victims.purge(folder, die_at=die_at)
        assert code == -signal.SIGKILL
        receipts = recover_and_check(folder, expected, plan)
        assert recover_and_check(folder, expected) == receipts
