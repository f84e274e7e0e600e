"""On this machine: Beam's own local runner, in threads. Nothing is downloaded, nothing else has to run."""

import os
from collections.abc import Sequence

from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.runners.portability.portable_runner import JobServiceHandle

from runners.engines.options import given_names
from schemas.errors import InputError


def complete(given: Sequence[str]) -> PipelineOptions:
    """Threads, as many as there are cores; `pipelines.forks` adds processes to score, which hang nobody when killed.

    Raises:
        InputError: the options ask for processes; Beam waits for ever for one that was killed.

    """
    names = given_names(given)
    mode = PipelineOptions(list(given)).view_as(DirectOptions).direct_running_mode
    if mode == "multi_processing":
        raise InputError(
            "--direct_running_mode=multi_processing would wait for ever if a worker were killed; leave it out, "
            "lethe scores in processes of its own"
        )
    filled = ["--default_sdk_harness_log_level=ERROR"]
    if "direct_running_mode" not in names:
        filled.append("--direct_running_mode=multi_threading")
    if "direct_num_workers" not in names:
        filled.append(f"--direct_num_workers={os.cpu_count() or 1}")
    return PipelineOptions([*filled, *given])


def make_runner(options: PipelineOptions) -> fn_runner.FnApiRunner:
    """The runner as an instance: by name it would lose the options in its workers."""
    provision = beam_provision_api_pb2.ProvisionInfo(
        pipeline_options=JobServiceHandle.encode_pipeline_options(options.get_all_options())
    )
    return fn_runner.FnApiRunner(provision_info=fn_runner.ExtendedProvisionInfo(provision))
