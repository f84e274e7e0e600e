"""The transaction log of a Delta table: what is in it, a commit of our own, and a log without a past.

A commit is one file that must not exist yet, so two writers cannot both have version n: the later one gets a
ConflictError and nothing of the other's is lost. Source: the Delta transaction protocol,
https://github.com/delta-io/delta/blob/master/PROTOCOL.md
"""

import json
import os
import re
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable

from schemas.errors import ConflictError
from schemas.files import TEMPORARY_PREFIX, replacing, sync_folder
from stores.table_files import files_below, remove_files

LOG = "_delta_log"
_VERSION = re.compile(r"(\d{20})\.")
_CHECKPOINT = re.compile(r"\d{20}\.checkpoint.*\.parquet")

Action = dict[str, Any]


def commit(root: Path, version: int, operation: str, actions: Iterable[Action] = ()) -> None:
    """Write `actions` durably as `version` of the table. Raises ConflictError when somebody has that version already.

    What is said about the operation names nobody: a predicate would.
    """
    told = {"timestamp": now_ms(), "operation": operation, "operationParameters": {}, "readVersion": version - 1}
    lines = [{"commitInfo": told | {"isBlindAppend": False, "engineInfo": "lethe"}}, *actions]
    folder = root / LOG
    aside = folder / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    try:
        with aside.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(line, separators=(",", ":"), ensure_ascii=False) + "\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())
        os.link(aside, folder / f"{version:020}.json")
    except FileExistsError as error:
        raise ConflictError("somebody else wrote to the table meanwhile: locate it again") from error
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(folder)


def now_ms() -> int:
    """The time as the log tells it; nothing is decided by it."""
    return time.time_ns() // 1_000_000


def has_past(root: Path) -> bool:
    """Whether the log knows of removed files or keeps the predicate of a delete."""
    for file in sorted((root / LOG).iterdir()):
        if _CHECKPOINT.fullmatch(file.name):
            if _removals(pq.read_table(file)):
                return True
        elif file.suffix == ".json" and any(_tells_of_a_delete(action) for action in _read(file)):
            return True
    return False


def _removals(checkpoint: pa.Table) -> int:
    """How many tombstones there are; some writers leave out the columns of actions that do not occur."""
    if "remove" not in checkpoint.column_names:
        return 0
    return int(checkpoint.num_rows - checkpoint["remove"].null_count)


def _tells_of_a_delete(action: Action) -> bool:
    told = action.get("commitInfo", {}).get("operationParameters", {})
    return "remove" in action or "cdc" in action or told.get("predicate") not in (None, "", "[]")


def _read(file: Path) -> Iterator[Action]:
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.strip():
            yield json.loads(line)


def forget_past(root: Path, version: int) -> None:
    """Leave of the log what `version` is, a commit that changes nothing, and what came later.

    Its checkpoint names the live files and nothing else. Vacuum and log retention would leave tombstones, old
    commits and statistics for days unless the table's own properties are changed; here they stay as they are.
    """
    folder = root / LOG
    DeltaTable(str(root), version=version).create_checkpoint()
    _drop_tombstones(folder, version)
    kept = {f"{version:020}.json", f"{version:020}.checkpoint.parquet", "_last_checkpoint"}
    old = [file for file in files_below(folder) if file.name not in kept and _version(file) <= version]
    remove_files(root, old)


def _version(file: Path) -> int:
    """The version a file of the log belongs to, -1 for one whose name does not tell."""
    told = _VERSION.match(file.name)
    return int(told.group(1)) if told else -1


def _drop_tombstones(folder: Path, version: int) -> None:
    checkpoint = folder / f"{version:020}.checkpoint.parquet"
    actions = pq.read_table(checkpoint)
    kept = actions.filter(pc.is_null(actions["remove"])) if _removals(actions) else actions
    with replacing(checkpoint) as aside:
        pq.write_table(kept, aside)
    files = kept.num_rows - kept["add"].null_count
    latest = {"version": version, "size": kept.num_rows, "numOfAddFiles": files}
    with replacing(folder / "_last_checkpoint") as aside:
        aside.write_text(json.dumps(latest | {"sizeInBytes": checkpoint.stat().st_size}), encoding="utf-8")
