"""`lethe canary`: synthetic people who must vanish with the rest: proof of an erasure without a real vector.

    lethe canary plant JOB --execute    records with unmistakable evidence, and their faces in every store
    lethe plan, purge --execute         as with everybody else
    lethe canary check JOB              each was on a manifest; no reader and no byte of any store has them

    out/canaries/canaries.json          who they are and where they were planted
    out/canaries/<store>.arrow          their rows; nobody in them exists
    out/canaries/check.json             what became of them

They are in the input like everybody: the manifests list them, and who counts residents counts them too.
"""

import json
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console

from pipelines.inventory import list_parquet
from pipelines.purge import key_column
from pipelines.search import read_listed
from runners.canary_people import Canary, draw_canaries, records_like
from runners.stages import Session, score
from runners.tables import country_name, new_table, plain
from runners.wording import number, percent, visible
from schemas.errors import ExitCode, InputError
from schemas.files import replacing, split_glob, write_json
from schemas.job import Job, StoreSection
from schemas.manifests import Manifest
from schemas.records import plan_reading
from schemas.s3 import Place
from stores.audit.control import look_for
from stores.audit.inventory import Kind
from stores.audit.readers import open_reader
from stores.audit.rows import Rows
from stores.canaries import Planting, are_same, plan_canaries, vector_forms
from stores.tables import StoreError


def plant(session: Session, execute: bool) -> tuple[ExitCode, dict[str, Any]]:
    """Draw canaries, hold them to the job's model, and with `execute` write them into the records and the stores.

    Raises:
        InputError: they were planted already, a purge was executed, the model would not erase them, or the records
            have no folder to put a file into.

    """
    job, home = session.job, session.job.out / "canaries"
    if session.state.receipts.is_dir():
        raise InputError("a purge was executed already; canaries have to be planted before")
    if (home / "canaries.json").is_file():
        raise InputError("canaries are planted already; `lethe canary check JOB` tells what became of them")
    token = secrets.token_hex(4)
    canaries = draw_canaries(job.job.jurisdictions, token)
    target, records = _records(job, canaries, token)
    chances = _probabilities(session, records)
    weakest = {
        name: min(chances[one.subject_id] for one in canaries if one.jurisdiction == name)
        for name in job.job.jurisdictions
    }
    unsure = [name for name, chance in weakest.items() if chance < job.policy.erase_at]
    if unsure:
        reached = min(weakest[one] for one in unsure)
        raise InputError(
            f"canaries of {', '.join(unsure)} reach a probability of {reached:.3f} with the job's model, below "
            f"erase_at = {job.policy.erase_at}: they would not be erased, so none was planted"
        )
    planned: dict[str, Planting] = {}
    refused: dict[str, str] = {}
    for name, section in job.stores.items():
        located = job.locate(section)
        if _holds(located, target):
            continue  # the records are a store as well: whoever is planted in them is planted in it
        try:
            planned[name] = plan_canaries(located, _keys(canaries, section, job), token)
        except (InputError, StoreError) as error:
            refused[name] = str(error)
    stores = {name: list(planting.places) for name, planting in planned.items()}
    with_records = [name for name in job.stores if name not in planned and name not in refused]
    told: dict[str, Any] = {
        "token": token,
        "probability": weakest,
        "records": str(target),
        "stores": stores,
        "with_records": with_records,
        "not_planted": refused,
        "canaries": [one._asdict() for one in canaries],
    }
    if execute:
        # Who and where first: a kill must not leave rows that nobody can tell from people.
        write_json(home / "canaries.json", told)
        for name in with_records:
            _write(home / f"{name}.arrow", records)
        for name, planting in planned.items():
            _write(home / f"{name}.arrow", planting.rows)
            try:
                planting.write()
            except InputError as error:
                raise InputError(
                    f"{name}: {error}; canaries may be in the stores before it, under ids with {token} in them: "
                    f"remove those rows and {home}, then plant again"
                ) from error
        with replacing(target) as aside:
            pq.write_table(records, aside)
    return ExitCode.DONE, {"canaries": {**told, "planted": execute}}


