"""Starts Beam workers in the Python that lethe is installed in, as the `boot` of a container does.

    python -m runners.worker_boot pool 50000        a worker pool, for --environment_type=EXTERNAL
    python -m runners.worker_boot launcher FILE     an executable, for --environment_type=PROCESS

Both end in `boot`, which an engine calls with five arguments: it asks the engine for the options of the pipeline, which
Beam's own pool leaves out, and becomes Beam's worker. The code is installed already, so artifacts are not fetched.
"""

import argparse
import contextlib
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import grpc  # type: ignore[import-untyped]
from apache_beam.portability.api import (
    beam_fn_api_pb2,
    beam_fn_api_pb2_grpc,
    beam_provision_api_pb2,
    beam_provision_api_pb2_grpc,
    endpoints_pb2,
)
from apache_beam.utils import thread_pool_executor
from google.protobuf import json_format, text_format  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parent.parent
"""Where lethe's packages are: workers are started in folders of their own."""

_SECONDS = 60
"""How long the engine may take to say what the worker is for."""

_ENDPOINTS = ("logging_endpoint", "artifact_endpoint", "provision_endpoint", "control_endpoint")


class WorkerPool(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    """Starts a worker process whenever an engine asks.

    Beam's own pool knows a worker by its id alone, and every task manager calls its first one `1-1`: where two share a
    pool, the first to finish stops the other's. Here nobody is stopped: a worker ends when its engine hangs up, be it
    finished or dead.
    """

    def __init__(self) -> None:
        self._workers: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()

    def StartWorker(  # noqa: N802, the name of the remote call
        self, request: beam_fn_api_pb2.StartWorkerRequest, context: object
    ) -> beam_fn_api_pb2.StartWorkerResponse:
        """Start one."""
        del context
        endpoints = [f"--{name}={getattr(request, name).url}" for name in _ENDPOINTS]
        command = [sys.executable, "-m", "runners.worker_boot", "boot", f"--id={request.worker_id}", *endpoints]
        with self._lock:
            self._workers = [worker for worker in self._workers if worker.poll() is None]
            self._workers.append(subprocess.Popen(command, env=_with_lethe(os.environ), stdin=subprocess.DEVNULL))
        return beam_fn_api_pb2.StartWorkerResponse()

    def StopWorker(  # noqa: N802, the name of the remote call
        self, request: beam_fn_api_pb2.StopWorkerRequest, context: object
    ) -> beam_fn_api_pb2.StopWorkerResponse:
        """Let it end by itself."""
        del request, context
        return beam_fn_api_pb2.StopWorkerResponse()

    def stop(self) -> None:
        """End all workers."""
        for worker in self._workers:
            worker.kill()
            worker.wait()


def serve_pool(port: int) -> None:
    """Start workers on demand, whoever asks at `port` of this machine, until the process is ended."""
    pool = WorkerPool()
    server = grpc.server(thread_pool_executor.shared_unbounded_instance())
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    server.add_insecure_port(f"localhost:{port}")
    server.start()
    sys.stderr.write(f"workers are started on demand at localhost:{port}\n")
    try:
        with contextlib.suppress(KeyboardInterrupt):
            server.wait_for_termination()
    finally:
        server.stop(0)
        pool.stop()


def write_launcher(file: Path) -> Path:
    """Write an executable that boots a worker, for engines that start one file and no command line."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}-{os.getpid()}")
    command = [f"PYTHONPATH={ROOT}", sys.executable, "-m", "runners.worker_boot", "boot"]
    aside.write_text(f'#!/bin/sh\nexec env {shlex.join(command)} "$@"\n', encoding="utf-8")
    aside.chmod(0o755)
    aside.replace(file)
    return file


def boot(arguments: Sequence[str]) -> None:
    """Become the worker that the engine describes in `arguments`; does not return."""
    parser = argparse.ArgumentParser()
    for name in ("id", *_ENDPOINTS):
        parser.add_argument(f"--{name}", default="")
    given, _ = parser.parse_known_args(arguments)
    # Beam's pool, where that is used, opens a pipe for what a worker prints and never reads it: after 64 KiB the worker
    # would stand still.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    environment = _with_lethe({**os.environ, **worker_environment(given)})
    os.execve(sys.executable, [sys.executable, "-m", "apache_beam.runners.worker.sdk_worker_main"], environment)


def worker_environment(given: argparse.Namespace) -> dict[str, str]:
    """The variables Beam's worker reads, from what the engine's provision service says."""
    with grpc.insecure_channel(given.provision_endpoint) as channel:
        service = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
        request = beam_provision_api_pb2.GetProvisionInfoRequest()
        info = service.GetProvisionInfo(request, metadata=(("worker_id", given.id),), timeout=_SECONDS).info

    def address(said: endpoints_pb2.ApiServiceDescriptor, fallback: str) -> str:
        return str(text_format.MessageToString(endpoints_pb2.ApiServiceDescriptor(url=said.url or fallback)))

    variables = {
        "WORKER_ID": given.id,
        "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
        "LOGGING_API_SERVICE_DESCRIPTOR": address(info.logging_endpoint, given.logging_endpoint),
        "CONTROL_API_SERVICE_DESCRIPTOR": address(info.control_endpoint, given.control_endpoint),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
    }
    if info.status_endpoint.url:
        variables["STATUS_API_SERVICE_DESCRIPTOR"] = address(info.status_endpoint, "")
    return variables


def _with_lethe(environment: "os._Environ[str] | dict[str, str]") -> dict[str, str]:
    return {**environment, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), environment.get("PYTHONPATH")]))}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one of the commands `pool`, `launcher` and `boot`."""
    command, *rest = sys.argv[1:] if arguments is None else arguments
    if command == "boot":
        boot(rest)
    elif command == "launcher":
        write_launcher(Path(rest[0]))
    elif command == "pool":
        serve_pool(int(rest[0]))
    else:
        sys.exit(f"{command} is neither pool, launcher nor boot")


if __name__ == "__main__":
    main()
