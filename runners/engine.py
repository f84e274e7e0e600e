"""Running a pipeline: on this machine by default, on another Beam engine when the options after `--` name one."""

import logging
import re
import warnings
from collections.abc import Callable, Sequence
from types import ModuleType

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.runners.runner import PipelineState

from runners.engines import dataflow, flink, local, prism, spark
from schemas import errors
from schemas.errors import InputError, LetheError

ENGINES: dict[str, ModuleType] = {
    "FnApiRunner": local,
    "FlinkRunner": flink,
    "SparkRunner": spark,
    "PrismRunner": prism,
    "DataflowRunner": dataflow,
}
"""By the name that `--runner` gives; without a name it is the first."""

_AS_GIVEN = ("BundleBasedDirectRunner", "PortableRunner")
"""Engines that lethe runs on and fills in nothing for."""

_REFUSED = {
    "DirectRunner": "would download a binary and run it unverified",
    "SwitchingDirectRunner": "would download a binary and run it unverified",
    "apache_beam.runners.dask.dask_runner.DaskRunner": "computes only one branch of a pipeline and calls it done",
}


_OUR_FOLDERS = "(?:schemas|classifiers|stores|pipelines|runners)"


def run_pipeline(build: Callable[[beam.Pipeline], object], beam_options: Sequence[str], quiet: bool = True) -> None:
    """Build a pipeline, run it to its end, and fail if it fails.

    Raises:
        InputError: the options do not fit the engine, or name one that cannot be relied on.
        LetheError: the engine reports another end than success.

    """
    if quiet:
        _quieten()
    name, options = choose_engine(beam_options)
    engine = ENGINES.get(name)
    pipeline = beam.Pipeline(runner=engine.make_runner(options) if engine else name, options=options)
    build(pipeline)
    try:
        result = pipeline.run()
        state = result.wait_until_finish()
    except Exception as error:
        raise translate_failure(str(error)) from error
    if (state or result.state) != PipelineState.DONE:
        raise LetheError(f"the pipeline ended as {state}; finished work is kept, run the same command again to go on")


def choose_engine(beam_options: Sequence[str]) -> tuple[str, PipelineOptions]:
    """The engine that the options name and its options, checked and completed, before anything runs.

    Raises:
        InputError: the options do not fit the engine, or name one that cannot be relied on.

    """
    name = PipelineOptions(list(beam_options)).view_as(StandardOptions).runner or next(iter(ENGINES))
    if name in ENGINES:
        return name, ENGINES[name].complete(beam_options)
    if name in _AS_GIVEN:
        return name, PipelineOptions(list(beam_options))
    reason = _REFUSED.get(name, "is none that lethe was run on")
    raise InputError(
        f"--runner={name} {reason}; leave --runner out to run on this machine, or use one of "
        f"{', '.join([*ENGINES, *_AS_GIVEN])}"
    )


def processes_of(beam_options: Sequence[str]) -> int:
    """How many processes of its own lethe may start beside the engine: the local one has threads only."""
    name, options = choose_engine(beam_options)
    return options.view_as(DirectOptions).direct_num_workers if ENGINES.get(name) is local else 0


def threads_that_wait_for(processes: int) -> list[str]:
    """The option that gives the local engine several threads for each of lethe's processes; none without processes.

    Beam deals the elements of a step out to its threads beforehand. With one thread for a process, the process
    whose thread was dealt the small ones would be done early.
    """
    return [f"--direct_num_workers={4 * processes}"] if processes else []


def translate_failure(report: str) -> LetheError:
    """The error a worker raised, from the report an engine makes of it: engines pass on text, not exceptions.

    An error of lethe's own comes back as itself. Of any other only the kind and the place are told: its message may
    hold what a stranger wrote.
    """
    ours = re.findall(r"schemas\.errors\.(\w+): (.*?)(?= \[while running|\\n|\n|$)", report)
    if ours:
        name, message = ours[-1]
        kind = getattr(errors, name, LetheError)
        return kind(message) if issubclass(kind, LetheError) else LetheError(message)
    places = re.findall(rf'File "[^"]*?(?<!apache_beam)/({_OUR_FOLDERS}/[^"]+)", line (\d+)', report)
    kinds = re.findall(r"^(?:[\w.$]*\.)?(\w+(?:Error|Exception|Interrupt))\b", report, re.MULTILINE)
    where = f" at {places[-1][0]}:{places[-1][1]}" if places else ""
    return LetheError(
        f"a worker failed{where} ({kinds[-1] if kinds else 'unknown error'}); finished work is kept, so run the same "
        "command again to go on, with --debug to see the whole report"
    )


def _quieten() -> None:
    """Beam logs its own internals on every start, and the elements it fails on: what strangers wrote.

    What a cluster reports is logged by the root logger itself, so it is told by the module it comes from.
    """
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    root = logging.getLogger()
    if _is_ours not in root.filters:
        root.addFilter(_is_ours)
    warnings.filterwarnings("ignore", module="apache_beam")


def _is_ours(record: logging.LogRecord) -> bool:
    return record.module != "portable_runner"
