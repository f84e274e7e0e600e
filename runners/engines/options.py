"""What the engines' options have in common: which were given, and where the workers of an engine run."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from apache_beam.options.pipeline_options import DebugOptions, PipelineOptions, PortableOptions, WorkerOptions

from runners.worker_boot import write_launcher
from schemas.errors import InputError

ENVIRONMENTS = ("LOOPBACK", "EXTERNAL", "PROCESS", "DOCKER")
POOL = "localhost:50000"
"""Where the workers of a cluster are asked for unless the options say: one pool beside every task manager."""


_KEPT_MILLIS = 30_000
"""How long a worker that has nothing to do waits for the next step of a job: starting one takes seconds."""


def given_names(given: Sequence[str]) -> set[str]:
    """The names of the options that were given, whatever Beam's defaults are."""
    return {option.lstrip("-").partition("=")[0] for option in given if option.startswith("--")}


def keep_workers_quiet(given: Sequence[str]) -> list[str]:
    """Options that every portable engine needs.

    Workers log errors only. The list of what is installed on the submitting machine is not sent along: it would be the
    one file that all workers have to fetch.
    """
    quiet = [] if "default_sdk_harness_log_level" in given_names(given) else ["--default_sdk_harness_log_level=ERROR"]
    return [*given, *quiet, "--experiments=disable_logging_submission_environment"]


def place_workers(options: PipelineOptions, on_this_machine: bool, cache: Path) -> None:
    """Fill in where user code runs: in this process if the engine is here, else in worker pools beside the engine.

    Raises:
        InputError: the environment is none that runs lethe.

    """
    portable = options.view_as(PortableOptions)
    kind = portable.environment_type or ("LOOPBACK" if on_this_machine else "EXTERNAL")
    if kind not in ENVIRONMENTS:
        raise InputError(f"--environment_type={kind} is not known; use one of {', '.join(ENVIRONMENTS)}")
    portable.environment_type = kind
    if kind == "LOOPBACK" and not on_this_machine and not portable.environment_config:
        raise InputError(
            "--environment_type=LOOPBACK runs all work in this process, which the machines of a cluster cannot reach; "
            "start a pool beside each (python -m runners.worker_boot pool 50000) and use --environment_type=EXTERNAL"
        )
    if kind == "LOOPBACK":
        _check_loopback(options)
    if kind != "LOOPBACK" and not int(portable.environment_cache_millis):
        portable.environment_cache_millis = _KEPT_MILLIS
    if kind == "EXTERNAL" and not portable.environment_config:
        portable.environment_config = POOL
    if kind == "PROCESS" and not portable.environment_config:
        launcher = write_launcher(cache / "boot")
        portable.environment_config = f'{{"command": "{launcher}"}}'
    if kind == "DOCKER" and not (portable.environment_config or options.view_as(WorkerOptions).sdk_container_image):
        raise InputError(
            "--environment_type=DOCKER needs --sdk_container_image, an image with lethe in it: Beam's own image does "
            "not hold lethe (docs/engines.md says how to build one)"
        )


def _check_loopback(options: PipelineOptions) -> None:
    """Beam starts a loopback process as `python`; another Python than this one fails there, and Beam waits for ever."""
    if not options.view_as(DebugOptions).lookup_experiment("use_loopback_process_worker", False):
        return
    found = shutil.which("python")
    if found is None or Path(found).parent.resolve() != Path(sys.executable).parent.resolve():
        raise InputError(
            f"--experiments=use_loopback_process_worker starts `python`, which is {found or 'not there'} and not "
            f"{sys.executable}; activate the environment that lethe is installed in, or use --environment_type=PROCESS"
        )
