"""Prism, Beam's own runner for one machine, written in Go. It is started from a path and never downloaded."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from apache_beam.options.pipeline_options import PipelineOptions, PrismRunnerOptions
from apache_beam.runners.portability.prism_runner import PrismRunner
from apache_beam.version import __version__ as beam_version

from runners.engines.jars import jar_folder
from runners.engines.options import keep_workers_quiet, place_workers
from schemas.errors import InputError

SOURCE = f"github.com/apache/beam/sdks/v2/go/cmd/prism@v{beam_version}"
"""The Go package, of the version of Beam that is installed; Go checks it against its public checksum database."""


def complete(given: Sequence[str]) -> PipelineOptions:
    """Check and complete the options for Prism.

    Raises:
        InputError: there is no Prism on this machine.

    """
    options = PipelineOptions(keep_workers_quiet(given))
    prism = options.view_as(PrismRunnerOptions)
    location = prism.prism_location or shutil.which("prism") or _go_binary()
    if not Path(location).is_file():
        raise InputError(
            f"{location} is not there; build Prism with `go install {SOURCE}`, or say where it is with "
            "--prism_location (a path: Beam would start what it downloads unchecked)"
        )
    prism.prism_location = str(Path(location).resolve())
    place_workers(options, True, jar_folder("prism"))
    return options


def make_runner(options: PipelineOptions) -> PrismRunner:
    """Beam's runner for Prism."""
    del options
    return PrismRunner()


def _go_binary() -> Path:
    """Where `go install` puts it."""
    folder = os.environ.get("GOBIN") or Path(os.environ.get("GOPATH") or Path.home() / "go") / "bin"
    return Path(folder) / "prism"
