"""Worker processes: results and errors come back, and the death of one, or of the parent, leaves nobody waiting."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.forks import call, forked
from schemas.errors import InputError, LetheError


def fail(message: str) -> None:
    raise InputError(message)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_without_processes_it_is_a_call() -> None:
    assert call(os.getpid) == os.getpid()
    with forked(1):
        assert call(os.getpid) == os.getpid()


def test_results_and_errors_come_back() -> None:
    with forked(2):
        assert call(os.getpid) != os.getpid()
        assert call(sorted, [3, 1, 2], reverse=True) == [3, 2, 1]
        with pytest.raises(InputError, match="no such thing"):
            call(fail, "no such thing")
        assert call(len, "still there") == 11


def test_a_killed_worker_is_told() -> None:
    with forked(2), pytest.raises(LetheError, match="a worker process was killed"):
        call(die)
    assert call(os.getpid) == os.getpid()


def test_workers_die_with_their_parent() -> None:
    """Also when it is killed, and cannot tell them."""
    program = "\n".join(
        [
            "import os, time",
            "from pipelines.forks import call, forked",
            "with forked(2):",
            "    print(call(os.getpid), flush=True)",
            "    time.sleep(60)",
        ]
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
    )
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    for _ in range(100):
        if not Path(f"/proc/{worker}").exists() or "Z" in Path(f"/proc/{worker}/stat").read_text().split(")")[-1]:
            return
        time.sleep(0.05)
    raise AssertionError("a worker lives on")
