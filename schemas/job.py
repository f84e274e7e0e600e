"""The job file: what to read, which signals and policy, which stores. Errors name the nearest known key."""

import tomllib
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from schemas.errors import InputError
from schemas.files import canonical_json, digest_bytes
from schemas.jurisdictions import find_jurisdiction
from schemas.records import RECORD
from schemas.s3 import SCHEME, Place
from schemas.suggest import nearest


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class JobSection(_Section):
    """`[job]`: where the output goes and whose residents are looked for."""

    out: str = "out"
    jurisdictions: tuple[str, ...] = Field(default=("uk", "fr", "it"), min_length=1)


class RecordsSection(_Section):
    """`[records]`: a folder, a file or a glob of Parquet, and the columns whose names differ (ours = theirs).

    `path` may be on object storage, `s3://bucket/folder/`; `options` say where its server is.
    """

    path: str
    columns: dict[str, str] = {}
    options: dict[str, str] = {}


class SignalsSection(_Section):
    """`[signals]`: the databases that signals need. Without `geoip` the network signal is off."""

    geoip: str | None = None
    anonymous_ip: str | None = None
    language: Literal["accurate", "fast"] = "accurate"
    switchboard_subjects: int = Field(default=20, ge=2)


class ModelSection(_Section):
    """`[model]`: the residence model; absent, the one that ships with lethe."""

    path: str | None = None


class PolicySection(_Section):
    """`[policy]`: the controller's written decisions."""

    erase_at: float = Field(default=0.95, gt=0, lt=1)
    review_at: float = Field(default=0.05, gt=0, lt=1)
    insufficient_evidence: Literal["review", "erase", "keep"] = "review"
    require_approval: bool = False
    approvers: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _thresholds_in_order(self) -> Self:
        if self.review_at > self.erase_at:
            raise ValueError(f"review_at = {self.review_at} is above erase_at = {self.erase_at}; it must not be")
        if self.require_approval and not self.approvers:
            raise ValueError("require_approval = true needs approvers = [...], the public keys that may sign")
        return self


class StoreSection(_Section):
    """`[[store]]`: where vectors, hashes or the records themselves live, and the column that names a face.

    `table` names one table where a path or server has several; `data` is the folder of a database server's files,
    which the verifier has to read; `ids` is a Parquet file that says which number in an index is whose; `options` go to
    the store's own software (an endpoint, a catalog). Secrets belong in the environment, not in a job file.
    `compression = "none"` writes the vectors of a rewritten Parquet row group uncompressed, which is faster and larger.
    """

    kind: Literal["parquet", "deepface", "lance", "delta", "iceberg", "faiss"]
    path: str
    key: str = "face_id"
    holds: Literal["vectors", "hashes", "records"]
    name: str = ""
    table: str = ""
    data: str = ""
    ids: str = ""
    compression: Literal["keep", "none"] = "keep"
    options: dict[str, str] = {}


class TruthSection(_Section):
    """`[truth]`: known countries of residence, to print precision and recall against."""

    path: str


class Job(_Section):
    """A whole job file, with `root` the folder that its relative paths start from."""

    root: Path = Field(exclude=True)
    job: JobSection = JobSection()
    records: RecordsSection
    signals: SignalsSection = SignalsSection()
    model: ModelSection = ModelSection()
    policy: PolicySection = PolicySection()
    store: tuple[StoreSection, ...] = ()
    truth: TruthSection | None = None

    def path(self, written: str) -> Path:
        """A path of the job file, absolute."""
        return (self.root / written).absolute()

    @property
    def source(self) -> Path | Place:
        """Where the records are: absolute on a file system, or on object storage."""
        records = self.records
        return Place.of(records.path, records.options) if "://" in records.path else self.path(records.path)

    def locate(self, store: StoreSection) -> StoreSection:
        """A store with all its paths absolute; what is on a server stays as it is written."""
        written = {"path": store.path, "data": store.data, "ids": store.ids}
        places = {name: place if "://" in place else str(self.path(place)) for name, place in written.items() if place}
        return store.model_copy(update=places)

    @property
    def out(self) -> Path:
        """The output folder, absolute."""
        return self.path(self.job.out)

    @property
    def stores(self) -> dict[str, StoreSection]:
        """The stores by name: the one given, else the last part of the path, made unique."""
        named: dict[str, StoreSection] = {}
        for store in self.store:
            wanted = store.name or Path(store.path.split("?")[0].rstrip("/*")).name or store.kind
            name, count = wanted, 2
            while name in named:
                name, count = f"{wanted}-{count}", count + 1
            named[name] = store
        return named

    @property
    def digest(self) -> str:
        """Digest of what decides the result: not where the job lies, where it writes, or how it is judged.

        Keys at their defaults do not count, so that a run keeps its name when lethe learns a new one.
        """
        decisive = self.model_dump(
            mode="json", exclude={"root": True, "truth": True, "job": {"out"}}, exclude_defaults=True
        )
        return digest_bytes(canonical_json(decisive))