def check(session: Session, manifests: Mapping[str, Manifest]) -> tuple[ExitCode, dict[str, Any]]:
    """Look for every canary in the manifests, in what readers return, and in every byte of every store.

    Raises:
        InputError: none were planted, or no purge was executed.

    """
    job, home = session.job, session.job.out / "canaries"
    if not (home / "canaries.json").is_file():
        raise InputError("no canaries were planted; `lethe canary plant JOB --execute` does, before a purge")
    if not (session.state.finished("purge") or {}).get("executed"):
        raise InputError("no purge was executed, so the canaries are where they were planted")
    planted = json.loads((home / "canaries.json").read_bytes())
    canaries = [Canary(**one) for one in planted["canaries"]]
    parts = [job.out / "manifests" / name / part.name for name, one in manifests.items() for part in one.parts]
    faces = [one.face_id for one in canaries]
    found = {id for ids in read_listed(parts, "face_id") for id in ids.filter(_among(ids, faces)).to_pylist()}
    listed = [one for one in canaries if one.face_id in found]
    stores = {
        name: {"verdict": "not planted", "reason": planted["not_planted"][name]}
        if name in planted["not_planted"]
        else _look(home / f"{name}.arrow", job.locate(section), _keys(canaries, section, job), section.key)
        for name, section in job.stores.items()
    }
    told = {
        "planted": len(canaries),
        "on_manifests": len(listed),
        "stores": stores,
        "passed": len(listed) == len(canaries) and all(store["verdict"] == "gone" for store in stores.values()),
    }
    write_json(home / "check.json", told)
    return ExitCode.DONE if told["passed"] else ExitCode.NOT_VERIFIED, {"canary_check": told}


def _look(home: Path, section: StoreSection, keys: list[str], key: str) -> dict[str, Any]:
    """What one store still gives away: `gone`, `left`, or `bystanders lost`."""
    reader, planted = open_reader(section), _read(home)
    canaries = planted.filter(_among(planted.column(key), keys))
    bystanders = planted.filter(pc.invert(_among(planted.column(key), keys)))
    names = bystanders.column(key).cast(pa.string()).to_pylist()
    readable, spared = 0, [bystanders.slice(0, 0)]
    for unit in reader.units():
        for batch in reader.read(unit).batches:
            column = batch.column(batch.schema.get_field_index(key))
            readable += pc.sum(_among(column, keys)).as_py() or 0
            spared.append(pa.Table.from_batches([batch.filter(_among(column, names))]).select(bystanders.column_names))
    control = look_for(
        Rows("", canaries.schema, iter(canaries.combine_chunks().to_batches())),
        key,
        (reader.view(entry.path) for entry in reader.entries() if entry.kind is Kind.FILE),
        secrets.token_bytes(16),
        lambda rows: [*reader.copies(rows), *vector_forms(rows, key)],
        packed=reader.packed,
    )
    intact = are_same(pa.concat_tables(spared, promote_options="permissive"), bystanders, key)
    return {
        "verdict": "left" if readable or control.found else "gone" if intact else "bystanders lost",
        "readable": readable,
        "traces": control.found,
        "sought": control.planted,
        "bystanders": len(bystanders),
        "bystanders_intact": intact,
    }


def _among(column: pa.Array | pa.ChunkedArray, names: list[str]) -> pa.Array | pa.ChunkedArray:
    return pc.is_in(column.cast(pa.string()), pa.array(names, pa.string()))


def _records(job: Job, canaries: list[Canary], token: str) -> tuple[Path, pa.Table]:
    """The file to write into the records, and its content in the schema of the first file there."""
    path = job.source
    if isinstance(path, Place):
        raise InputError("[records] lie on S3, where lethe plants no canaries; write a few records there yourself")
    root, files = list_parquet(path)
    target = files[0].parent / f"canaries-{token}.parquet"
    if path.is_file() or not (path.is_dir() or target.match(path.name)):
        raise InputError(
            f"[records] path = {job.records.path!r} is one file, or a pattern that {target.name!r} does not match; "
            "canaries need a folder of Parquet files, or a pattern such as *.parquet"
        )
    schema = pq.read_schema(files[0])
    plan_reading(schema, job.records.columns, files[0].name)
    return target, records_like(schema, job.records.columns, canaries, token)


