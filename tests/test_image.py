"""What is shipped: the wheel is complete, and the image is built from it with the versions that were tested."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("classifiers", "pipelines", "runners", "schemas", "stores")


def instructions() -> list[str]:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    return [line for line in re.sub(r"\\\n\s*", "", text).splitlines() if line and not line.startswith("#")]


def test_the_image_has_the_beam_and_the_python_that_are_pinned() -> None:
    (base,) = [line for line in instructions() if line.startswith("FROM ")]
    beam = re.search(r"^apache-beam==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert beam and base == f"FROM apache/beam_python3.11_sdk:{beam[1]}"


def test_the_image_copies_only_what_the_builder_is_sent() -> None:
    sent = {
        line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    copied = [source for line in instructions() if line.startswith("COPY ") for source in line.split()[1:-1]]
    assert copied and {source.split("/")[0] for source in copied} == sent


def test_the_image_installs_nothing_that_is_not_pinned_and_sets_no_entrypoint() -> None:
    installs = [line for line in instructions() if "pip install" in line]
    assert installs and all("--constraint /opt/lethe/constraints.txt" in line for line in installs)
    # Beam's own boot has to stay what the container starts.
    assert not any(line.startswith(("ENTRYPOINT", "CMD", "USER")) for line in instructions())
    assert not any(re.search(r"curl|wget|ADD http", line) for line in instructions())


@pytest.mark.slow
def test_the_wheel_holds_every_file_and_works_away_from_the_checkout(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    source = tmp_path / "source"
    names = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    for name in names:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path, source], check=True)
    (wheel,) = tmp_path.glob("lethe-*.whl")
    shipped = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in names if name.startswith(PACKAGES)} <= shipped

    target = tmp_path / "installed"
    subprocess.run([*pip, "install", "--no-deps", "--target", target, wheel], check=True)
    away = {**os.environ, "PYTHONPATH": str(target), "PYTHONDONTWRITEBYTECODE": "1"}

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=away, check=True, capture_output=True, text=True)
        return done.stdout

    where = run(sys.executable, "-c", "import runners, schemas; print(runners.__file__, schemas.__file__)")
    assert all(Path(file).is_relative_to(target) for file in where.split())
    run(str(target / "bin" / "lethe"), "demo", "demo", "--subjects", "50")
    assert "CLEAN" in run(str(target / "bin" / "lethe"), "run", "demo", "--execute")
