"""Google Cloud Dataflow: the options it needs, and what would be submitted, without submitting it.

Workers run the image of `Dockerfile`. All paths of a job must be below a folder that this machine and the workers mount
at the same place, such as a Filestore share: lethe reads and writes files, not objects (`docs/engines.md`).
"""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, SetupOptions, WorkerOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.transforms.environments import DockerEnvironment
from google.protobuf import json_format  # type: ignore[import-untyped]

from runners.engines.options import keep_workers_quiet
from schemas.errors import InputError
from schemas.files import replacing

_NEEDED = ("project", "region", "temp_location")


def complete(given: Sequence[str]) -> PipelineOptions:
    """Check and complete the options for Dataflow.

    Raises:
        InputError: an option is missing that Dataflow or lethe needs, or Beam's part for Google Cloud is.

    """
    options = check_options(given)
    if find_spec("apitools") is None:
        raise InputError('DataflowRunner needs the Google Cloud part of Beam: pip install "apache-beam[gcp]"')
    return options


def check_options(given: Sequence[str]) -> PipelineOptions:
    """Everything about the options that can be said without Google's libraries. Raises InputError."""
    options = PipelineOptions([*keep_workers_quiet(given), "--experiments=use_runner_v2"])
    cloud = options.view_as(GoogleCloudOptions)
    missing = [f"--{name}" for name in _NEEDED if not getattr(cloud, name)]
    if not options.view_as(WorkerOptions).sdk_container_image:
        missing.append("--sdk_container_image")
    if missing:
        raise InputError(f"DataflowRunner needs {', '.join(missing)} too; docs/engines.md shows a whole command")
    if not cloud.temp_location.startswith("gs://"):
        raise InputError(f"--temp_location={cloud.temp_location} is no bucket; Dataflow wants gs://bucket/folder")
    setup = options.view_as(SetupOptions)
    if setup.save_main_session or setup.setup_file or setup.requirements_file:
        raise InputError(
            "--save_main_session, --setup_file and --requirements_file would send code along; lethe is installed in "
            "the image that --sdk_container_image names"
        )
    setup.sdk_location = "container"
    return options


def make_runner(options: PipelineOptions) -> str:
    """Dataflow's runner by name: Beam loads it with Google's libraries only when it is used."""
    del options
    return "DataflowRunner"


def describe_submission(
    build: Callable[[beam.Pipeline], object], given: Sequence[str], file: Path
) -> beam_runner_api_pb2.Pipeline:
    """Write to `file`, as JSON, the job graph that Dataflow would be sent, with the image its workers would run."""
    options = check_options(given)
    pipeline = beam.Pipeline(runner="FnApiRunner", options=options)
    build(pipeline)
    image = options.view_as(WorkerOptions).sdk_container_image
    graph = pipeline.to_runner_api(default_environment=DockerEnvironment.from_container_image(image))
    with replacing(file) as aside:
        aside.write_text(json_format.MessageToJson(graph), encoding="utf-8")
    return graph
