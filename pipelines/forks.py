"""Processes beside the threads of the local engine, for work that holds Python's lock.

Two threads that score keep two cores busy for three quarters of the time only.

Within `forked`, `call` runs a function in one of the processes and waits; anywhere else, on another engine or on a
system without `fork`, it just calls it. A process that is killed fails the work that waits for it, and nobody waits for
ever, as with the processes of Beam's own local runner. What was loaded before `forked` is shared by all.
"""

import ctypes
import gc
import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import pyarrow as pa

from schemas.errors import LetheError

_P = ParamSpec("_P")
_T = TypeVar("_T")
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)

_pools: list[ProcessPoolExecutor] = []


@contextmanager
def forked(processes: int) -> Iterator[int]:
    """Fork so many processes now, and end them at the end; none for fewer than two, or where not on Linux.

    Gives how many there are.
    """
    if processes < 2 or sys.platform != "linux":
        yield 0
        return
    with ProcessPoolExecutor(processes, multiprocessing.get_context("fork"), _become_worker) as pool:
        pool.submit(int).result()  # the first call forks all of them: here, before an engine starts its threads
        _pools.append(pool)
        try:
            yield processes
        finally:
            _pools.remove(pool)


def call(function: Callable[_P, _T], *arguments: _P.args, **named: _P.kwargs) -> _T:
    """Call `function`, in another process within `forked`; arguments and result are pickled, so keep them small.

    Raises what the function raises, and LetheError when its process was killed.
    """
    if not _pools:
        return function(*arguments, **named)
    try:
        return _pools[-1].submit(function, *arguments, **named).result()
    except BrokenProcessPool as error:
        raise LetheError(
            "a worker process was killed, perhaps for want of memory; finished work is kept, run the same command again"
        ) from error


def _become_worker() -> None:
    """A worker dies with its parent, however that dies, and leaves an interrupt from the keyboard to it."""
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pa.set_cpu_count(1)
    gc.freeze()  # what was loaded before stays: a collection need not look through it
    _pools.clear()
