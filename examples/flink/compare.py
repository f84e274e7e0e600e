"""Runs the demo on this machine and on Flink, and compares everything the two leave behind.

    python examples/flink/compare.py --work FOLDER [--subjects 300]

On Flink it runs twice: on the cluster inside the job server (`--flink_master=[local]`), and on a JobManager with two
TaskManagers and a pool of workers, a process each. Exits with 1 if any output differs.
"""

import argparse
import hashlib
import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runners.cli import main as lethe
from runners.engines.flink_cluster import running_cluster
from runners.engines.jars import fetch_jars
from schemas.errors import LetheError

TIMES = frozenset({"mtime_ns", "matched_at", "removed_at", "compacted_at"})
"""Fields of a receipt that say when."""

COMPARED = ("out/scores", "out/manifests", "out/quarantine", "faces", "hashes", "records")
"""Folders that must hold the same bytes: what was decided, and what is left of the stores."""


def fingerprints(folder: Path) -> dict[str, str]:
    """SHA-256 by name of every file in the folders that must be alike."""
    files = [file for part in COMPARED for file in sorted((folder / part).rglob("*")) if file.is_file()]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def receipts(folder: Path) -> dict[str, Any]:
    """The receipts by name, without times; paths are told from the folder of the job."""
    found = {}
    for file in sorted((folder / "out" / "receipts").rglob("*.json")):
        content = timeless(json.loads(file.read_text(encoding="utf-8").replace(str(folder), "")))
        found[str(content.get("path", file.name))] = content
    return found


def timeless(value: Any) -> Any:  # noqa: ANN401, any JSON
    """A JSON value without the fields that name times."""
    if isinstance(value, dict):
        return {name: timeless(part) for name, part in value.items() if name not in TIMES}
    return [timeless(part) for part in value] if isinstance(value, list) else value


def verdicts(folder: Path) -> dict[str, tuple[str, str]]:
    """What the verifier says of each store: is anything left, and is everything else there."""
    stores = json.loads((folder / "out" / "run.json").read_text(encoding="utf-8"))["verification"]["stores"]
    return {name: (store["verdict"], store["rows"]) for name, store in stores.items()}


def differences(one: Path, other: Path) -> list[str]:
    """What is not alike in two finished jobs, one sentence each."""
    found = []
    for what, read in (("file", fingerprints), ("receipt", receipts), ("verdict", verdicts)):
        ours, theirs = read(one), read(other)
        found += [f"the {what} {name} differs" for name in sorted(ours | theirs) if ours.get(name) != theirs.get(name)]
    return found


def say(text: str) -> None:
    """Tell the person who runs the demo."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def run(job: Path, beam_options: Sequence[str] = ()) -> float:
    """Score, plan, purge and verify a job; returns the seconds it took. Raises a LetheError unless it is all done."""
    started = time.monotonic()
    if code := lethe(["run", str(job), "--execute", "--", *beam_options]):
        raise LetheError(f"lethe run {job} ended with exit code {code}")
    return time.monotonic() - started


def compare(work: Path, subjects: int) -> int:
    """Run the demo three times; returns the number of differences."""
    shutil.rmtree(work, ignore_errors=True)
    if code := lethe(["demo", str(work / "demo"), "--subjects", str(subjects)]):
        return code
    here, embedded, cluster = (
        Path(shutil.copytree(work / "demo", work / name)) for name in ("here", "local", "cluster")
    )
    seconds = {"here": run(here), "Flink [local]": run(embedded, ["--runner=FlinkRunner", "--flink_master=[local]"])}
    with running_cluster() as flink:
        seconds["Flink, 2 TaskManagers"] = run(cluster, flink.beam_options)
    found = [f"{job.name}: {difference}" for job in (embedded, cluster) for difference in differences(here, job)]
    for name, lasted in seconds.items():
        say(f"{name:<22} {lasted:6.1f} s")
    files, signed = len(fingerprints(here)), len(receipts(here))
    say(
        "\n".join(found)
        or f"{files} files, {signed} receipts and all verdicts are alike on all three: {verdicts(here)}"
    )
    return len(found)


def main() -> int:
    """Fetch the pinned jars if they are not there, run, compare."""
    parser = argparse.ArgumentParser(description="Compare a run on Flink with one on this machine.")
    parser.add_argument("--work", type=Path, required=True, help="a folder for three copies of the demo, made anew")
    parser.add_argument("--subjects", type=int, default=300)
    options = parser.parse_args()
    try:
        fetch_jars("flink")
        return min(1, compare(options.work.resolve(), options.subjects))
    except LetheError as error:
        sys.stderr.write(f"flink-demo: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
