"""What the benchmarks share: `RESULTS.md`, a section each, and on which machine its figures were measured."""

import datetime
import os
import platform
import re
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent / "RESULTS.md"
_HEAD = "# Results\n\nEach section names the command that makes it.\n"


def circumstances(packages: Iterable[str] = ()) -> str:
    """Processor, cores, date, and the versions of Python and of these packages."""
    models = re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    versions = [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in packages)]
    processor = models[0] if models else platform.processor() or "unknown processor"
    return f"{processor}, {os.cpu_count()} cores, {datetime.date.today()}; {', '.join(versions)}"


def update_results(title: str, body: str) -> None:
    """Put the section `## title` in the place of the old one, or at the end."""
    old = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else _HEAD
    section = f"## {title}\n\n{body.strip()}\n"
    before, heading, after = old.partition(f"## {title}\n")
    if heading:
        following = re.search(r"^## ", after, re.MULTILINE)
        rest = "\n" + after[following.start() :] if following else ""
        RESULTS.write_text(before + section + rest, encoding="utf-8")
    else:
        RESULTS.write_text(f"{old.rstrip()}\n\n{section}", encoding="utf-8")
