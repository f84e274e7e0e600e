"""Apache Flink 1.20: a cluster, or one inside the job server with `--flink_master=[local]`.

Flink 2 is refused: it has no DataSet API, so Beam holds every grouped value in memory until the end
(`docs/decisions/0190-the-runner-for-flink.md`).
"""

import json
import os
import urllib.request
from collections.abc import Sequence
from typing import Any

from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions, PortableOptions
from apache_beam.runners.portability.flink_runner import FlinkJarJobServer, FlinkRunner
from apache_beam.runners.portability.job_server import JobServer, StopOnExitJobServer

from runners.engines.jars import jar_folder, job_server_jar
from runners.engines.java import BoundJobServer, check_java, local_jar
from runners.engines.options import given_names, keep_workers_quiet, place_workers
from schemas.errors import InputError

VERSION = "1.20"
LOCAL = ("[local]", "[auto]")
_SECONDS = 10


_servers: dict[tuple[str, str], JobServer] = {}


class BoundFlinkJobServer(BoundJobServer, FlinkJarJobServer):
    """Beam's job server for Flink, ended with this process."""


class SharedFlinkRunner(FlinkRunner):
    """Beam's runner, with one job server for all pipelines of a command: each would take seconds to start its own."""

    def default_job_server(self, options: PipelineOptions) -> JobServer:
        """The job server of this jar and master, started on first use and ended with the process."""
        flink = options.view_as(FlinkRunnerOptions)
        flink.flink_master = self.add_http_scheme(flink.flink_master)
        return _servers.setdefault(
            (flink.flink_job_server_jar, flink.flink_master), StopOnExitJobServer(BoundFlinkJobServer(options))
        )


def complete(given: Sequence[str]) -> PipelineOptions:
    """Check and complete the options for Flink.

    Raises:
        InputError: Java or the job server is missing, the cluster cannot be reached, is another version or has too few
            slots, or an option asks for what does not work.

    """
    names = given_names(given)
    options = PipelineOptions(keep_workers_quiet(given))
    flink = options.view_as(FlinkRunnerOptions)
    if "flink_version" in names and flink.flink_version != VERSION:
        raise InputError(f"--flink_version={flink.flink_version} is none that lethe runs on; use Flink {VERSION}")
    flink.flink_version = VERSION
    if flink.flink_submit_uber_jar:
        raise InputError("--flink_submit_uber_jar is not supported; leave it out, lethe starts a job server by itself")
    here = flink.flink_master in LOCAL
    if flink.parallelism < 1:
        flink.parallelism = (os.cpu_count() or 1) if here else 0
    if not options.view_as(PortableOptions).job_endpoint:
        check_java(options)
        jar = flink.flink_job_server_jar
        flink.flink_job_server_jar = str(local_jar(jar, "--flink_job_server_jar") if jar else job_server_jar("flink"))
    if not here:
        _fit_cluster(flink)
    place_workers(options, here, jar_folder("flink"))
    return options


def make_runner(options: PipelineOptions) -> FlinkRunner:
    """Beam's runner for Flink."""
    del options
    return SharedFlinkRunner()


def _fit_cluster(flink: FlinkRunnerOptions) -> None:
    """Ask the cluster what it is; all its slots are used unless the options say how many."""
    master = FlinkRunner.add_http_scheme(flink.flink_master)
    cluster = read_overview(master)
    version, slots = cluster["flink-version"], cluster["slots-total"]
    if not version.startswith(f"{VERSION}."):
        raise InputError(f"{master} runs Flink {version}; lethe needs Flink {VERSION}")
    flink.parallelism = flink.parallelism or max(1, slots)
    if flink.parallelism > slots:
        raise InputError(
            f"--parallelism={flink.parallelism} is more than the {slots} slots of {master}; ask for fewer, or start "
            "more task managers"
        )


def read_overview(master: str) -> dict[str, Any]:
    """What the JobManager at `master` says of its cluster: `taskmanagers`, `slots-total`, `flink-version`.

    Raises:
        InputError: nobody answers there.

    """
    try:
        with urllib.request.urlopen(f"{master}/overview", timeout=_SECONDS) as answer:
            return dict(json.load(answer))
    except (OSError, ValueError) as error:
        raise InputError(
            f"no Flink JobManager answers at {master} ({error}); --flink_master is its REST address, such as "
            "http://localhost:8081, or [local]"
        ) from error