def _probabilities(session: Session, records: pa.Table) -> dict[str, float]:
    """How sure the job's own model is of each canary's home, from its records alone; scored aside."""
    job = session.job
    with tempfile.TemporaryDirectory() as aside:
        folder = Path(aside)
        (folder / "records").mkdir()
        pq.write_table(records, folder / "records" / "canaries.parquet")
        trial = job.model_copy(
            update={
                "job": job.job.model_copy(update={"out": str(folder / "out")}),
                "records": job.records.model_copy(update={"path": str(folder / "records")}),
                "store": (),
            }
        )
        score(Session.start(trial, session.beam_options))
        rows = pq.read_table(folder / "out" / "scores", columns=["subject_id", "jurisdiction", "probability"])
        return {
            row["subject_id"]: row["probability"]
            for row in rows.to_pylist()
            if row["subject_id"].split("-")[-2] == row["jurisdiction"]
        }


def _keys(canaries: list[Canary], section: StoreSection, job: Job) -> list[str]:
    column = key_column(section, job)
    return [one.record_id if column == "record_id" else one.face_id for one in canaries]


def _holds(store: StoreSection, file: Path) -> bool:
    """Whether a new file of the records is a file of the store as well."""
    root, pattern = split_glob(Path(store.path))
    return store.kind == "parquet" and not pattern and file.is_relative_to(root)


def _write(file: Path, rows: pa.Table) -> None:
    with replacing(file) as aside, pa.ipc.new_file(str(aside), rows.schema) as sink:
        sink.write_table(rows)


def _read(file: Path) -> pa.Table:
    with pa.memory_map(str(file)) as source:
        return pa.ipc.open_file(source).read_all()


def print_planting(console: Console, told: Mapping[str, Any]) -> None:
    """How many canaries of whom, and where they are or would be."""
    table = new_table("jurisdiction", ("canaries", "least probability"), "Canaries")
    for name, chance in told["probability"].items():
        count = sum(one["jurisdiction"] == name for one in told["canaries"])
        table.add_row(plain(country_name(name)), number(count), percent(chance))
    console.print(table, "")
    word = "written" if told["planted"] else "would be written"
    console.print(plain(f"{word}: {visible(told['records'])}"))
    for name, places in told["stores"].items():
        for place in places:
            console.print(plain(f"{word} into {visible(name)}: {visible(place)}"))
    for name, reason in told["not_planted"].items():
        console.print(plain(f"not planted in {visible(name)}: {reason}", "yellow"))
    step = "lethe plan JOB, lethe purge JOB --execute, lethe canary check JOB"
    console.print(plain(f"next: {step if told['planted'] else 'nothing was written: add --execute'}"))


def print_check(console: Console, told: Mapping[str, Any]) -> None:
    """What became of the canaries in the manifests and in each store."""
    console.print(plain(f"{number(told['on_manifests'])} of {number(told['planted'])} canaries were on a manifest"))
    columns = ("verdict?", "rows readable", "traces in bytes", "of", "bystanders", "intact?")
    table = new_table("store", columns, "Canaries after the purge")
    for name, store in told["stores"].items():
        good = store["verdict"] == "gone"
        figures = [
            number(store[key]) if key in store else "–" for key in ("readable", "traces", "sought", "bystanders")
        ]
        intact = "–" if "bystanders_intact" not in store else "yes" if store["bystanders_intact"] else "no"
        table.add_row(plain(name), plain(store["verdict"], "bold green" if good else "bold red"), *figures, intact)
    console.print(table, "")
    for name, store in told["stores"].items():
        if reason := store.get("reason"):
            console.print(plain(f"  {visible(name)}: {reason}", "yellow"))
    words = "every canary is gone" if told["passed"] else "the canaries prove nothing, or that something is left"
    console.print(plain(words, "bold green" if told["passed"] else "bold red"))
