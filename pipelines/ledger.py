"""A ledger of finished work: one small JSON file per piece, written last.

It makes every stage resumable (work with an entry is not done again), idempotent (an attempt that runs twice ends in
the same files) and observable on any engine (progress is the number of entries).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.files import canonical_json, digest_bytes, write_json


def name_work(*parts: str | int) -> str:
    """A name for a piece of work that is safe as a file name, whatever strangers called its parts."""
    text = [str(part).encode("utf-8", "surrogateescape").hex() for part in parts]
    return digest_bytes(canonical_json(text)).removeprefix("sha256:")[:24]


@dataclass(frozen=True)
class Ledger:
    """The entries of one stage, in `folder`."""

    folder: Path

    def find(self, work: str) -> dict[str, Any] | None:
        """What the finished piece of work reported, or None if it is not finished."""
        try:
            entry: dict[str, Any] = json.loads((self.folder / f"{work}.json").read_bytes())
        except FileNotFoundError:
            return None
        return entry

    def enter(self, work: str, report: dict[str, Any]) -> dict[str, Any]:
        """Record that `work` is finished, durably; its outputs must already be on disk."""
        write_json(self.folder / f"{work}.json", report)
        return report

    def entries(self) -> dict[str, dict[str, Any]]:
        """All reports by the name of their work, sorted by it."""
        return {file.stem: json.loads(file.read_bytes()) for file in sorted(self.folder.glob("*.json"))}

    def __len__(self) -> int:
        return sum(1 for _ in self.folder.glob("*.json"))
