"""Progress of long work: a bar on a terminal, plain lines elsewhere, counted by the entries of a ledger.

The engine's own metrics come only at the end; a ledger can be counted on every engine while it runs.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Sized(Protocol):
    """Anything that can say how much of the work is done."""

    def __len__(self) -> int:
        """Finished pieces."""
        ...


@contextlib.contextmanager
def showing(label: str, done: Sized, total: int, stream: TextIO | None = None) -> Iterator[None]:
    """Show on `stream` (standard error) how many of `total` pieces are done while the body runs."""
    stream = stream or sys.stderr
    stop = threading.Event()
    show = _bar if stream.isatty() else _lines
    thread = threading.Thread(target=show, args=(label, done, total, stream, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        stream.write(f"{label}: {len(done)} of {total}\n")
        stream.flush()


def _bar(label: str, done: Sized, total: int, stream: TextIO, stop: threading.Event) -> None:
    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=stream), transient=True) as progress:
        task = progress.add_task(label, total=total)
        while not stop.wait(0.25):
            progress.update(task, completed=len(done))


def _lines(label: str, done: Sized, total: int, stream: TextIO, stop: threading.Event) -> None:
    """A line for every tenth of the work, but at most every five seconds; the last one is the caller's."""
    shown, last = 0, time.monotonic()
    while not stop.wait(0.25):
        now, tenth = time.monotonic(), len(done) * 10 // max(total, 1)
        if shown < tenth < 10 and now - last >= 5:
            stream.write(f"{label}: {len(done)} of {total}\n")
            stream.flush()
            shown, last = tenth, now
