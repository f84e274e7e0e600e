"""Running a pipeline: on this machine by default, on another Beam engine when the options after `--` name one."""

import logging
import os
import re
import warnings
from collections.abc import Callable, Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.runners.portability.portable_runner import JobServiceHandle
from apache_beam.runners.runner import PipelineState

from schemas import errors
from schemas.errors import InputError, LetheError

_REFUSED = ("DirectRunner", "SwitchingDirectRunner")


def run_pipeline(build: Callable[[beam.Pipeline], object], beam_options: Sequence[str], quiet: bool = True) -> None:
    """Build a pipeline, run it to its end, and fail if it fails.

    Raises:
        InputError: the options name the plain DirectRunner, which downloads a binary and runs it unverified.
        LetheError: the engine reports another end than success.

    """
    if quiet:
        _quieten()
    options = pipeline_options(beam_options)
    runner = options.view_as(StandardOptions).runner
    pipeline = beam.Pipeline(runner=runner or local_runner(options), options=options)
    build(pipeline)
    try:
        result = pipeline.run()
        state = result.wait_until_finish()
    except Exception as error:
        raise translate_failure(str(error)) from error
    if (state or result.state) != PipelineState.DONE:
        raise LetheError(f"the pipeline ended as {state}; finished work is kept, run the same command again to go on")


def translate_failure(report: str) -> LetheError:
    """The error a worker raised, from the report an engine makes of it: engines pass on text, not exceptions.

    An error of lethe's own comes back as itself. Of any other only the kind and the place are told: its message may
    hold what a stranger wrote.
    """
    ours = re.findall(r"schemas\.errors\.(\w+): (.*?)(?= \[while running|\n|$)", report)
    if ours:
        name, message = ours[-1]
        kind = getattr(errors, name, LetheError)
        return kind(message) if issubclass(kind, LetheError) else LetheError(message)
    places = re.findall(r'File "[^"]*?/((?:schemas|classifiers|stores|pipelines|runners)/[^"]+)", line (\d+)', report)
    kinds = re.findall(r"^(?:[\w.]*\.)?(\w+(?:Error|Exception|Interrupt))\b", report, re.MULTILINE)
    where = f" at {places[-1][0]}:{places[-1][1]}" if places else ""
    return LetheError(
        f"a worker failed{where} ({kinds[-1] if kinds else 'unknown error'}); finished work is kept, so run the same "
        "command again to go on, with --debug to see the whole report"
    )


def pipeline_options(beam_options: Sequence[str]) -> PipelineOptions:
    """Beam's options: the local defaults unless `--runner` names another engine."""
    given = PipelineOptions(list(beam_options))
    runner = given.view_as(StandardOptions).runner
    if runner in _REFUSED:
        raise InputError(
            f"--runner={runner} would download a binary and run it unverified; leave --runner out to run on this "
            "machine, or name an engine, for example --runner=FlinkRunner"
        )
    if runner:
        return given
    local = ["--direct_running_mode=multi_threading", "--default_sdk_harness_log_level=ERROR"]
    if not any(option.startswith("--direct_num_workers") for option in beam_options):
        local.append(f"--direct_num_workers={os.cpu_count() or 1}")
    return PipelineOptions([*local, *beam_options])


def local_runner(options: PipelineOptions) -> fn_runner.FnApiRunner:
    """Beam's own runner for one machine, as an instance: by name it would lose the options in its workers."""
    provision = beam_provision_api_pb2.ProvisionInfo(
        pipeline_options=JobServiceHandle.encode_pipeline_options(options.get_all_options())
    )
    return fn_runner.FnApiRunner(provision_info=fn_runner.ExtendedProvisionInfo(provision))


def _quieten() -> None:
    """Beam logs its own internals on every start, and the elements it fails on: what strangers wrote."""
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="apache_beam")
