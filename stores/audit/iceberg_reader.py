"""An Iceberg table on a file system, as the verifier reads it."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError
from pyiceberg.table import Table

from schemas.errors import InputError
from schemas.files import canonical_json, digest_bytes
from stores.audit.check import printable, view_file
from stores.audit.control import Control, look_for, synthetic_rows
from stores.audit.inventory import Entry, take_inventory
from stores.audit.reader import no_copies
from stores.audit.rows import Rows
from stores.audit.scratch import scratch_folder, view_all
from stores.audit.siphash import Bytes


class IcebergReader:
    """`path` holds the files of `table`, `namespace.name` in the catalog that `options` are the properties of."""

    rows_in_files = False
    packed = False
    copies = staticmethod(no_copies)

    def __init__(self, path: str, key: str, table: str, options: Mapping[str, str]) -> None:
        self.root, self.key = Path(path.removeprefix("file://")).resolve(), key
        self.table, self.options = table, dict(options)

    def entries(self) -> list[Entry]:
        """Every file below `path`: data, metadata, manifests, and whatever no snapshot names."""
        return take_inventory(self.root)

    def view(self, path: str) -> Bytes:
        """The bytes of one file, mapped."""
        return view_file(self.root / path)

    def units(self) -> list[str]:
        """The one table."""
        return [self.table]

    def name(self, unit: str) -> str:
        """The name of the table."""
        return printable(unit)

    def _table(self) -> Table:
        return load_catalog(**{"name": "default", **self.options}).load_table(self.table)

    def read(self, unit: str) -> Rows:
        """The rows of the current snapshot."""
        del unit
        try:
            table = self._table()
            batches = table.scan().to_arrow_batch_reader()
        except (NoSuchTableError, NoSuchNamespaceError, ValueError, OSError) as error:
            raise InputError(f"the Iceberg table cannot be read ({type(error).__name__})") from error
        return Rows(_fingerprint(table), batches.schema, iter(batches))

    def control(self, scratch: Path, key: bytes) -> Control | None:
        """A table of synthetic people with the same schema, partitions and properties, by the same software."""
        try:
            table = self._table()
            rows = self.read(self.table)
            planted = synthetic_rows(rows.fields, self.key, next((one for one in rows.batches if len(one)), None))
            with scratch_folder(scratch) as folder:
                catalog = load_catalog(
                    "control",
                    type="sql",
                    uri=f"sqlite:///{folder / 'catalog.db'}",
                    warehouse=(folder / "tables").as_uri(),
                )
                catalog.create_namespace("control")
                copy = catalog.create_table(
                    "control.control",
                    schema=table.schema(),
                    partition_spec=table.spec(),
                    sort_order=table.sort_order(),
                    properties=_movable(table),
                )
                copy.append(planted)
                written = Rows(rows.schema, rows.fields, iter(planted.to_batches()))
                return look_for(written, self.key, view_all(folder / "tables"), key)
        except (InputError, NotImplementedError, ValueError, OSError, pa.ArrowException):
            return None


def _movable(table: Table) -> dict[str, str]:
    """The properties but for those that say where to write."""
    return {
        name: value
        for name, value in table.properties.items()
        if not name.startswith(("write.data.path", "write.metadata.path", "write.folder-storage", "write.location"))
    }


def _fingerprint(table: Table) -> str:
    """What a user of the table is told about it besides its rows."""
    metadata = table.metadata
    told = {
        "uuid": str(metadata.table_uuid),
        "version": metadata.format_version,
        "schema": metadata.schema().model_dump_json(),
        "partitions": metadata.spec().model_dump_json(),
        "order": table.sort_order().model_dump_json(),
        "properties": dict(metadata.properties),
    }
    return digest_bytes(canonical_json(told))