def load_job(path: Path) -> Job:
    """Read and check a job file, or the `job.toml` of a folder.

    Raises:
        InputError: no such file, not TOML, an unknown or missing key, a value that is not allowed.

    """
    file = path / "job.toml" if path.is_dir() else path
    if not file.is_file():
        raise InputError(f"there is no job file {str(file)!r}; `lethe demo DIR` writes one to start from")
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file.name} is not TOML: {error}") from error
    if "root" in content:
        raise InputError(f"{file.name}: unknown key 'root'")
    try:
        job = Job.model_validate({**content, "root": file.absolute().parent})
    except ValidationError as error:
        raise InputError(_describe(file.name, error)) from error
    _check_names(file.name, job)
    return job


def _check_names(file: str, job: Job) -> None:
    _check_paths(file, job)
    for name in job.job.jurisdictions:
        find_jurisdiction(name)
    for ours in job.records.columns:
        if ours not in RECORD.names:
            raise InputError(
                f"{file}: [records.columns] {ours} is not a column of the image record{nearest(ours, RECORD.names)}; "
                f"the left side is one of {', '.join(RECORD.names)}"
            )


def _check_paths(file: str, job: Job) -> None:
    """Records and stores may be elsewhere; what lethe writes, maps into memory or is judged by may not."""
    local = {
        "[job] out": job.job.out,
        "[signals] geoip": job.signals.geoip,
        "[signals] anonymous_ip": job.signals.anonymous_ip,
        "[model] path": job.model.path,
        "[truth] path": job.truth.path if job.truth else None,
    }
    for key, path in local.items():
        if path and "://" in path:
            raise InputError(
                f"{file}: {key} = {path!r} must be a path on this machine, or on a mount that all workers share; only "
                f"[records] and [[store]] may have {SCHEME} paths"
            )
    remote = [("[records]", job.records.path, job.records.options)]
    remote += [("[[store]]", store.path, store.options) for store in job.store if store.kind == "parquet"]
    for section, path, options in remote:
        if path.startswith(SCHEME):
            Place.of(path, options)
        elif "://" in path:
            raise InputError(
                f"{file}: {section} path = {path!r}: of object storage lethe speaks the S3 API alone; mount the bucket "
                f"and give a path, or copy it to a server with that API and write {SCHEME}bucket/folder/"
            )
        elif options:
            raise InputError(f"{file}: {section} options are for {SCHEME} paths, and {path!r} is none; leave them out")


_SECTIONS: dict[str, type[BaseModel]] = {
    "job": JobSection,
    "records": RecordsSection,
    "signals": SignalsSection,
    "model": ModelSection,
    "policy": PolicySection,
    "store": StoreSection,
    "truth": TruthSection,
}


def _describe(file: str, error: ValidationError) -> str:
    """Every problem of the job file, a line each: where, what was found, what is allowed."""
    lines = []
    for problem in error.errors():
        parts = [part for part in problem["loc"] if isinstance(part, str)]
        section = _SECTIONS.get(parts[0]) if parts else None
        where = f"{file}: " + (f"[{parts[0]}] " if len(parts) > 1 else "")
        if problem["type"] == "extra_forbidden":
            allowed = list(section.model_fields) if section and len(parts) > 1 else list(_SECTIONS)
            lines.append(
                f"{where}unknown key {parts[-1]!r}{nearest(parts[-1], allowed)}; known are {', '.join(allowed)}"
            )
        elif problem["type"] == "missing":
            lines.append(f"{where}{parts[-1]!r} is missing")
        else:
            found = problem["input"]
            shown = f", found {found!r}" if isinstance(found, str | int | float | bool) else ""
            lines.append(f"{where}{' '.join(parts[-1:])}: {problem['msg'].removeprefix('Value error, ')}{shown}")
    return "\n".join(lines)
