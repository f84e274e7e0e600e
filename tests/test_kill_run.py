"""`kill -9` in the middle of the command itself; then the same command again, and the independent verifier.

The purge of one file at every step is in `test_purge_crash.py`; here the whole job is killed, engine and all.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from runners.demo import write_demo
from tests.jobs import digests, lethe

# One process imports everything and then forks for each command: an interpreter's start is not what is to be killed.
FORKING = """
import os, sys
from runners import cli, erasure, stages, summary, report
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os._exit(cli.main(line.split()))
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


class Commands:
    """Runs `lethe …` in forked processes, killed after a while or not."""

    def __init__(self) -> None:
        self._parent = subprocess.Popen(
            [sys.executable, "-c", FORKING],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=Path(__file__).parent.parent,
        )

    def run(self, command: str, seconds: float | None = None) -> int:
        """The exit code; -9 if it was killed after `seconds`."""
        assert self._parent.stdin and self._parent.stdout
        self._parent.stdin.write(f"{command} --json\n")
        self._parent.stdin.flush()
        child = int(self._answer())
        if seconds is not None:
            time.sleep(seconds)
            with contextlib.suppress(ProcessLookupError):  # it was faster
                os.kill(child, signal.SIGKILL)
        return int(self._answer())

    def close(self) -> None:
        """End the parent."""
        assert self._parent.stdin
        self._parent.stdin.close()
        self._parent.wait()

    def _answer(self) -> str:
        assert self._parent.stdout
        line = self._parent.stdout.readline()
        while not line.strip().lstrip("-").isdigit():  # what the command itself prints
            assert line, "the commands' process has ended"
            line = self._parent.stdout.readline()
        return line


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    running = Commands()
    yield running
    running.close()


def planned_demo(folder: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    write_demo(folder, subjects=300, seed=5)
    lethe(capsys, "run", folder)
    return folder


def erased(out: Path) -> set[str]:
    parts = [pq.read_table(file) for file in (out / "manifests").rglob("*.parquet")]
    return {face for part in parts for face in part.filter(pc.field("tier") == "erase").column("face_id").to_pylist()}


@pytest.mark.parametrize("moments", [4, pytest.param(46, marks=pytest.mark.slow)])
def test_a_purge_killed_at_a_random_moment_is_finished_by_the_same_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], commands: Commands, moments: int
) -> None:
    planned = planned_demo(tmp_path / "planned", capsys)
    whole = Path(shutil.copytree(planned, tmp_path / "whole"))
    started = time.monotonic()
    assert commands.run(f"purge {whole} --execute") == 0
    lasted = time.monotonic() - started

    draw = random.Random(moments)
    killed = 0
    for attempt in range(moments):
        folder = Path(shutil.copytree(planned, tmp_path / f"killed-{attempt}"))
        killed += commands.run(f"purge {folder} --execute", draw.uniform(0, lasted)) == -signal.SIGKILL
        assert commands.run(f"purge {folder} --execute") == 0
        assert commands.run(f"verify {folder}") == 0
        listed = erased(folder / "out")
        for store in ("faces", "hashes", "records"):
            # The same bytes as without a kill, in every file, and no file more.
            assert digests(folder / store) == digests(whole / store)
            for file in (folder / store).iterdir():
                assert not listed & set(pq.read_table(file).column("face_id").to_pylist())
        shutil.rmtree(folder)
    assert killed >= moments // 3


def test_a_killed_score_goes_on_and_ends_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], commands: Commands
) -> None:
    write_demo(tmp_path / "demo", subjects=2000, seed=5)
    whole = Path(shutil.copytree(tmp_path / "demo", tmp_path / "whole"))
    started = time.monotonic()
    assert commands.run(f"plan {whole}") == 0
    lasted = time.monotonic() - started
    for attempt, share in enumerate((0.3, 0.6, 0.9)):
        folder = Path(shutil.copytree(tmp_path / "demo", tmp_path / f"killed-{attempt}"))
        commands.run(f"plan {folder}", lasted * share)
        assert commands.run(f"plan {folder}") == 0
        assert digests(folder / "out", "work", ".lock") == digests(whole / "out", "work", ".lock")
