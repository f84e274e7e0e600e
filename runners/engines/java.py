"""What the engines that are written in Java need on this machine."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from apache_beam.options.pipeline_options import JobServerOptions, PipelineOptions
from apache_beam.runners.portability.job_server import JavaJarJobServer

from schemas.errors import InputError

_DIE_WITH_PARENT = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execvp(sys.argv[1], sys.argv[1:])"
"""Asks Linux for SIGKILL when the parent ends (PR_SET_PDEATHSIG of prctl(2)), and becomes the program it is given."""


class BoundJobServer(JavaJarJobServer):
    """A job server that does not outlive the command that started it, however that ends; mixed in before Beam's."""

    def subprocess_cmd_and_endpoint(self) -> tuple[list[str], Any]:
        """What is started, and where it will listen."""
        command, endpoint = super().subprocess_cmd_and_endpoint()
        return die_with_parent(command), endpoint


def die_with_parent(command: Sequence[str]) -> list[str]:
    """The command, killed when this process ends, however it does; start it from the main thread.

    The system watches the thread that starts it. On another system than Linux it is left as it is.
    """
    return [sys.executable, "-c", _DIE_WITH_PARENT, *command] if sys.platform == "linux" else [*command]


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
