"""A Delta table on a file system, as the verifier reads it."""

import uuid
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError

from schemas.errors import InputError
from schemas.files import canonical_json, digest_bytes
from stores.audit.check import printable, view_file
from stores.audit.control import Control, look_for, synthetic_rows
from stores.audit.inventory import Entry, take_inventory
from stores.audit.reader import no_copies
from stores.audit.rows import Rows
from stores.audit.scratch import scratch_folder, view_all
from stores.audit.siphash import Bytes

_BATCH_ROWS = 4096


class DeltaReader:
    """`path` is the folder of the table, absolute; `key` is the column of ids."""

    rows_in_files = False
    packed = False
    copies = staticmethod(no_copies)

    def __init__(self, path: str, key: str) -> None:
        self.root, self.key = Path(path.removeprefix("file://")).resolve(), key

    def entries(self) -> list[Entry]:
        """Every file below the folder: data, log, checkpoints, and whatever no version names."""
        return take_inventory(self.root)

    def view(self, path: str) -> Bytes:
        """The bytes of one file, mapped."""
        return view_file(self.root / path)

    def units(self) -> list[str]:
        """The one table."""
        return [str(self.root)]

    def name(self, unit: str) -> str:
        """The name of the folder."""
        return printable(Path(unit).name)

    def read(self, unit: str) -> Rows:
        """The rows of the current version."""
        try:
            table = DeltaTable(unit)
            dataset = table.to_pyarrow_dataset()
        except DeltaError as error:
            raise InputError(f"the Delta table cannot be read ({type(error).__name__})") from error
        batches = dataset.to_batches(batch_size=_BATCH_ROWS, use_threads=False)
        return Rows(_fingerprint(table), dataset.schema, batches)

    def control(self, scratch: Path, key: bytes) -> Control | None:
        """A table of synthetic people with the same schema, partitions and properties, by the same software."""
        try:
            rows, metadata = self.read(str(self.root)), DeltaTable(str(self.root)).metadata()
            planted = synthetic_rows(rows.fields, self.key, next((one for one in rows.batches if len(one)), None))
            with scratch_folder(scratch) as folder:
                table = folder / uuid.uuid4().hex
                write_deltalake(
                    table,
                    planted,
                    partition_by=metadata.partition_columns or None,
                    configuration=metadata.configuration,
                )
                written = Rows(rows.schema, rows.fields, iter(planted.to_batches()))
                return look_for(written, self.key, view_all(table), key)
        except (DeltaError, InputError, NotImplementedError, OSError, pa.ArrowException):
            return None


def _fingerprint(table: DeltaTable) -> str:
    """What a user of the table is told about it besides its rows."""
    metadata, protocol = table.metadata(), table.protocol()
    told = {
        "id": metadata.id,
        "name": metadata.name,
        "description": metadata.description,
        "schema": table.schema().to_json(),
        "partitions": metadata.partition_columns,
        "properties": metadata.configuration,
        "protocol": [protocol.min_reader_version, protocol.min_writer_version],
        "features": [sorted(protocol.reader_features or ()), sorted(protocol.writer_features or ())],
    }
    return digest_bytes(canonical_json(told))
