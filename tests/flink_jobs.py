"""What the tests run on Flink from a process of their own, and a step that fails once."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import apache_beam as beam

from pipelines.purge import PurgeUnits
from pipelines.score import ScoreRecords
from runners.engine import run_pipeline
from runners.erasure import store_works
from runners.stages import Session, checked_manifests
from schemas.job import load_job


class FailOnce(beam.DoFn):
    """Passes everything on, but fails at the first element that any attempt sees."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def process(self, element: object) -> Iterator[object]:
        with contextlib.suppress(FileExistsError):
            self.mark.open("x").close()
            raise OSError("the machine went away")
        yield element


def score_only(folder: Path, beam_options: Sequence[str], mark: Path | None = None) -> None:
    """The scoring of a job and nothing around it: no lock, so that two may do the same at once."""
    session = Session.start(load_job(folder), beam_options)
    work = session.work
    session.inventory.save(work.folder / "inventory.json")

    def build(pipeline: beam.Pipeline) -> None:
        reports = pipeline | beam.Create([None]) | ScoreRecords(work)
        if mark:
            _ = reports | beam.ParDo(FailOnce(mark))

    run_pipeline(build, beam_options)


def purge_every_unit_twice(folder: Path, beam_options: Sequence[str]) -> None:
    """Two attempts at every unit of every store, side by side."""
    session = Session.start(load_job(folder), beam_options)
    for work in store_works(session, checked_manifests(session)).values():
        run_pipeline(lambda p, work=work: p | beam.Create([None, None]) | PurgeUnits(work), beam_options)
