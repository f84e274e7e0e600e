"""What the engines that are written in Java need on this machine."""

import shutil
from pathlib import Path

from apache_beam.options.pipeline_options import JobServerOptions, PipelineOptions

from schemas.errors import InputError


def check_java(options: PipelineOptions) -> None:
    """Raises an InputError unless the Java that starts the job server is there."""
    launcher = options.view_as(JobServerOptions).job_server_java_launcher
    if shutil.which(launcher) is None:
        raise InputError(
            f"{launcher} is not there, and the job server needs Java 11 or 17; install it (on Debian: apt-get install "
            "openjdk-17-jre-headless) or name another with --job_server_java_launcher"
        )


def local_jar(jar: str, option: str) -> Path:
    """The job server's jar that an option names, as an absolute path.

    Raises:
        InputError: it is no file. A URL is none: Beam would download and start it unchecked.

    """
    file = Path(jar)
    if not file.is_file():
        raise InputError(
            f"{option}={jar} is no file on this machine; download the jar, compare its digest, and give its path, or "
            "leave the option out for the jars that lethe pins"
        )
    return file.resolve()
