"""`lethe residue`: what an auditor runs to see how many listed vectors and ids can be read from the stores, now.

    before a purge    lethe residue JOB --prepare    note the vectors to look for, keyed; then count them
    at any time       lethe residue JOB              count them again

It changes no store. It writes `out/residue.json` and ends with 0 when nothing was found and everything was read.
"""

import shutil
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
from rich.console import Console

from pipelines.ledger import Ledger
from pipelines.purge import PurgeWork, key_column
from pipelines.residue import PrepareUnits, Residue, SearchStore, list_entries, search_outputs, sum_up
from pipelines.verify import VerifyWork
from runners.erasure import store_works
from runners.stages import Session
from runners.tables import new_table, plain
from runners.verdicts import TONES
from runners.wording import number, size, visible
from schemas.errors import ExitCode, InputError
from schemas.files import write_json
from schemas.manifests import Manifest
from stores.audit.verdict import Status
from stores.contract import now

OUTPUTS = "lethe's own output"


def residue(
    session: Session, manifests: Mapping[str, Manifest], prepare: bool = False, outputs: bool = False
) -> tuple[ExitCode, dict[str, Any]]:
    """Search every store for what the manifests list, and with `outputs` what lethe wrote itself for vectors.

    Raises:
        InputError: the job names no store, or nobody noted the vectors yet and `prepare` does not ask for it.

    """
    if not session.job.stores:
        raise InputError("the job file names no [[store]], so there is nothing to look into")
    finished = bool(session.state.finished("finished"))
    works = store_works(session, manifests)
    if prepare and finished:
        raise InputError("the run is finished and its fingerprints were destroyed: no vector can be sought any more")
    if prepare:
        for work in works.values():
            _prepare(session, work)
    missing = [name for name, work in works.items() if not len(work.baseline.ledger)]
    if missing and not finished:
        raise InputError(
            f"nobody noted which vectors {', '.join(map(repr, missing))} held before a purge, so none could be sought; "
            "`lethe residue JOB --prepare` reads the stores and notes them, without changing anything"
        )
    # A key that is forgotten at once: ids can be sought with any.
    with tempfile.TemporaryDirectory() as forgotten:
        found = {
            name: _search(session, manifests, work, Path(forgotten) if finished else None)
            for name, work in works.items()
        }
    if outputs and not finished:
        found[OUTPUTS] = search_outputs(
            session.job.out,
            (session.run_folder / "secret" / "key", session.job.out / "canaries"),
            [work.baseline for work in works.values()],
        )
    told = {
        "searched_at": now(),
        "purged": bool((session.state.finished("purge") or {}).get("executed")),
        "finished": finished,
        "stores": {name: one.to_json() for name, one in found.items()},
    }
    write_json(session.job.out / "residue.json", {"run_id": session.state.run_id, **told})
    clean = all(one.status is Status.CLEAN for one in found.values())
    return ExitCode.DONE if clean else ExitCode.NOT_VERIFIED, {"residue": told}


def _prepare(session: Session, work: PurgeWork) -> None:
    work = replace(work, located=Ledger(session.run_folder / "prepared" / work.name))
    shutil.rmtree(work.located.folder, ignore_errors=True)
    units = work.open_store().describe().units
    session.run(
        f"prepare {work.name}",
        lambda pipeline: pipeline | beam.Create([None]) | PrepareUnits(work),
        work.located,
        units,
    )


def _search(session: Session, manifests: Mapping[str, Manifest], purged: PurgeWork, forgotten: Path | None) -> Residue:
    root, baseline = session.job.out / "manifests", purged.baseline
    if forgotten:
        baseline = replace(baseline, ledger=Ledger(forgotten / purged.name), secret=forgotten / "secret")
    work = VerifyWork(
        name=purged.name,
        baseline=baseline,
        parts=tuple(root / folder / part.name for folder, one in manifests.items() for part in one.parts),
        column=key_column(session.job.stores[purged.name], session.job),
        checks=Ledger(session.run_folder / "residue" / purged.name),
        scratch=session.run_folder / "control",
        attempt=uuid.uuid4().hex,
    )
    shutil.rmtree(work.checks.folder, ignore_errors=True)
    total = sum(1 for _ in list_entries(None, work))
    session.run(
        f"search {work.name}",
        lambda pipeline: pipeline | beam.Create([None]) | SearchStore(work),
        work.checks,
        total,
    )
    return sum_up(work, vectors_known=forgotten is None)


def print_residue(console: Console, residue: Mapping[str, Any]) -> None:
    """A line a store, then every place in which something is readable, then what could not be read."""
    columns = ("anything left?", "ids readable", "of", "vectors readable", "of", "files", "bytes", "control found")
    table = new_table("store", columns, f"Readable at {residue['searched_at']}")
    for name, store in residue["stores"].items():
        word, control, sought = str(store["status"]), store["control"], store["vectors_sought"]
        table.add_row(
            plain(name),
            plain(word, {"good": "bold green", "bad": "bold red"}.get(TONES.get(word, ""), "bold yellow")),
            number(store["ids"]),
            number(store["ids_sought"]),
            "not sought" if sought is None else number(store["vectors"]),
            "–" if sought is None else number(sought),
            number(store["files"]),
            size(store["bytes"]),
            f"{number(control['found'])} of {number(control['planted'])}" if control else "none",
        )
    console.print(table, "")
    for name, store in residue["stores"].items():
        for one in store["places"][:_MOST]:
            column = f", column {visible(one['column'])}" if one["column"] else ""
            where = f"{visible(name)}: {visible(one['file'])}: {one['where']}{column}"
            console.print(plain(f"  {where}: {number(one['count'])} {one['what']}(s)", "red"))
        if len(store["places"]) > _MOST:
            console.print(plain(f"  {visible(name)}: {number(len(store['places']) - _MOST)} more places"))
        for why in store["unread"]:
            console.print(plain(f"  {visible(name)}: {why}", "yellow"))
    if residue["finished"]:
        console.print(plain("the run was finished and its fingerprints destroyed: only ids could be sought", "yellow"))
    console.print(plain("all of it: residue.json in the output folder"))


_MOST = 40
"""So many places of a store are printed."""
