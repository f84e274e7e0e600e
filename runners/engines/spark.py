"""Apache Spark 3.5: a cluster (`--spark_master_url=spark://…`), or one inside the job server (`local[2]`)."""

import re
from collections.abc import Sequence

from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions, SparkRunnerOptions
from apache_beam.runners.portability.spark_runner import LOCAL_MASTER_PATTERN, SparkRunner

from runners.engines.jars import jar_folder, job_server_jar
from runners.engines.java import check_java, local_jar
from runners.engines.options import keep_workers_quiet, place_workers
from schemas.errors import InputError


def complete(given: Sequence[str]) -> PipelineOptions:
    """Check and complete the options for Spark.

    Raises:
        InputError: Java or the job server is missing, or an option asks for what does not work.

    """
    options = PipelineOptions(keep_workers_quiet(given))
    spark = options.view_as(SparkRunnerOptions)
    here = re.match(LOCAL_MASTER_PATTERN, spark.spark_master_url) is not None
    if not here and not spark.spark_master_url.startswith("spark://"):
        raise InputError(
            f"--spark_master_url={spark.spark_master_url} is no Spark master; use spark://host:port, or local[2] for "
            "one inside the job server"
        )
    if spark.spark_submit_uber_jar:
        raise InputError("--spark_submit_uber_jar is not supported; leave it out, lethe starts a job server by itself")
    if not options.view_as(PortableOptions).job_endpoint:
        check_java(options)
        jar = spark.spark_job_server_jar
        spark.spark_job_server_jar = str(local_jar(jar, "--spark_job_server_jar") if jar else job_server_jar("spark"))
    place_workers(options, here, jar_folder("spark"))
    return options


def make_runner(options: PipelineOptions) -> SparkRunner:
    """Beam's runner for Spark, which keeps its job server for all pipelines of a command."""
    del options
    return SparkRunner()
