"""What a job has come to: `out/run.json`, the lock on `out/`, and the care not to overwrite the proof of an erasure."""

import contextlib
import fcntl
import importlib.metadata
import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from schemas.errors import InputError
from schemas.files import canonical_json, digest_bytes, write_json
from schemas.job import Job

SOFTWARE = (
    "lethe",
    "apache-beam",
    "pyarrow",
    "numpy",
    "langdetect",
    "py3langid",
    "geoip2",
    "phonenumbers",
    "tldextract",
    "tzfpy",
)

_OUTPUTS = ("scores", "quarantine", "manifests", "work")


class RunState:
    """The content of `out/run.json`, stage by stage; writing the same again leaves the file alone."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.file = out / "run.json"
        self.content: dict[str, Any] = json.loads(self.file.read_bytes()) if self.file.is_file() else {}

    @property
    def run_id(self) -> str | None:
        """Which run the output folder holds."""
        return self.content.get("run_id")

    @property
    def receipts(self) -> Path:
        """`out/receipts/`: there once a purge was executed."""
        return self.out / "receipts"

    def finished(self, stage: str) -> dict[str, Any] | None:
        """What a stage reported when it finished, None if it has not."""
        report: dict[str, Any] | None = self.content.get(stage)
        return report

    def record(self, **stages: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
        """Add what stages reported, durably."""
        changed = {**self.content, **stages}
        if changed != self.content:
            self.content = json.loads(json.dumps(changed))
            write_json(self.file, self.content)

    def begin(self, run_id: str, digests: Mapping[str, object]) -> None:
        """Make room for run `run_id`; what another run left is removed, unless it is the proof of an erasure.

        Raises:
            InputError: the folder holds the receipts of another run.

        """
        if self.run_id == run_id:
            return
        if self.receipts.is_dir() and any(self.receipts.rglob("*.json")):
            raise InputError(
                f"{str(self.out)!r} holds the receipts of an executed purge (run {self.run_id}), and the records, the "
                f"job file or the model have changed since (run {run_id}); keep that proof and write elsewhere: "
                '[job] out = "..."'
            )
        for name in _OUTPUTS:
            shutil.rmtree(self.out / name, ignore_errors=True)
        for name in ("verification.json", "residue.json", "evaluation.json", "report.html"):
            (self.out / name).unlink(missing_ok=True)
        self.content = {}
        self.record(run_id=run_id, **digests, software=software_versions())


def name_run(digests: Mapping[str, object]) -> str:
    """The id of a run: the same job, model, databases and input have the same id wherever they run."""
    return digest_bytes(canonical_json(digests)).removeprefix("sha256:")[:16]


def software_versions() -> dict[str, str]:
    """Versions of what decides the numbers."""
    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in SOFTWARE},
    }


@contextlib.contextmanager
def only_one(job: Job) -> Iterator[None]:
    """Hold the job's output folder while the body runs; a killed process lets go of it.

    Raises:
        InputError: another lethe holds it.

    """
    job.out.mkdir(parents=True, exist_ok=True)
    with (job.out / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(f"another lethe is at work in {str(job.out)!r}; wait for it to end") from error
        # Else a worker process that outlives its killed parent by a moment would go on holding it.
        os.register_at_fork(after_in_child=lock.close)
        yield
